package postgres_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestCitusNodesStartTogether distributes the tables from three nodes at the same time, while
// another node serves Updates and Views in groups. No request of that node fails.
func TestCitusNodesStartTogether(t *testing.T) {
	db := pgtest.OnCitus(t)
	if err := postgres.Migrate(t.Context(), db.Coordinator); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, db.Coordinator, postgres.Options{})
	requests := func() {
		t.Helper()
		var work sync.WaitGroup
		for range 64 {
			work.Go(func() {
				f := storetest.NewFactor(storetest.NewUser())
				err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID}, storetest.Writing(mfa.InsertFactor{Factor: f}, mfa.AppendEvent{Event: storetest.NewEvent(f)}))
				if err != nil {
					t.Errorf("Update = %v", err)
				}
				if rows, err := s.View(t.Context(), readFactor(f.ID)); err != nil || rows.Factor == nil {
					t.Errorf("View = %v, %v", rows.Factor, err)
				}
			})
		}
		work.Wait()
	}
	requests()
	var nodes sync.WaitGroup
	for range 3 {
		nodes.Go(func() {
			if err := postgres.Migrate(t.Context(), db.Coordinator); err != nil {
				t.Errorf("Migrate = %v", err)
			}
			if err := postgres.Distribute(t.Context(), db.Coordinator); err != nil {
				t.Errorf("Distribute = %v", err)
			}
		})
	}
	nodes.Wait()
	requests()
	if !s.Single() {
		t.Error("the node has not noticed that the tables are distributed")
	}
	if n := len(storetest.Events(t, s)); n != 128 {
		t.Errorf("there are %d events; want 128", n)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
}

