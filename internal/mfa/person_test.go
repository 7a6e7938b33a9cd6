package mfa_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// ada's device, whose address has two forms.
var adasDevice = mfa.Client{IPAddress: "::ffff:203.0.113.7", UserAgent: "Firefox/140 of ada"}

// A reader lists the events of production.
type reader struct {
	t testing.TB
	s *events.Service
}

func (w *fixture) reader(store mfa.Store) reader {
	keys := func() *secret.Keyset { return w.Keyset() }
	return reader{w.t, events.NewService(store.(events.Log), events.Options{Keys: keys})}
}

// of returns the events of a factor.
func (r reader) of(f mfa.FactorID) []events.Event {
	r.t.Helper()
	page, err := r.s.List(context.Background(), events.Query{Environment: production.ID, Factor: f})
	if err != nil {
		r.t.Fatal(err)
	}
	return page.Events
}

func TestALongUserAgentIsCut(t *testing.T) {
	for _, tc := range []struct{ name, given, want string }{
		{"at the limit", strings.Repeat("a", 512), strings.Repeat("a", 512)},
		{"one byte longer", strings.Repeat("a", 513), strings.Repeat("a", 512)},
		{"between two characters", strings.Repeat("a", 511) + "é", strings.Repeat("a", 511)},
		{"far longer", strings.Repeat("é", 5000), strings.Repeat("é", 256)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			f, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Challenge(t.Context(), production, f.ID, mfa.ChallengeParams{Client: mfa.Client{UserAgent: tc.given}}, nil); err != nil {
				t.Fatal(err)
			}
			all := w.reader(w.store).of(f.ID)
			if got := all[len(all)-1].UserAgent; got != tc.want {
				t.Errorf("the event has %d bytes %q; want %d", len(got), got, len(tc.want))
			}
		})
	}
}

