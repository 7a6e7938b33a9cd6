package mfa_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// A dumped is a store whose whole content can be read as a thief would read it.
type dumped struct {
	loggedStore
	dump func() []byte
}

// A loggedStore is a store that operators use.
type loggedStore interface {
	mfa.Store
	operator.Store
}

// dumpedStores opens an empty store of each kind.
var dumpedStores = map[string]func(*testing.T) dumped{
	"sqlite": func(t *testing.T) dumped {
		path := filepath.Join(t.TempDir(), "test.db")
		s, err := sqlite.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return dumped{s, func() []byte {
			if err := s.Close(); err != nil { // the log becomes part of the file
				t.Fatal(err)
			}
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}}
	},
	"postgres": func(t *testing.T) dumped {
		url := pgtest.Start(t).Database(t)
		if err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return dumped{s, func() []byte {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			dump, err := exec.CommandContext(t.Context(), "pg_dump", url).Output()
			if err != nil {
				t.Fatalf("pg_dump: %v", err)
			}
			return dump
		}}
	},
}

// names must not be readable in any store.
var names = []string{"ada@example.com", "Adas own bank", strings.TrimPrefix(gracesPhone, "+"), strings.TrimPrefix(adasPhone, "+"), "+491512", "+160735", "SM-the-message-"}

// searched fails the test for each of the texts that a dump holds.
func searched(t *testing.T, dump []byte, texts []string) {
	t.Helper()
	for _, text := range texts {
		if bytes.Contains(dump, []byte(text)) {
			t.Errorf("the store holds %q", text)
		}
		if bytes.Contains(dump, []byte(fmt.Sprintf("%x", text))) { // as pg_dump writes bytes
			t.Errorf("the store holds %q in hexadecimal", text)
		}
	}
}

// chance matches what a store has of hashes, ids and times: some of them contain a code of six digits by chance.
var chance = regexp.MustCompile(`[0-9a-f]{12,}`)

// searchedForCodes fails the test for each of the codes that a dump holds.
func searchedForCodes(t *testing.T, dump []byte, codes []string) {
	t.Helper()
	texts := chance.ReplaceAll(dump, []byte("-"))
	for _, code := range codes {
		if bytes.Contains(texts, []byte(code)) {
			t.Errorf("the store holds the code %q", code)
		}
		if bytes.Contains(dump, []byte(fmt.Sprintf("%x", code))) { // as pg_dump writes bytes
			t.Errorf("the store holds the code %q in hexadecimal", code)
		}
	}
}

