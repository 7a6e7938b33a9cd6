package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

type store interface {
	mfa.Store
	access.Store
	transfer.Store
	webhook.Store
	signin.Store
	stats.Store
}

func newSQLite(t *testing.T) store {
	t.Helper()
	s, err := sqlite.Open(sqlitetest.Path(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.RemoveShared()
	os.Exit(code)
}

// reopen opens the same store again, as another process would.
type reopen func(t *testing.T) store

func sqliteTwice(t *testing.T) (store, reopen) {
	path := sqlitetest.Path(t)
	again := func(t *testing.T) store {
		s, err := sqlite.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return again(t), again
}

func postgresTwice(t *testing.T) (store, reopen) {
	url := pgtest.Shared(t).Copy(t, postgres.Migrate)
	again := func(t *testing.T) store {
		s, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return again(t), again
}

// TestNothingAcknowledgedIsLeftBehind copies stores while a server in another process
// writes to them. Each write is either refused or in the target.
func TestNothingAcknowledgedIsLeftBehind(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		source func(*testing.T) (store, reopen)
		target func(*testing.T) (store, reopen)
	}{
		{"from SQLite to PostgreSQL", sqliteTwice, postgresTwice},
		{"from PostgreSQL to SQLite", postgresTwice, sqliteTwice},
	} {
		t.Run(tc.name, func(t *testing.T) {
			serving, again := tc.source(t)
			target, _ := tc.target(t)
			l := live(t, serving, keys, 3)
			m, _ := newService(t, serving, keys)
			const callers = 16
			enough := make(chan struct{}, callers)
			var acknowledged [callers][]mfa.FactorID
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					for {
						f, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.GenericOTP}, nil)
						if err != nil {
							if !errors.Is(err, mfa.ErrUnavailable) {
								t.Errorf("Enroll = %v; want ErrUnavailable", err)
							}
							return
						}
						if acknowledged[i] = append(acknowledged[i], f.ID); len(acknowledged[i]) == 20 {
							enough <- struct{}{}
						}
					}
				})
			}
			for range callers {
				<-enough
			}
			if err := transfer.Copy(t.Context(), again(t), target, "new", unrecorded, func(transfer.Kind, transfer.Sum) {}); err != nil {
				t.Error(err)
				stopWriting(t, again(t)) // ends the callers
			}
			wg.Wait()
			for _, ids := range acknowledged {
				for _, id := range ids {
					if rows, err := target.View(t.Context(), mfa.Read{Bucket: id.Bucket(), Factor: id}); err != nil || rows.Factor == nil {
						t.Fatalf("%s was acknowledged and is not in the target: %v", id, err)
					}
				}
			}
			if err := transfer.Servable(t.Context(), serving); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("the source: Servable = %v; want ErrUnavailable", err)
			}
			_, _, key := access.NewService(serving, nil).CreateKey(t.Context(), mfa.Caller{Environment: l.env}, access.KeyParams{})
			_, environment := access.NewService(serving, nil).CreateEnvironment(t.Context(), mfa.Caller{}, "third", false)
			_, sweep := serving.Sweep(t.Context(), mfa.Horizon{}, 1000)
			_, sweepStatistics := serving.SweepStatistics(t.Context(), l.env.ID, stats.Events, time.Now(), 1000)
			for name, err := range map[string]error{
				"CreateKey": key, "CreateEnvironment": environment, "Sweep": sweep, "SweepStatistics": sweepStatistics,
				"UpdateStatistics": serving.UpdateStatistics(t.Context(), l.env.ID, nil, func(*stats.Tx) error { return nil }),
				"TouchKeys":        serving.TouchKeys(t.Context(), []access.Use{{Key: "key", At: time.Now()}}),
				"UpdateSignIn":     serving.UpdateSignIn(t.Context(), func(signin.Tx) error { return nil }),
			} {
				if !errors.Is(err, mfa.ErrUnavailable) {
					t.Errorf("the source: %s = %v; want ErrUnavailable", name, err)
				}
			}
			if err := transfer.Unmark(t.Context(), again(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.GenericOTP}, nil); err != nil {
				t.Errorf("the source without its mark: %v", err)
			}
		})
	}
}

func stopWriting(t *testing.T, s store) {
	t.Helper()
	if err := s.MarkMoved(context.WithoutCancel(t.Context()), "nowhere"); err != nil {
		t.Error(err)
	}
}