// TestCitusLooksUpCommits makes a worker commit without an answer to the coordinator, and
// makes it refuse a COMMIT. Each Update succeeds, and stores its event once.
func TestCitusLooksUpCommits(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	s.Hurry(20*time.Second, 60*time.Second)
	coordinator := connect(t, db.Coordinator)
	const b = 7
	at := workerOf(t, db, coordinator, b)
	t.Run("refused", func(t *testing.T) {
		worker := connect(t, at)
		var shard string
		if err := coordinator.QueryRow(t.Context(), `SELECT 'events_' || get_shard_id_for_distribution_column('events', $1::smallint)`, b).Scan(&shard); err != nil {
			t.Fatal(err)
		}
		exec(t, worker, `SET citus.enable_manual_changes_to_shards = on`)
		exec(t, worker, `SET citus.override_table_visibility = off`)
		exec(t, worker, `SET citus.enable_ddl_propagation = off`)
		exec(t, worker, `CREATE SEQUENCE tried`)
		exec(t, worker, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('public.tried') < 3 THEN RAISE 'refused' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$`)
		exec(t, worker, `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON `+shard+` DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
		if err := appendTo(t, s, b, mfa.UserLocked); err != nil {
			t.Errorf("Update = %v", err)
		}
		exec(t, worker, `DROP TRIGGER refuse ON `+shard)
		if types, _ := typesAfter(t, s, mfa.EventID{}); fmt.Sprint(types) != fmt.Sprint([]mfa.EventType{mfa.UserLocked}) {
			t.Errorf("the events are %v; want one", types)
		}
	})
	t.Run("not answered", func(t *testing.T) {
		server := pgtest.Attach(t, at)
		worker := connect(t, with(at, "synchronous_commit=local"))
		exec(t, worker, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
		exec(t, worker, `SELECT pg_reload_conf()`)
		done := make(chan error, 1)
		go func() { done <- appendTo(t, s, b, mfa.UserUnlocked) }()
		awaitCount(t, worker, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()`)
		exec(t, worker, `ALTER SYSTEM RESET synchronous_standby_names`) // from the restart on
		server.Kill()
		server.Boot(t)
		if err := <-done; err != nil {
			t.Errorf("Update = %v", err)
		}
		if types, _ := typesAfter(t, s, mfa.EventID{}); len(types) == 0 || types[len(types)-1] != mfa.UserUnlocked || len(types) != 2 {
			t.Errorf("the events are %v; want two", types)
		}
	})
}

// TestCitusLocksAreBounded keeps a row locked. An Update waits for it on the worker no longer
// than it would on one server.
func TestCitusLocksAreBounded(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{})
	f := storeFactor(t, s)
	locker := connect(t, db.Coordinator)
	exec(t, locker, `BEGIN`)
	exec(t, locker, `SELECT FROM factors WHERE bucket = $1 AND id = $2 FOR UPDATE`, int16(f.ID.Bucket()), f.ID)
	start := time.Now()
	if err := s.Update(t.Context(), readFactor(f.ID), storetest.Writing(failed(f).Update())); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the Update took %v; want about 4s", took)
	}
	exec(t, locker, `ROLLBACK`)
	if err := s.Update(t.Context(), readFactor(f.ID), storetest.Writing(failed(f).Update())); err != nil {
		t.Errorf("Update = %v", err)
	}
}

// TestCitusFrozenWorkerStopsOnlyItsBuckets freezes a worker while many requests for its rows
// arrive. Requests for the rows of another worker are answered as before.
func TestCitusFrozenWorkerStopsOnlyItsBuckets(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	coordinator := connect(t, db.Coordinator)
	frozen, other := bucketsOfTwoWorkers(t, coordinator)
	for range 20 { // the connections of the coordinator to the workers are open
		for _, b := range []mfa.Bucket{frozen, other} {
			if err := appendTo(t, s, b, mfa.UserLocked); err != nil {
				t.Fatal(err)
			}
		}
	}
	server := pgtest.Attach(t, workerOf(t, db, coordinator, frozen))
	server.Freeze()
	defer server.Thaw()
	var work sync.WaitGroup
	for range 200 {
		work.Go(func() {
			if err := appendTo(t, s, frozen, mfa.UserLocked); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("Update of the frozen worker = %v; want %v", err, mfa.ErrUnavailable)
			}
		})
	}
	var slowest time.Duration
	n := 0
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); n++ {
		start := time.Now()
		if err := appendTo(t, s, other, mfa.UserUnlocked); err != nil {
			t.Fatalf("Update of another worker = %v", err)
		}
		slowest = max(slowest, time.Since(start))
	}
	if slowest > 2*time.Second {
		t.Errorf("the slowest of %d Updates of another worker took %v", n, slowest)
	}
	t.Logf("%d Updates of another worker, the slowest took %v", n, slowest)
	work.Wait()
	server.Thaw()
	await(func() bool { return appendTo(t, s, frozen, mfa.UserLocked) == nil })
}

// TestCitusKeysChangeWithoutAWorker creates and revokes keys while one worker after another is
// down.
func TestCitusKeysChangeWithoutAWorker(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	e, err := s.InsertEnvironment(t.Context(), mfa.Environment{Name: "after"}, mfa.Event{Type: mfa.EnvironmentCreated, At: time.UnixMilli(0)})
	if err != nil {
		t.Fatal(err)
	}
	for i, url := range db.Workers {
		server := pgtest.Attach(t, url)
		server.Kill()
		id := access.KeyID(fmt.Sprint("key_", i))
		k := access.Key{ID: id, Environment: e, CreatedAt: time.UnixMilli(0)}
		if err := s.InsertKey(t.Context(), k, access.Hash{byte(i + 1)}, mfa.Event{Type: mfa.KeyCreated, At: time.UnixMilli(0)}); err != nil {
			t.Errorf("InsertKey without worker %d = %v", i, err)
		}
		if err := s.RevokeKey(t.Context(), id, mfa.Event{Type: mfa.KeyRevoked, At: time.UnixMilli(1)}); err != nil {
			t.Errorf("RevokeKey without worker %d = %v", i, err)
		}
		server.Boot(t)
	}
	if n := len(storetest.Events(t, s)); n != 1+2*len(db.Workers) {
		t.Errorf("there are %d events; want %d", n, 1+2*len(db.Workers))
	}
}

// TestCitusSweepsShards sweeps a real cluster with few statements and no two-phase commit, also
// while a worker is down: the rows of the other workers are removed.
func TestCitusSweepsShards(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	coordinator := connect(t, db.Coordinator)
	fill := func() {
		t.Helper()
		for range 20 {
			f := storeFactor(t, s)
			if _, err := insertChallenge(t.Context(), s, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	later := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	h := mfa.Horizon{Challenges: later, Events: later, Expired: later}
	pass := func() (steps int, err error) {
		for more := true; more; steps++ {
			if more, err = s.Sweep(t.Context(), h, 1000); err != nil {
				return steps, err
			}
		}
		return steps, nil
	}
	count := func() (n int) {
		t.Helper()
		if err := coordinator.QueryRow(t.Context(), `SELECT count(*) FROM challenges`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	twoPhase := func() (n int) {
		t.Helper()
		if err := coordinator.QueryRow(t.Context(), `SELECT count(*) FROM pg_dist_transaction`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	fill()
	start, before := time.Now(), twoPhase()
	steps, err := pass()
	if err != nil || count() != 0 {
		t.Errorf("the sweep left %d challenges, %v", count(), err)
	}
	if after := twoPhase(); after > before {
		t.Errorf("the sweep has made %d two-phase commits", after-before)
	}
	t.Logf("a pass of %d steps took %v", steps, time.Since(start))
	fill()
	server := pgtest.Attach(t, workerOf(t, db, coordinator, 0))
	server.Kill()
	if _, err := pass(); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Sweep without a worker = %v; want %v", err, mfa.ErrUnavailable)
	}
	server.Boot(t)
	left := count()
	if left == 0 || left == 20 {
		t.Errorf("the sweep without a worker left %d challenges of 20; want those of that worker", left)
	}
	if _, err := pass(); err != nil || count() != 0 {
		t.Errorf("the sweep left %d challenges, %v", count(), err)
	}
}