func TestStoreNamesNoPerson(t *testing.T) {
	for name, open := range dumpedStores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			w := newFixture(t, mfa.Options{})
			n := 0
			w.carrier.Accept = func(delivery.Message) delivery.Accepted {
				n++
				return delivery.Accepted{Provider: "gateway", ID: fmt.Sprint("SM-the-message-", n)}
			}
			opts := mfa.Options{Limits: often, SMS: delivery.Rules{Countries: []string{"DE", "US"}, Abroad: 3, Pumping: delivery.Pumping{Sends: 2, Window: 10 * time.Minute}}}
			w.Service = w.serviceOver(s, opts)
			var codes []string
			ctx := t.Context()
			must := func(err error, allowed ...error) {
				t.Helper()
				if err == nil {
					return
				}
				if !slices.ContainsFunc(allowed, func(kind error) bool { return errors.Is(err, kind) }) {
					t.Fatal(err)
				}
			}
			app, err := w.Enroll(ctx, production, mfa.EnrollParams{
				Type: mfa.TOTP, User: "user_42", Issuer: "Adas own bank", Account: "ada@example.com", Challenge: true,
			}, claimed(onceKey[mfa.Enrollment]("enroll +"+names[2], "ada@example.com")))
			must(err)
			codes = append(codes, app.Secret.Reveal())
			for _, number := range []string{gracesPhone, adasPhone} {
				f, err := w.Enroll(ctx, production, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: number}, onceKey[mfa.Enrollment](number, number))
				must(err)
				for i := range 6 {
					w.clock.Advance(time.Minute)
					c, err := w.Challenge(ctx, production, f.ID, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge](fmt.Sprint(number, i), number))
					must(err, delivery.ErrPrefixPaused, delivery.ErrDailyLimit)
					if err != nil {
						continue
					}
					codes = append(codes, w.carrier.Last().Code.Reveal())
					w.receive("gateway", fmt.Sprint("SM-the-message-", n), delivery.Delivered, "")
					w.receive("gateway", fmt.Sprint("SM-the-message-", 1000+n), delivery.Failed, "30003")
					_, err = w.Verify(ctx, production, c.ID, mfa.VerifyParams{Code: wrong}, onceKey[mfa.Verification](fmt.Sprint("verify", i), wrong))
					must(err, mfa.ErrTooManyAttempts)
					w.clock.Advance(time.Second)
					_, err = w.Resend(ctx, production, c.ID, nil)
					must(err, delivery.ErrPrefixPaused, delivery.ErrDailyLimit, mfa.ErrTooManyAttempts)
				}
			}
			otp, err := w.Enroll(ctx, production, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada@example.com"}, nil)
			must(err)
			c, err := w.Challenge(ctx, production, otp.ID, mfa.ChallengeParams{}, onceKey[mfa.IssuedChallenge]("c", "r"))
			must(err)
			codes = append(codes, c.Code.Reveal())
			_, err = w.Verify(ctx, production, c.ID, mfa.VerifyParams{Code: wrong}, nil)
			must(err)
			must(w.DeleteFactor(ctx, production, otp.ID)) // the last of this user, whose id is an address
			if paused := fmt.Sprint(w.operatorOn(s).MessageCounts(ctx, production.Environment)); !strings.Contains(paused, "+491512") {
				t.Errorf("counters are %s; want the names of prefixes", paused)
			}
			dump := s.dump()
			searched(t, dump, names)
			searchedForCodes(t, dump, codes)
			if !bytes.Contains(dump, []byte("user_42")) || !bytes.Contains(dump, []byte("message.prefix_paused")) && name == "postgres" {
				t.Error("the dump does not hold what the store does")
			}
		})
	}
}

// TestAReleaseThatSealedLessIsSealed has rows as an older release stored them.
func TestAReleaseThatSealedLessIsSealed(t *testing.T) {
	for name, open := range dumpedStores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			w := newFixture(t, mfa.Options{})
			opts := mfa.Options{
				Unsealed: true,
				Environments: func(context.Context) ([]mfa.EnvironmentID, error) {
					return []mfa.EnvironmentID{sandbox.ID, production.ID}, nil
				},
			}
			done := 0
			opts.AllSealed = func(context.Context) error { done++; return nil }
			w.Service = w.serviceOver(s, opts)
			var factors []mfa.FactorID
			for i := range 300 {
				e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: fmt.Sprint("user_", i)})
				factors = append(factors, e.ID)
				err := s.Update(t.Context(), mfa.Read{Bucket: e.ID.Bucket(), Factor: e.ID}, func(tx *mfa.Tx) error {
					f := tx.Factor
					f.Label = nil
					f.Old = mfa.Unsealed{Issuer: "Adas own bank", Account: "ada@example.com", Replay: bytes.Repeat([]byte("h"), 32)}
					tx.Writes = []mfa.Write{mfa.DeleteFactor{ID: f.ID}, mfa.InsertFactor{Factor: f}}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			now := w.clock.Now()
			for _, of := range []string{"+491512", "DE", "all"} {
				key := delivery.CounterKey{Environment: production.ID, Name: of}
				y := &delivery.Counter{CounterKey: key, Counts: []delivery.Count{{At: now.Truncate(30 * time.Minute), Sent: 999, Verified: 9}}, ExpiresAt: now.Add(24 * time.Hour)}
				if of == "+491512" {
					y.PausedUntil = now.Add(time.Hour)
				}
				if err := s.Update(t.Context(), mfa.Read{Bucket: key.Bucket(), Counters: []delivery.CounterKey{key}}, func(tx *mfa.Tx) error {
					tx.Writes = []mfa.Write{mfa.PutCounter{Counter: y}}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			before, err := w.Factor(t.Context(), sandbox, factors[0])
			if err != nil || before.Issuer != "Adas own bank" || before.Account != "ada@example.com" {
				t.Fatalf("before: %q of %q, %v", before.Account, before.Issuer, err)
			}
			for range 3 {
				if err := w.Reseal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if done != 1 {
				t.Errorf("it was done %d times; want once", done)
			}
			after, err := w.Factor(t.Context(), sandbox, factors[0])
			if err != nil || after.Issuer != before.Issuer || after.Account != before.Account || after.Old.Account != "" || after.Old.Replay != nil {
				t.Errorf("after: %+v, %v; want the same issuer and account", after, err)
			}
			// The limits still hold.
			f := w.phone(production, gracesPhone)
			if _, err := w.sendIn(production, f); !errors.Is(err, delivery.ErrPrefixPaused) {
				t.Errorf("Challenge = %v; want %v", err, delivery.ErrPrefixPaused)
			}
			american := w.phone(production, adasPhone)
			if _, err := w.sendIn(production, american); err != nil {
				t.Errorf("the thousandth message: %v", err)
			}
			w.clock.Advance(time.Minute)
			if _, err := w.sendIn(production, american); !errors.Is(err, delivery.ErrDailyLimit) {
				t.Errorf("one more than a thousand: %v; want %v", err, delivery.ErrDailyLimit)
			}
			searched(t, s.dump(), append(names, strings.Repeat("h", 32)))
		})
	}
}

func TestRotationSealsLabelsAndTalliesAgain(t *testing.T) {
	w := newFixture(t, mfa.Options{
		Environments: func(context.Context) ([]mfa.EnvironmentID, error) { return []mfa.EnvironmentID{production.ID}, nil },
	})
	if _, err := w.sendIn(production, w.phone(production, gracesPhone)); err != nil {
		t.Fatal(err)
	}
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Issuer: "Acme", Account: "ada"})
	rotated, err := w.keys.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(rotated)
	if err := w.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	retired, err := rotated.Retire()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(retired)
	f, err := w.Factor(t.Context(), sandbox, e.ID)
	if err != nil || f.Issuer != "Acme" || f.Account != "ada" {
		t.Errorf("Factor = %q of %q, %v", f.Account, f.Issuer, err)
	}
	w.wantCounters("rotated", map[string]string{"+491512": "1 sent, 0 verified"})
}