func TestAUserAgentOfInvalidTextIsRefused(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f, err := w.Enroll(t.Context(), production, mfa.EnrollParams{Type: mfa.GenericOTP}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := mfa.ChallengeParams{Client: mfa.Client{UserAgent: strings.Repeat("\x80", 600)}}
	if _, err := w.Challenge(t.Context(), production, f.ID, p, nil); !errors.Is(err, mfa.ErrInvalid) {
		t.Errorf("Challenge = %v; want %v", err, mfa.ErrInvalid)
	}
}

func TestEventsNameThePerson(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	ctx := t.Context()
	f, err := w.Enroll(ctx, production, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Challenge(ctx, production, f.ID, mfa.ChallengeParams{Client: adasDevice}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Verify(ctx, production, c.ID, mfa.VerifyParams{Code: wrong, Client: mfa.Client{UserAgent: "curl"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteFactor(ctx, production, f.ID); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		typ mfa.EventType
		mfa.Client
	}{
		{typ: mfa.FactorEnrolled},
		{mfa.ChallengeCreated, mfa.Client{IPAddress: "203.0.113.7", UserAgent: adasDevice.UserAgent}},
		{mfa.ChallengeFailed, mfa.Client{UserAgent: "curl"}},
		{typ: mfa.FactorDeleted},
	}
	got := w.reader(w.store).of(f.ID)
	if len(got) != len(want) {
		t.Fatalf("there are %d events; want %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Type != want[i].typ || e.User != "ada" || e.IPAddress != want[i].IPAddress || e.UserAgent != want[i].UserAgent {
			t.Errorf("event %d is %s of %q at %q with %q; want %+v of ada", i, e.Type, e.User, e.IPAddress, e.UserAgent, want[i])
		}
	}
}

// TestErasure searches everything that a store holds for the sealed data of persons who were
// erased: after their last factor was deleted, or on request.
func TestErasure(t *testing.T) {
	for name, open := range dumpedStores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			w := newFixture(t, mfa.Options{})
			w.Service = w.serviceOver(s, mfa.Options{RecoveryIterations: 2})
			ctx, r := t.Context(), w.reader(s.loggedStore)
			signIn := func(user string) mfa.FactorID {
				f, err := w.Enroll(ctx, production, mfa.EnrollParams{Type: mfa.GenericOTP, User: user}, nil)
				if err != nil {
					t.Fatal(err)
				}
				c, err := w.Challenge(ctx, production, f.ID, mfa.ChallengeParams{Client: adasDevice}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Verify(ctx, production, c.ID, mfa.VerifyParams{Code: c.Code.Reveal(), Client: adasDevice}, nil); err != nil {
					t.Fatal(err)
				}
				return f.ID
			}
			remove := func(id mfa.FactorID) {
				if err := w.DeleteFactor(ctx, production, id); err != nil {
					t.Fatal(err)
				}
			}
			sweep := func() {
				if err := w.Sweep(ctx); err != nil {
					t.Fatal(err)
				}
			}
			known := func(id mfa.FactorID, user string, address string) {
				t.Helper()
				for _, e := range r.of(id) {
					if e.User != user || e.Type == mfa.ChallengeCreated && e.IPAddress != address {
						t.Errorf("%s is of %q at %q; want %q at %q", e.Type, e.User, e.IPAddress, user, address)
					}
				}
			}
			const address = "203.0.113.7"
			last, another := signIn("gone@example.com"), signIn("gone@example.com")
			nameless, kept := signIn(""), signIn("kept@example.com")
			back, requested := signIn("back@example.com"), signIn("requested@example.com")
			signIn("requested@example.com")
			removed := signIn("kept@example.com")
			set, err := w.CreateRecoveryCodes(ctx, production, mfa.RecoveryParams{User: "requested@example.com", Client: adasDevice}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v := w.useRecovery(production, set.ID, set.Codes[0].Reveal()); !v.Valid {
				t.Fatal("a recovery code is wrong")
			}
			sealedSet := w.sealedSecret(s.loggedStore, set.ID)
			sealed := sealedData(t, s.loggedStore)

			remove(another)
			w.clock.Advance(2 * time.Hour)
			sweep()
			known(another, "gone@example.com", address) // the user has another factor
			remove(last)
			remove(nameless)
			remove(removed)
			remove(back)
			sealed = append(sealed, sealedData(t, s.loggedStore)...)
			w.clock.Advance(59 * time.Minute)
			sweep()
			known(last, "gone@example.com", address)
			again := signIn("back@example.com")
			if err := w.EraseUser(ctx, production, "requested@example.com"); err != nil {
				t.Fatal(err)
			}
			known(requested, "", "")
			known(set.ID, "", "")
			if _, err := w.RecoveryCodes(ctx, production, "requested@example.com"); !errors.Is(err, mfa.ErrNotFound) {
				t.Errorf("the recovery codes after the erasure: %v; want that they are not found", err)
			}
			w.clock.Advance(time.Minute)
			sweep()
			known(last, "", "")
			known(another, "", "")
			known(nameless, "", "")
			known(kept, "kept@example.com", address)
			known(removed, "kept@example.com", address)
			known(back, "back@example.com", address)
			known(again, "back@example.com", address)

			left := sealedData(t, s.loggedStore)
			dump := s.dump()
			for _, user := range []string{"gone@example.com", "requested@example.com"} {
				searched(t, dump, []string{user, address, adasDevice.UserAgent})
			}
			searched(t, dump, []string{string(sealedSet)})
			erased := 0
			for _, value := range sealed {
				if contains(left, value) {
					continue
				}
				erased++
				searched(t, dump, []string{string(value)})
			}
			if erased < 8 {
				t.Errorf("%d of %d values were erased; want more", erased, len(sealed))
			}
		})
	}
}

// useRecovery challenges a set of recovery codes and tries a code.
func (w *fixture) useRecovery(by mfa.Caller, set mfa.FactorID, code string) mfa.Verification {
	w.t.Helper()
	c, err := w.Challenge(w.t.Context(), by, set, mfa.ChallengeParams{Client: adasDevice}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	v, err := w.Verify(w.t.Context(), by, c.ID, mfa.VerifyParams{Code: code, Client: adasDevice}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// sealedSecret returns the sealed secret of a stored factor.
func (w *fixture) sealedSecret(s mfa.Store, id mfa.FactorID) []byte {
	w.t.Helper()
	rows, err := s.View(w.t.Context(), mfa.Read{Bucket: id.Bucket(), Factor: id})
	if err != nil || rows.Factor == nil || len(rows.Factor.Sealed) == 0 {
		w.t.Fatalf("the factor %s: %v", id, err)
	}
	return rows.Factor.Sealed
}

// sealedData returns the sealed personal data of all events.
func sealedData(t *testing.T, s mfa.Store) (all [][]byte) {
	t.Helper()
	contexts, err1 := s.Contexts(t.Context(), mfa.EventID{}, 1000)
	factors, err2 := s.DeletedFactors(t.Context(), mfa.FactorID{}, 1000)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, c := range contexts {
		all = append(all, c.Sealed)
	}
	for _, d := range factors {
		all = append(all, d.Sealed)
	}
	return all
}

func contains(all [][]byte, value []byte) bool {
	for _, v := range all {
		if bytes.Equal(v, value) {
			return true
		}
	}
	return false
}

func TestRotationSealsPersonsAnew(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{Client: adasDevice}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteFactor(t.Context(), sandbox, f); err != nil {
		t.Fatal(err)
	}
	before := sealedData(t, w.store)
	rotated, err := w.Keyset().Rotate()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(rotated)
	if err := w.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, value := range sealedData(t, w.store) {
		if rotated.Stale(value) || bytes.Equal(value, before[i]) {
			t.Errorf("value %d is sealed under the old key", i)
		}
	}
	q := events.Query{Environment: sandbox.ID, Types: []mfa.EventType{mfa.ChallengeCreated}}
	page, err := w.reader(w.store).s.List(t.Context(), q)
	if err != nil || len(page.Events) != 1 || page.Events[0].User != "ada" || page.Events[0].IPAddress != "203.0.113.7" {
		t.Errorf("after the rotation, List = %+v, %v", page.Events, err)
	}
}
