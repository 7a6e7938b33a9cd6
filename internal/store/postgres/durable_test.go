package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// replicated returns a database whose commits wait for the standby.
func replicated(t *testing.T) (direct string, standby *pgtest.Cluster) {
	t.Helper()
	primary := pgtest.Start(t)
	direct = primary.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	standby = primary.Standby(t, "one")
	primary.Synchronize(t, "one")
	return direct, standby
}

// TestNothingIsAnsweredFromLostCommit partitions the standby, so the commit of a
// verification times out: it is visible only on the primary. No answer to a read or a
// decision may depend on it, because the promoted standby does not have it.
func TestNothingIsAnsweredFromLostCommit(t *testing.T) {
	t.Parallel()
	direct, standby := replicated(t)
	s := openAt(t, direct, postgres.Options{})
	s.Hurry(time.Second, time.Second)
	f := storeFactor(t, s)
	c, err := insertChallenge(t.Context(), s, f)
	if err != nil {
		t.Fatal(err)
	}
	r := readChallenge(c.ID)
	r.Replay = storetest.NewReplay(c.ID.Bucket()).Key
	hash := access.Hash([]byte("sk_test_created_during_the_partition"))
	bounded := func(do func(context.Context) error) func() error {
		return func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return do(ctx)
		}
	}
	reads := []struct {
		name string
		do   func() error
	}{
		{"a decision to write nothing", func() error { return s.Update(t.Context(), r, storetest.Writing()) }},
		{"a decision on a missing row", func() error {
			return s.Update(t.Context(), readFactor(storetest.NewFactor(storetest.NewUser()).ID), storetest.Writing())
		}},
		{"a View", func() error {
			_, err := s.View(t.Context(), readChallenge(c.ID))
			return err
		}},
		{"a View of two kinds of rows", func() error {
			_, err := s.View(t.Context(), r)
			return err
		}},
		{"a list of factors", bounded(func(ctx context.Context) error {
			_, err := s.Factors(ctx, mfa.FactorQuery{User: mfa.UserKey{Environment: f.Environment, ID: f.User}, Limit: 10})
			return err
		})},
		{"a list of events", bounded(func(ctx context.Context) error {
			_, err := s.ReadEvents(ctx, events.Query{Environment: 1, Limit: 10})
			return err
		})},
		{"a key", bounded(func(ctx context.Context) error {
			if _, err := s.KeyByHash(ctx, hash); !errors.Is(err, access.ErrNotFound) {
				return err
			}
			return nil
		})},
	}
	for _, read := range reads {
		if err := read.do(); err != nil {
			t.Errorf("%s while the standby answers = %v", read.name, err)
		}
	}
	standby.Partition(t)

	verified := errors.New("already verified")
	verify := func(s *postgres.Store) error {
		return s.Update(t.Context(), r, func(tx *mfa.Tx) error {
			if !tx.Challenge.VerifiedAt.IsZero() {
				return verified
			}
			tx.Challenge.VerifiedAt = tx.Challenge.CreatedAt
			replay := storetest.NewReplay(r.Bucket)
			replay.Key = r.Replay
			tx.Writes = []mfa.Write{tx.Challenge.Update(), mfa.PutReplay{Replay: replay}, mfa.AppendEvent{Event: storetest.NewEvent(f)}}
			return nil
		})
	}
	if err := verify(s); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("the verification = %v; want %v", err, mfa.ErrUnavailable)
	}
	local := connect(t, with(direct, "synchronous_commit=local"))
	await(func() (visible bool) {
		if err := local.QueryRow(t.Context(), `SELECT verified_at IS NOT NULL FROM challenges WHERE id = $1`, c.ID).Scan(&visible); err != nil {
			t.Fatal(err)
		}
		return visible
	})
	e, err := pgx.CollectExactlyOneRow(must(local.Query(t.Context(), `INSERT INTO environments (name, production, created_at) VALUES ('late', true, now()) RETURNING id`)), pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	exec(t, local, `INSERT INTO api_keys (hash, id, environment, hint, created_at) VALUES ($1, 'late', $2, '', now())`, hash[:], e)

	if err := verify(s); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("the same verification = %v; want %v", err, mfa.ErrUnavailable)
	}
	for _, read := range reads {
		if err := read.do(); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("%s = %v; want %v", read.name, err, mfa.ErrUnavailable)
		}
	}

	standby.Promote(t)
	promoted := openAt(t, onHosts(t, direct, standby), postgres.Options{})
	if err := verify(promoted); err != nil {
		t.Errorf("the verification after the promotion = %v", err)
	}
	if err := verify(promoted); !errors.Is(err, verified) {
		t.Errorf("a second one = %v; want %v", err, verified)
	}
	if _, err := promoted.KeyByHash(t.Context(), hash); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("KeyByHash = %v; want %v", err, access.ErrNotFound)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestCanceledWait repeatedly cancels the wait of a commit for its standby. The server