// TestALabelOpensInItsRowOnly moves a label to another factor.
func TestALabelOpensInItsRowOnly(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	one, two := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Account: "ada"}), w.enroll(mfa.EnrollParams{Type: mfa.TOTP})
	moved := *w.stored(two.ID)
	moved.Label = w.stored(one.ID).Label
	if err := w.store.Update(t.Context(), mfa.Read{Bucket: two.ID.Bucket(), Factor: two.ID}, func(tx *mfa.Tx) error {
		tx.Writes = []mfa.Write{moved.Seal()}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if f, err := w.Factor(t.Context(), sandbox, two.ID); !errors.Is(err, secret.ErrOpen) {
		t.Errorf("Factor = %q, %v; want %v", f.Account, err, secret.ErrOpen)
	}
}

// TestAFailureCountSurvivesFactors deletes all factors of a user between guesses.
func TestAFailureCountSurvivesFactors(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 6, FreeFailures: 100}})
	enroll := func() mfa.FactorID { return w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID }
	for range 3 {
		f := enroll()
		w.fail(f)
		w.fail(f)
		if err := w.DeleteFactor(t.Context(), sandbox, f); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(300 * 24 * time.Hour)
		if err := w.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f := enroll()
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, mfa.ErrTooManyAttempts) {
		t.Errorf("after six wrong codes for four factors: %v; want %v", err, mfa.ErrTooManyAttempts)
	}
	if err := w.unlockUser(sandbox, "ada"); err != nil {
		t.Fatal(err)
	}
	w.challenge(f)
}