// TestMarkMovedWaitsForTransactions marks a store while a transaction has finished its
// reads but has not committed.
func TestMarkMovedWaitsForTransactions(t *testing.T) {
	for name, twice := range map[string]func(*testing.T) (store, reopen){"SQLite": sqliteTwice, "PostgreSQL": postgresTwice} {
		t.Run(name, func(t *testing.T) {
			s, again := twice(t)
			other := again(t)
			f := storetest.NewFactor(storetest.NewUser())
			inside, marked, stored := make(chan struct{}, 1), make(chan error, 1), make(chan error, 1)
			go func() {
				stored <- s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID}, func(tx *mfa.Tx) error {
					inside <- struct{}{}
					select {
					case <-marked:
						t.Error("MarkMoved returned before the transaction ended")
					case <-time.After(300 * time.Millisecond):
					}
					tx.Writes = []mfa.Write{mfa.InsertFactor{Factor: f}}
					return nil
				})
			}()
			<-inside
			err := other.MarkMoved(t.Context(), "new")
			marked <- err
			if err != nil {
				t.Error(err)
			}
			if err := <-stored; err != nil {
				t.Errorf("the transaction that began before: %v", err)
			}
		})
	}
}

func newPostgres(t *testing.T, c *pgtest.Cluster) store {
	t.Helper()
	url := c.Database(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// phone accepts every message and keeps the last one.
type phone struct{ last delivery.Message }

func (p *phone) Send(_ context.Context, m delivery.Message) (delivery.Accepted, error) {
	p.last = m
	return delivery.Accepted{}, nil
}

func newService(t *testing.T, s store, keys *secret.Keyset) (*mfa.Service, *phone) {
	t.Helper()
	p := new(phone)
	service, err := mfa.NewService(s, keys, nil, mfa.Options{Sandbox: p, RecoveryIterations: 2})
	if err != nil {
		t.Fatal(err)
	}
	return service, p
}

// lived identifies rows that a store holds after some use. They must still work in a
// copy of the store.
type lived struct {
	env       mfa.Environment
	key       secret.String
	factors   []mfa.FactorID
	challenge mfa.IssuedChallenge
	once      *idempotency.Request[mfa.IssuedChallenge]
	answer    string
	recovery  []secret.String // the codes of recovering; the first is used
}

// recovering is a user who has only recovery codes.
const recovering = "recovering"

// live uses a store and leaves rows of every kind.
func live(t *testing.T, s store, keys *secret.Keyset, users int) (l lived) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a := access.NewService(s, nil)
	var err error
	_, err = a.CreateEnvironment(t.Context(), mfa.Caller{}, "first", true)
	must(err)
	l.env, err = a.CreateEnvironment(t.Context(), mfa.Caller{}, "second", false)
	must(err)
	l.env, err = a.ChangeSettings(t.Context(), mfa.Caller{Environment: l.env}, map[string]string{"max_factors_per_user": "50", "delete_requires_challenge": "1h"})
	must(err)
	l.key, _, err = a.CreateKey(t.Context(), mfa.Caller{Environment: l.env}, access.KeyParams{})
	must(err)
	_, revoked, err := a.CreateKey(t.Context(), mfa.Caller{Environment: l.env}, access.KeyParams{})
	must(err)
	must(a.Revoke(t.Context(), mfa.Caller{}, revoked.ID))
	must(s.PutMeta(t.Context(), "keyset_check", []byte("proof")))
	m, _ := newService(t, s, keys)
	for i := range users {
		user := fmt.Sprintf("üser %d", i)
		e, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.TOTP, User: user, Challenge: true}, nil)
		must(err)
		_, err = m.Verify(t.Context(), mfa.Caller{Environment: l.env}, e.Challenge.ID, mfa.VerifyParams{Code: "000000x", Client: mfa.Client{IPAddress: "203.0.113.7"}}, nil)
		must(err)
		l.factors = append(l.factors, e.ID)
	}
	e, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+16073517112"}, nil)
	must(err)
	sent, err := m.Challenge(t.Context(), mfa.Caller{Environment: l.env}, e.ID, mfa.ChallengeParams{}, nil)
	must(err)
	deliver(t, s, l.env.ID, sent.ID, users)
	deliverWebhooks(t, s, keys, l.env, users)
	addOperators(t, s, 3)
	countEvents(t, s, l.env, users)
	g, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.GenericOTP}, nil)
	must(err)
	l.once = &idempotency.Request[mfa.IssuedChallenge]{
		Key: [32]byte{1}, Fingerprint: [32]byte{2}, Keep: 24 * time.Hour,
		Answer: func(c mfa.IssuedChallenge, err error) []byte { return []byte(c.ID.String()) },
	}
	l.challenge, err = m.Challenge(t.Context(), mfa.Caller{Environment: l.env}, g.ID, mfa.ChallengeParams{}, l.once)
	must(err)
	l.answer = l.challenge.ID.String()
	set, err := m.CreateRecoveryCodes(t.Context(), mfa.Caller{Environment: l.env}, mfa.RecoveryParams{User: recovering, AllowSole: true}, nil)
	must(err)
	l.recovery = set.Codes
	used, err := m.VerifyUser(t.Context(), mfa.Caller{Environment: l.env}, recovering, mfa.VerifyParams{Code: l.recovery[0].Reveal()}, nil)
	must(err)
	if !used.Valid {
		t.Fatal("a recovery code is wrong")
	}
	must(m.DeleteFactor(t.Context(), mfa.Caller{Environment: l.env}, l.factors[0]))
	l.factors = l.factors[1:]
	return l
}