// reports success for each commit. A store may do so only if the standby receives the
// commit in the end.
func TestCanceledWait(t *testing.T) {
	t.Parallel()
	direct, standby := replicated(t)
	for _, tc := range []struct {
		name   string
		cancel string
		events bool
		heal   bool
	}{
		{"canceled", "pg_cancel_backend", true, false},
		{"canceled, without an event", "pg_cancel_backend", false, false},
		{"terminated", "pg_terminate_backend", true, false},
		{"canceled once, before the standby is back", "pg_cancel_backend", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := openAt(t, direct, postgres.Options{Writers: 1})
			s.Hurry(5*time.Second, 2*time.Second)
			f := storeFactor(t, s)
			prepare(t, s, f)
			holds(t, s, f)
			standby.Partition(t)
			admin := connect(t, with(direct, "synchronous_commit=local"))
			ctx, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			work.Go(func() { // cancels all waits, also the wait of a statement that confirms an event
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for ctx.Err() == nil {
					tag, err := admin.Exec(t.Context(), `SELECT `+tc.cancel+`(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
					if err != nil {
						t.Errorf("cancel: %v", err)
						return
					}
					if tc.heal && tag.RowsAffected() > 0 {
						return
					}
					<-tick.C
				}
			})
			if tc.heal {
				work.Go(func() {
					awaitVisible(t, admin, f)
					standby.Heal(t)
				})
			}
			writes := []mfa.Write{failed(f).Update()}
			if tc.events {
				writes = append(writes, mfa.AppendEvent{Event: storetest.NewEvent(f)})
			}
			err := s.Update(t.Context(), readFactor(f.ID), storetest.Writing(writes...))
			if tc.heal && err != nil {
				t.Errorf("Update = %v; want nil, since the standby has it", err)
			}
			if !tc.heal && !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
			}
			if !tc.heal {
				awaitVisible(t, admin, f)
				if rows, err := s.View(t.Context(), readFactor(f.ID)); !errors.Is(err, mfa.ErrUnavailable) {
					t.Errorf("View = %+v, %v; want %v", rows.Factor, err, mfa.ErrUnavailable)
				}
				if err := s.PutMeta(t.Context(), "name", []byte("value")); !errors.Is(err, mfa.ErrUnavailable) {
					t.Errorf("PutMeta = %v; want %v", err, mfa.ErrUnavailable)
				}
			}
			stop()
			work.Wait()
			if !tc.heal {
				standby.Heal(t)
			}
		})
	}
}

// failed returns f after a failure.
func failed(f *mfa.Factor) *mfa.Factor {
	after := *f
	after.Failures++
	return &after
}

// awaitVisible waits until the failure of a factor is visible.
func awaitVisible(t *testing.T, conn *pgx.Conn, f *mfa.Factor) {
	own, err := pgx.ConnectConfig(t.Context(), conn.Config())
	if err != nil {
		t.Error(err)
		return
	}
	defer own.Close(t.Context())
	await(func() bool {
		var failures int
		if err := own.QueryRow(t.Context(), `SELECT failures FROM factors WHERE id = $1`, f.ID).Scan(&failures); err != nil {
			t.Error(err)
			return true
		}
		return failures > 0
	})
}

// TestStalledStandby sends 1,000 requests while the standby does not answer. All are
// refused within 15 seconds, and the store is not ready until the standby is back.
func TestStalledStandby(t *testing.T) {
	t.Parallel()
	direct, standby := replicated(t)
	s := openAt(t, direct, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	f := storeFactor(t, s)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	standby.Partition(t)
	const bound = 15 * time.Second
	var work sync.WaitGroup
	var slowest atomic.Int64
	answered := func(name string, do func() error) {
		start := time.Now()
		if err := do(); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("%s = %v; want %v", name, err, mfa.ErrUnavailable)
		}
		for took := int64(time.Since(start)); ; {
			if old := slowest.Load(); took <= old || slowest.CompareAndSwap(old, took) {
				return
			}
		}
	}
	for i := range 1000 {
		work.Go(func() {
			switch i % 3 {
			case 0:
				answered("a key", func() error {
					_, err := s.KeyByHash(t.Context(), access.Hash{})
					return err
				})
			case 1:
				answered("a View", func() error {
					_, err := s.View(t.Context(), readFactor(f.ID))
					return err
				})
			default:
				answered("an Update", func() error {
					_, err := insertChallenge(t.Context(), s, f)
					return err
				})
			}
		})
	}
	work.Wait()
	if took := time.Duration(slowest.Load()); took > bound {
		t.Errorf("the last answer took %v; want at most %v", took, bound)
	}
	answered("Ping", func() error { return s.Ping(t.Context()) })
	start := time.Now()
	answered("an Update later", func() error {
		_, err := insertChallenge(t.Context(), s, f)
		return err
	})
	if took := time.Since(start); took > time.Second {
		t.Errorf("a later Update took %v; want a refusal at once", took)
	}
	standby.Heal(t)
	await(func() bool { return s.Ping(t.Context()) == nil })
	holds(t, s, storeFactor(t, s))
}

// TestIdleNodeIsNotReadyWithoutStandby pings a store that has nothing to commit.
func TestIdleNodeIsNotReadyWithoutStandby(t *testing.T) {
	t.Parallel()
	direct, standby := replicated(t)
	s := openAt(t, direct, postgres.Options{})
	s.Hurry(time.Second, time.Second)
	standby.Partition(t)
	if err := s.Ping(t.Context()); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Ping = %v; want %v", err, mfa.ErrUnavailable)
	}
	standby.Heal(t)
	await(func() bool { return s.Ping(t.Context()) == nil })
}

// TestCloseWithHangingServer stops all processes of a server while a store uses it.
func TestCloseWithHangingServer(t *testing.T) {
	t.Parallel()
	own := pgtest.Start(t)
	direct := own.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(t.Context(), direct, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Hurry(2*time.Second, time.Second)
	f := storeFactor(t, s)
	changes := watch(t, s)
	awaitChange(t, s, changes)
	own.Freeze()
	defer own.Thaw()
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if _, err := insertChallenge(t.Context(), s, f); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
			}
		})
		work.Go(func() {
			if _, err := s.View(t.Context(), readFactor(f.ID)); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("View = %v; want %v", err, mfa.ErrUnavailable)
			}
		})
		work.Go(func() { // as a request without a deadline does
			if err := s.Ping(context.Background()); err == nil {
				t.Error("Ping = nil while the server hangs")
			}
		})
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("Close took %v; want about 4s at most", took)
	}
	work.Wait()
}