func TestAnIDDoesNotTellTheNext(t *testing.T) {
	next := mfa.NewIDs(rand.Reader)
	at := time.UnixMilli(1_774_612_800_432)
	random := func(id [16]byte) (hi, lo uint64) {
		return binary.BigEndian.Uint64(append([]byte{0, 0, 0, 0, 0, 0}, id[6:8]...)), binary.BigEndian.Uint64(id[8:])
	}
	steps := map[uint64]bool{}
	first, err := next(at, 7)
	if err != nil {
		t.Fatal(err)
	}
	hi, lo := random(first)
	const n = 1000
	for range n {
		id, err := next(at, 7)
		if err != nil {
			t.Fatal(err)
		}
		h, l := random(id)
		if h < hi || h == hi && l <= lo {
			t.Fatalf("%x is not beyond the one before", id)
		}
		steps[l-lo] = true
		hi, lo = h, l
	}
	if len(steps) < n {
		t.Errorf("%d ids of a millisecond have %d different distances; want each its own", n, len(steps))
	}
	small := 0
	for step := range steps {
		if step>>10 < 1<<46 && step>>10 > 0 {
			small++
		}
	}
	if small > 10 { // one in 1,024 is expected
		t.Errorf("%d of %d ids are within 2^46 of the one before", small, n)
	}
}

// TestIDsOfOneMillisecondDiffer makes more ids than can be in order. All begin with their time.
func TestIDsOfOneMillisecondDiffer(t *testing.T) {
	next := mfa.NewIDs(rand.Reader)
	at := time.UnixMilli(1_774_612_800_432)
	seen := map[[16]byte]bool{}
	for range 100_000 {
		id, err := next(at, 7)
		if err != nil {
			t.Fatal(err)
		}
		if got := mfa.EventID(id); !mfa.TimeOf(got).Equal(at) || got.Bucket() != 7 || seen[id] {
			t.Fatalf("%x is there twice, or of another time or bucket", id)
		}
		seen[id] = true
	}
}

// TestASecretIsShownAgainForTenMinutes repeats an enrollment under its key.
func TestASecretIsShownAgainForTenMinutes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		p     mfa.EnrollParams
		after time.Duration
		again bool
	}{
		{"totp, within", mfa.EnrollParams{Type: mfa.TOTP}, 10*time.Minute - time.Millisecond, true},
		{"totp, after", mfa.EnrollParams{Type: mfa.TOTP}, 10 * time.Minute, false},
		{"sms, after", mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, 10 * time.Minute, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			once := onceKey[mfa.Enrollment]("k", "r")
			if _, err := w.Enroll(t.Context(), sandbox, tc.p, once); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(tc.after)
			err := fresh(w.Enroll(t.Context(), sandbox, tc.p, once))
			if again := isReplay(err); again != tc.again || !again && !errors.Is(err, mfa.ErrKeyReused) {
				t.Errorf("the same request %v later: %v; given again must be %v", tc.after, err, tc.again)
			}
			if n := w.count(mfa.FactorEnrolled); n != 1 {
				t.Errorf("%d factors were enrolled; want 1", n)
			}
		})
	}
}

// TestRecordsAreKeyedHashes compares the records of the same requests in two stores with
// different keysets. Otherwise a thief who hashes every code could find the right one.
func TestRecordsAreKeyedHashes(t *testing.T) {
	fixtures := []*fixture{newFixture(t, mfa.Options{}), newFixture(t, mfa.Options{})}
	for i := range 3 {
		body := fmt.Sprintf(`{"code":"%06d"}`, i)
		plain := sha256.Sum256([]byte(body))
		var records []*mfa.Replay
		for _, w := range fixtures {
			c := w.challenge(w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID)
			once := &idempotency.Request[mfa.Verification]{
				Key: plain, Fingerprint: plain, Keep: time.Hour,
				Answer: func(mfa.Verification, error) []byte { return []byte("answer") },
			}
			if _, err := w.Verify(t.Context(), sandbox, c.ID, mfa.VerifyParams{Code: wrong}, once); err != nil {
				t.Fatal(err)
			}
			r := w.rows(mfa.Read{Bucket: c.ID.Bucket(), Replay: w.ReplayKey(plain)}).Replay
			if r == nil {
				t.Fatal("nothing was recorded")
			}
			records = append(records, r)
			if bytes.Equal(r.Key[:], plain[:len(r.Key)]) || r.Fingerprint == plain {
				t.Errorf("the record of %s holds its SHA-256", body)
			}
		}
		if records[0].Key == records[1].Key || records[0].Fingerprint == records[1].Fingerprint {
			t.Errorf("the record of %s is the same under two keysets", body)
		}
	}
}