// deliver stores n messages with their tallies, n bypass codes, n replay records, and a challenge that refers to them.
func deliver(t *testing.T, s store, env mfa.EnvironmentID, id mfa.ChallengeID, n int) {
	t.Helper()
	at := time.Date(2026, 3, 29, 8, 30, 0, 123e6, time.UTC)
	update := func(r mfa.Read, fn func(tx *mfa.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), r, fn); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		m := &delivery.MessageRef{Key: delivery.MessageKey{byte(i), byte(i >> 8), 1}, Challenge: id, Number: i, ExpiresAt: at}
		if i%2 == 1 { // has only a receipt
			m.Challenge, m.Number, m.State, m.Reason = mfa.ChallengeID{}, 0, delivery.Undelivered, "30008"
		}
		m.Bucket = m.Key.Bucket()
		update(mfa.Read{Bucket: m.Bucket, Message: m.Key}, storetest.Writing(mfa.PutMessage{MessageRef: m}))
		w := &mfa.Bypass{Bucket: m.Bucket, Key: mfa.BypassKey(m.Key), CodeMAC: []byte{byte(i)}, Guesses: i, CreatedAt: at, ExpiresAt: at, Operator: "ada", Reason: "ticket"}
		update(mfa.Read{Bucket: w.Bucket, Bypass: w.Key}, storetest.Writing(mfa.PutBypass{Bypass: w}))
		r := storetest.NewReplay(m.Bucket)
		update(mfa.Read{Bucket: r.Bucket, Replay: r.Key}, storetest.Writing(mfa.PutReplay{Replay: r}))
		y := &delivery.Counter{CounterKey: delivery.CounterKey{Environment: env, Name: fmt.Sprintf("+%d", i)}, Sealed: []byte("sealed"), ExpiresAt: at}
		if i%2 == 1 {
			y.Environment++
			y.Counts, y.PausedUntil = []delivery.Count{{At: at, Sent: i, Verified: 1}}, at
		}
		update(mfa.Read{Bucket: y.Bucket(), Counters: []delivery.CounterKey{y.CounterKey}}, storetest.Writing(mfa.PutCounter{Counter: y}))
	}
	update(mfa.Read{Bucket: id.Bucket(), Challenge: id}, func(tx *mfa.Tx) error {
		tx.Challenge.Messages = []delivery.Record{{Provider: "one", ID: "SM1", State: delivery.Sent, Segments: 1, At: at, UpdatedAt: at}}
		tx.Writes = []mfa.Write{tx.Challenge.Update()}
		return nil
	})
}

