package stats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.RemoveShared()
	os.Exit(code)
}

type store interface {
	mfa.Store
	access.Store
	events.Log
	stats.Store
	io.Closer
}

// A fixture is a server's service and counters on one store, with a clock that tests set.
type fixture struct {
	*mfa.Service
	t       *testing.T
	store   store
	reopen  func() store // opens the same store again, as another node would
	clock   *mfatest.Clock
	carrier *mfatest.Carrier
	live    mfa.Caller // production
	sandbox mfa.Caller
	sent    int
}

var stores = []struct {
	name string
	open func(t *testing.T) func() store
}{
	{"sqlite", func(t *testing.T) func() store {
		path := sqlitetest.Path(t)
		return func() store {
			s, err := sqlite.Open(path, nil)
			return opened(t, s, err)
		}
	}},
	{"postgres", func(t *testing.T) func() store {
		url := pgtest.Shared(t).Copy(t, postgres.Migrate)
		return func() store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			return opened(t, s, err)
		}
	}},
}

func opened[S store](t *testing.T, s S, err error) store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// onEachStore runs a test on an empty store of each kind.
func onEachStore(t *testing.T, test func(*testing.T, *fixture)) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := &fixture{t: t, reopen: s.open(t), clock: mfatest.NewClock(mfatest.Start)}
			w.store = w.reopen()
			w.carrier = &mfatest.Carrier{Accept: func(delivery.Message) delivery.Accepted {
				w.sent++
				return delivery.Accepted{Provider: "acme", ID: fmt.Sprint(w.sent)}
			}}
			keys, err := secret.NewKeyset()
			if err != nil {
				t.Fatal(err)
			}
			often := mfa.Limits{SendSpacing: time.Millisecond, Sends: []delivery.Window{{Count: 1, Span: time.Millisecond}}}
			w.Service, err = mfa.NewService(w.store, keys, w.carrier, mfa.Options{
				Now: w.clock.Now, Limits: often, RecoveryIterations: 2, Sandbox: w.carrier, Logger: slog.New(slog.DiscardHandler),
				SMS: delivery.Rules{Countries: []string{"US", "DE"}, Daily: 1e6, Abroad: 1e6, Pumping: delivery.Pumping{Sends: 1e6}},
			})
			if err != nil {
				t.Fatal(err)
			}
			a := access.NewService(w.store, w.clock.Now)
			for _, env := range []struct {
				name string
				to   *mfa.Caller
			}{{"live", &w.live}, {"test", &w.sandbox}} {
				e, err := a.CreateEnvironment(t.Context(), mfa.Caller{Operator: "ada"}, env.name, env.name == "live")
				if err != nil {
					t.Fatal(err)
				}
				*env.to = mfa.Caller{Environment: e, Key: "key_" + env.name}
			}
			test(t, w)
		})
	}
}

func (w *fixture) environments(context.Context) ([]mfa.EnvironmentID, error) {
	return []mfa.EnvironmentID{w.live.ID, w.sandbox.ID}, nil
}

// counter returns a counter on a store. It has small pages.
func (w *fixture) counter(s store) *stats.Counter {
	w.t.Helper()
	c, err := stats.NewCounter(s, s, stats.Options{
		Environments: w.environments, Now: w.clock.Now, Page: 7, Poll: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// countAll counts all events. No other node has a lease by then.
func (w *fixture) countAll(c *stats.Counter) {
	w.t.Helper()
	w.clock.Advance(time.Minute)
	for _, env := range []mfa.EnvironmentID{w.live.ID, w.sandbox.ID} {
		for more := true; more; {
			var err error
			if _, more, err = c.Step(w.t.Context(), env); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// rows returns the numbers of all rows of a series, by hour and group.
func (w *fixture) rows(env mfa.EnvironmentID, series stats.Series) map[string][6]int64 {
	w.t.Helper()
	rows, err := w.store.Statistics(w.t.Context(), env, series, time.Time{}, w.clock.Now().Add(time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string][6]int64{}
	for _, r := range rows {
		decoded, err := stats.Decoded(r)
		if err != nil {
			w.t.Fatal(err)
		}
		for group, n := range decoded {
			all[r.Start.Format("02 15h ")+group] = n
		}
	}
	return all
}

func (w *fixture) enroll(by mfa.Caller, user string, typ mfa.FactorType, phone string) mfa.FactorID {
	w.t.Helper()
	f, err := w.Enroll(w.t.Context(), by, mfa.EnrollParams{Type: typ, User: user, PhoneNumber: phone}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return f.ID
}

// challenge creates a challenge. ok is false if its message could not be sent.
func (w *fixture) challenge(by mfa.Caller, id mfa.FactorID) (c mfa.IssuedChallenge, ok bool) {
	w.t.Helper()
	c, err := w.Challenge(w.t.Context(), by, id, mfa.ChallengeParams{}, nil)
	if err != nil && !errors.Is(err, delivery.ErrNotDelivered) && !errors.Is(err, mfa.ErrTooManyAttempts) {
		w.t.Fatal(err)
	}
	return c, err == nil
}