// deliverWebhooks stores webhook endpoints, with n deliveries and attempts of each.
func deliverWebhooks(t *testing.T, s store, keys *secret.Keyset, env mfa.Environment, n int) {
	t.Helper()
	at := time.Date(2026, 3, 29, 8, 30, 0, 123e6, time.UTC)
	w := webhook.NewService(s, keys, webhook.Options{})
	for i := range 3 {
		d, err := w.Create(t.Context(), mfa.Caller{Environment: env}, webhook.Params{
			URL: fmt.Sprintf("https://example.com/%d", i), Events: []string{string(mfa.ChallengeFailed)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.UpdateEndpoint(t.Context(), d.ID, func(tx *webhook.Tx) error {
			for k := range n {
				event := mfa.EventID{1, byte(k), byte(k >> 8)}
				tx.Put = append(tx.Put, webhook.Delivery{Endpoint: d.ID, Event: event, EventAt: at, State: webhook.Failed, NextAt: at, ExpiresAt: at})
				tx.Attempts = append(tx.Attempts, webhook.Attempt{
					ID: webhook.AttemptID{2, byte(k), byte(k >> 8)}, Endpoint: d.ID, Event: event, Type: mfa.ChallengeFailed, Number: k, At: at,
					Outcome: webhook.Refused, Status: 500, Answer: []byte{byte(k)}, ExpiresAt: at,
				})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// addOperators stores two operators, one of them with n passkeys.
func addOperators(t *testing.T, s store, n int) {
	t.Helper()
	at := time.Date(2026, 3, 29, 8, 30, 0, 123e6, time.UTC)
	if err := s.UpdateSignIn(t.Context(), func(tx signin.Tx) error {
		errs := []error{
			tx.PutOperator(signin.Operator{Name: "ada", Role: access.RoleAdmin, Handle: []byte{1}, CreatedAt: at}),
			tx.PutOperator(signin.Operator{Name: "Ada", Role: access.RoleViewer, Handle: []byte{2}, Subject: "https://id.example.com 7", CreatedAt: at, DisabledAt: at}),
		}
		for k := range n {
			errs = append(errs, tx.PutPasskey(signin.Passkey{
				Credential: passkey.Credential{ID: []byte{byte(k >> 8), byte(k)}, PublicKey: []byte{7}, SignCount: 9}, Operator: "ada", Name: "key", CreatedAt: at,
			}))
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Fatal(err)
	}
}

// countEvents stores statistics of n hours, and positions.
func countEvents(t *testing.T, s store, env mfa.Environment, n int) {
	t.Helper()
	hour := time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)
	for _, id := range []mfa.EnvironmentID{-1, env.ID} {
		var keys []stats.Key
		for i := range n {
			keys = append(keys, stats.Key{Series: stats.Events, Start: hour.Add(time.Duration(i) * time.Hour)})
		}
		if err := s.UpdateStatistics(t.Context(), id, keys, func(tx *stats.Tx) error {
			tx.Position = stats.Position{At: mfa.EventID{1, 2, 3}, LeasedBy: [16]byte{4}, LeasedUntil: hour}
			for i := range tx.Rows {
				tx.Rows[i].Counts = fmt.Append(nil, i)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for kind, want := range map[transfer.Kind]int{"statistics": 2 * n, "statistics_positions": 2} {
		if sum, err := transfer.SumOf(t.Context(), s, kind); err != nil || sum.Rows != want {
			t.Fatalf("the export has %d %s, %v; want %d", sum.Rows, kind, err, want)
		}
	}
}

// goesOn checks that a client of the first store can continue with s as if the store
// had not changed.
func (l lived) goesOn(t *testing.T, s store, keys *secret.Keyset) {
	t.Helper()
	if k, err := access.NewService(s, nil).Authenticate(t.Context(), l.key.Reveal()); err != nil || k.Environment != l.env {
		t.Errorf("Authenticate = %+v, %v", k, err)
	}
	m, _ := newService(t, s, keys)
	for _, id := range l.factors {
		if _, err := m.Factor(t.Context(), mfa.Caller{Environment: l.env}, id); err != nil {
			t.Error(err)
		}
	}
	again, err := m.Challenge(t.Context(), mfa.Caller{Environment: l.env}, l.challenge.Factor, mfa.ChallengeParams{}, l.once)
	if err != nil || again.Replayed == nil || string(again.Replayed.Bytes) != l.answer {
		t.Errorf("the same request again: %v; want the same answer", err)
	}
	v, err := m.Verify(t.Context(), mfa.Caller{Environment: l.env}, l.challenge.ID, mfa.VerifyParams{Code: l.challenge.Code.Reveal()}, nil)
	if err != nil || !v.Valid {
		t.Errorf("Verify = %v, %v; want valid", v.Valid, err)
	}
	for i, want := range []bool{false, true} { // the first was used before the copy
		tried, err := m.VerifyUser(t.Context(), mfa.Caller{Environment: l.env}, recovering, mfa.VerifyParams{Code: l.recovery[i].Reveal()}, nil)
		if err != nil || tried.Valid != want {
			t.Errorf("recovery code %d: valid = %v, %v; want %v", i, tried.Valid, err, want)
		}
	}
	if set, err := m.RecoveryCodes(t.Context(), mfa.Caller{Environment: l.env}, recovering); err != nil || set.Recovery.Remaining != 8 {
		t.Errorf("the recovery codes: %+v, %v; want 8 left", set.Recovery, err)
	}
	hooks, err := webhook.NewService(s, keys, webhook.Options{}).List(t.Context(), l.env.ID)
	if err != nil || len(hooks) != 3 || hooks[0].Current.Reveal() == "" {
		t.Errorf("%d webhook endpoints, %v; want 3 with their secrets", len(hooks), err)
	}
	people, err := signin.NewService(s, nil, signin.Options{}).Accounts(t.Context())
	if err != nil || len(people) != 2 || people[0].Name != "Ada" || people[0].DisabledAt.IsZero() || len(people[1].Passkeys) != 3 {
		t.Errorf("the operators are %+v, %v", people, err)
	}
	if _, err := access.NewService(s, nil).CreateEnvironment(t.Context(), mfa.Caller{}, "third", false); err != nil {
		t.Errorf("a new environment: %v", err)
	}
}

func copyAll(t *testing.T, from, to store) {
	t.Helper()
	rows := 0
	if err := transfer.Copy(t.Context(), from, to, "new", unrecorded, func(_ transfer.Kind, s transfer.Sum) { rows += s.Rows }); err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		t.Error("nothing was copied")
	}
}

func TestAStoreMovesAndMovesBack(t *testing.T) {
	c := pgtest.Start(t)
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	here, there, back := newSQLite(t), newPostgres(t, c), newSQLite(t)
	l := live(t, here, keys, 700) // more than one batch
	copyAll(t, here, there)
	copyAll(t, there, back)
	for _, kind := range transfer.Kinds {
		first, err := transfer.SumOf(t.Context(), here, kind)
		if err != nil {
			t.Fatal(err)
		}
		last, err := transfer.SumOf(t.Context(), back, kind)
		if err != nil {
			t.Fatal(err)
		}
		if first.Rows == 0 {
			t.Errorf("the test has no %s", kind)
		}
		if first != last {
			t.Errorf("%s: %d rows became %d, or others", kind, first.Rows, last.Rows)
		}
	}
	l.goesOn(t, back, keys)
	if err := transfer.Unmark(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	l.goesOn(t, there, keys)
}

func TestCopyRefusesATargetThatHoldsSomething(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	from, to := newSQLite(t), newSQLite(t)
	live(t, from, keys, 2)
	live(t, to, keys, 1)
	if err := transfer.Copy(t.Context(), from, to, "new", unrecorded, nil); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("Copy = %v; want ErrNotEmpty", err)
	}
}

// flaky is a store that fails at one Import, before or after it stores the rows.
type flaky struct {
	store
	left   int
	stores bool
}

var errCut = errors.New("cut off")

func (f *flaky) Import(ctx context.Context, rows []transfer.Row) error {
	if f.left--; f.left == 0 {
		if f.stores {
			if err := f.store.Import(ctx, rows); err != nil {
				return err
			}
		}
		return errCut
	}
	return f.store.Import(ctx, rows)
}

func TestACopyThatWasCutOffGoesOn(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	from := newSQLite(t)
	l := live(t, from, keys, 600)
	for _, stores := range []bool{false, true} {
		to := newSQLite(t)
		for n := 1; ; n++ {
			err := transfer.Copy(t.Context(), from, &flaky{to, n, stores}, "new", unrecorded, func(transfer.Kind, transfer.Sum) {})
			if err == nil {
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if err := transfer.Servable(t.Context(), to); err == nil {
				t.Error("a store that is half copied can be served from")
			}
		}
		l.goesOn(t, to, keys)
	}
}

// TestACopyOfAnOlderReleaseGoesOn checks that this program understands an unfinished
// copy of an older release: the number of the current kind, and a digest over these
// rows.
func TestACopyOfAnOlderReleaseGoesOn(t *testing.T) {
	older := []transfer.Kind{"environments", "api_keys", "meta", "factors", "challenges", "users", "phones", "replays", "events"}
	if got := transfer.Kinds[:len(older)]; !slices.Equal(got, older) {
		t.Errorf("the first kinds are %v; want %v", got, older)
	}
	b, err := json.Marshal(transfer.Row{Meta: &transfer.Meta{Name: "keyset_check", Value: []byte("proof")}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Environment":null,"Key":null,"Meta":{"Name":"keyset_check","Value":"cHJvb2Y="},` +
		`"Factor":null,"Challenge":null,"User":null,"Phone":null,"Replay":null,"Event":null}`
	if string(b) != want {
		t.Errorf("a row is written as %s\nwant %s", b, want)
	}
}

// TestTheDigestOfAKeyIsThatOfAnOlderRelease checks the text of a key without the values that
// older releases do not know.
func TestTheDigestOfAKeyIsThatOfAnOlderRelease(t *testing.T) {
	at := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	k := transfer.Key{Key: access.Key{
		ID: "key_1", Environment: mfa.Environment{ID: 7, Name: "Acme", Production: true}, Hint: "ABCD", CreatedAt: at, LastUsedAt: at,
		Scopes: access.DefaultScopes,
	}, Hash: access.Hash{1}}
	type olderEnvironment struct {
		ID         mfa.EnvironmentID
		Name       string
		Production bool
	}
	older := struct {
		ID          access.KeyID
		Environment olderEnvironment
		Hint        string
		CreatedAt   time.Time
		RevokedAt   time.Time
		Hash        access.Hash
	}{k.ID, olderEnvironment{7, "Acme", true}, k.Hint, k.CreatedAt, k.RevokedAt, k.Hash}
	got, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := json.Marshal(older); string(got) != string(want) {
		t.Errorf("a key is written as %s\nwant %s", got, want)
	}
	e := transfer.Environment{Environment: k.Environment, CreatedAt: at}
	text, err := json.Marshal(e)
	if want := `{"ID":7,"Name":"Acme","Production":true,"CreatedAt":"2026-03-27T12:00:00Z"}`; err != nil || string(text) != want {
		t.Errorf("an environment is written as %s, %v\nwant %s", text, err, want)
	}
	if e.Settings, err = e.Settings.With(map[string]string{"max_factors_per_user": "5"}); err != nil {
		t.Fatal(err)
	}
	if changed, _ := json.Marshal(e); string(changed) == string(text) {
		t.Error("the digest does not contain the settings")
	}
	for name, change := range map[string]func(*transfer.Key){
		"name":   func(k *transfer.Key) { k.Name = "x" },
		"scopes": func(k *transfer.Key) { k.Scopes = access.ScopesOf(access.ScopeAPI) },
		"expiry": func(k *transfer.Key) { k.ExpiresAt = at },
	} {
		other := k
		change(&other)
		if text, _ := json.Marshal(other); string(text) == string(got) {
			t.Errorf("the digest does not contain the %s", name)
		}
	}
}

func TestASourceTakesNoWritesWhileItIsCopied(t *testing.T) {
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	from, to := newSQLite(t), newSQLite(t)
	l := live(t, from, keys, 1)
	m, _ := newService(t, from, keys)
	first := true
	err = transfer.Copy(t.Context(), from, to, "new", unrecorded, func(transfer.Kind, transfer.Sum) {
		if first {
			first = false
			if _, err := m.Enroll(t.Context(), mfa.Caller{Environment: l.env}, mfa.EnrollParams{Type: mfa.GenericOTP}, nil); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("Enroll while the store is copied = %v; want ErrUnavailable", err)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAStoreThatWasCopiedAwayIsNotServedFrom(t *testing.T) {
	s := newSQLite(t)
	if err := transfer.Servable(t.Context(), s); err != nil {
		t.Errorf("new: %v", err)
	}
	if err := s.MarkMoved(t.Context(), "postgres://db"); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Servable(t.Context(), s); err == nil {
		t.Error("marked: it can be served from")
	}
	if err := transfer.Unmark(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := transfer.Servable(t.Context(), s); err != nil {
		t.Errorf("unmarked: %v", err)
	}
}

// unrecorded leaves no event of a copy.
func unrecorded() error { return nil }

// TestACopyLeavesCertificatesBehind copies a store whose nodes obtain certificates. They may still write while the
// copy runs, because the mark stops only requests.
func TestACopyLeavesCertificatesBehind(t *testing.T) {
	from, to := newSQLite(t), newSQLite(t)
	put := func(name string) {
		t.Helper()
		if err := from.PutMeta(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	put("keyset_check")
	put("acme certificate mfa.example.com")
	late := func(kind transfer.Kind, _ transfer.Sum) { put("acme order of " + string(kind)) }
	if err := transfer.Copy(t.Context(), from, to, "elsewhere", func() error { put("acme order mfa.example.com"); return nil }, late); err != nil {
		t.Fatal(err)
	}
	for name, copied := range map[string]bool{"keyset_check": true, "acme certificate mfa.example.com": false, "acme order mfa.example.com": false} {
		if value, err := to.Meta(t.Context(), name); err != nil || (value != nil) != copied {
			t.Errorf("%q in the target: %q, %v; want it to be there: %t", name, value, err, copied)
		}
	}
}
