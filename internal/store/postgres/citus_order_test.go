package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// onCitus returns a new database of a Citus cluster with distributed tables.
func onCitus(t testing.TB) *pgtest.CitusDatabase {
	t.Helper()
	db := pgtest.OnCitus(t)
	if err := postgres.Migrate(t.Context(), db.Coordinator); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Distribute(t.Context(), db.Coordinator); err != nil {
		t.Fatal(err)
	}
	return db
}

// appendTo appends an event of environment 1 to a bucket and returns its type.
func appendTo(t *testing.T, s *postgres.Store, b mfa.Bucket, kind mfa.EventType) error {
	e := mfa.Event{Environment: 1, Type: kind, At: time.Now().Truncate(time.Millisecond)}
	e.ID[15], e.ID[14] = byte(b), byte(b>>8)
	return s.Update(t.Context(), mfa.Read{Bucket: b}, storetest.Writing(mfa.AppendEvent{Event: e}))
}

// typesAfter returns the types of the events of environment 1 after an id, and the last id.
func typesAfter(t *testing.T, s *postgres.Store, after mfa.EventID) (types []mfa.EventType, last mfa.EventID) {
	t.Helper()
	page, err := s.ReadEvents(t.Context(), events.Query{Environment: 1, After: after, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		types = append(types, e.Type)
	}
	return types, page.Last
}

// seesBoth checks that a reader that has waited for a late commit sees both events in order.
func seesBoth(t *testing.T, s *postgres.Store) {
	t.Helper()
	var types []mfa.EventType
	await(func() bool {
		types, _ = typesAfter(t, s, mfa.EventID{})
		return len(types) > 0
	})
	if want := []mfa.EventType{mfa.UserLocked, mfa.UserUnlocked}; fmt.Sprint(types) != fmt.Sprint(want) {
		t.Errorf("the reader saw %v; want %v", types, want)
	}
}

// TestReadersWaitForCommitsOfWorkers appends an event with the epoch of a transaction that is
// not on the coordinator any more, but not committed on the machine of the rows, as after a
// failure of the coordinator. The transaction is in progress or prepared.
func TestReadersWaitForCommitsOfWorkers(t *testing.T) {
	own := pgtest.Start(t, "max_prepared_transactions = 4")
	for name, pause := range map[string][2]string{
		"in progress": {`SELECT 1`, `COMMIT`},
		"prepared":    {`PREPARE TRANSACTION 'late'`, `COMMIT PREPARED 'late'`},
	} {
		t.Run(name, func(t *testing.T) {
			url := own.Database(t)
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			pgtest.Citus(t, connect(t, url))
			if err := postgres.Distribute(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, url, postgres.Options{})
			late, coordinator := connect(t, url), connect(t, url)
			var p mfa.Position
			if err := coordinator.QueryRow(t.Context(), `SELECT epoch, n FROM event_position()`).Scan(&p.Epoch, &p.Counter); err != nil {
				t.Fatal(err)
			}
			exec(t, late, `BEGIN`)
			exec(t, late, `INSERT INTO events (bucket, id, environment, type, at) VALUES (7, $1, 1, $2, now()) RETURNING event_hold(id)`, p.ID(7), mfa.UserLocked)
			exec(t, late, pause[0])
			t.Cleanup(func() { // the database cannot be removed before
				if _, err := late.Exec(context.Background(), `ROLLBACK PREPARED 'late'`); err == nil {
					t.Error("the transaction was still prepared")
				}
			})
			if err := appendTo(t, s, 8, mfa.UserUnlocked); err != nil {
				t.Fatal(err)
			}
			if types, last := typesAfter(t, s, mfa.EventID{}); len(types) > 0 || last != (mfa.EventID{}) {
				t.Errorf("the reader passed an event that was not committed, and saw %v", types)
			}
			// The locks of the coordinator would not have stopped it.
			var watermark int64
			if err := coordinator.QueryRow(t.Context(), `SELECT event_watermark()`).Scan(&watermark); err != nil || watermark <= p.Epoch {
				t.Errorf("the watermark of the coordinator is %d, %v; want more than %d", watermark, err, p.Epoch)
			}
			exec(t, late, pause[1])
			seesBoth(t, s)
			exec(t, coordinator, `UPDATE pg_dist_placement SET groupid = 3 WHERE shardid = 101`)
			seesBoth(t, s) // after a shard has moved
		})
	}
}

// TestReadersIgnoreLaterEpochs holds an epoch after that of a reader: it does not count.
func TestReadersIgnoreLaterEpochs(t *testing.T) {
	conn := connect(t, migrated(t))
	held := func(before int64) (yes bool) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), `SELECT event_held($1)`, before).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	exec(t, conn, `BEGIN`)
	const epoch = 1790000000000
	exec(t, conn, `SELECT event_hold($1)`, mfa.Position{Epoch: epoch, Counter: 7}.ID(1023))
	for _, tc := range []struct {
		before int64
		want   bool
	}{{epoch - 1, false}, {epoch, false}, {epoch + 1, true}, {epoch + 100_000, true}, {epoch - 100_000, false}} {
		if got := held(tc.before); got != tc.want {
			t.Errorf("held(epoch + %d) = %v; want %v", tc.before-epoch, got, tc.want)
		}
	}
	exec(t, conn, `COMMIT`)
	if held(epoch + 1) {
		t.Error("an epoch is held after its transaction has ended")
	}
}

// TestCitusReadersWaitForAWorker makes a worker of a real cluster hold a commit: it waits for
// a standby. The coordinator's transaction ends before, as when the coordinator fails. A
// reader must not pass the event.
func TestCitusReadersWaitForAWorker(t *testing.T) {
	db := onCitus(t)
	s := openAt(t, db.Coordinator, postgres.Options{Logger: slog.New(slog.DiscardHandler)})
	s.Hurry(3*time.Second, time.Second)
	coordinator := connect(t, db.Coordinator)
	server := pgtest.Attach(t, db.Coordinator)
	late, other := bucketsOfTwoWorkers(t, coordinator)
	worker := connect(t, with(workerOf(t, db, coordinator, late), "synchronous_commit=local"))
	exec(t, worker, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	restore := sync.OnceFunc(func() {
		exec(t, worker, `ALTER SYSTEM RESET synchronous_standby_names`)
		exec(t, worker, `SELECT pg_reload_conf()`)
	})
	defer restore()
	exec(t, worker, `SELECT pg_reload_conf()`)
	done := make(chan error, 1)
	go func() { done <- appendTo(t, s, late, mfa.UserLocked) }()
	awaitCount(t, worker, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()`)
	server.Kill()
	server.Boot(t)
	for err := errors.New("not yet"); err != nil; {
		if err = appendTo(t, s, other, mfa.UserUnlocked); err != nil && !errors.Is(err, mfa.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	types, last := typesAfter(t, s, mfa.EventID{})
	if len(types) > 0 || last != (mfa.EventID{}) {
		t.Errorf("the reader passed an event that was not committed, and saw %v", types)
	}
	restore()
	seesBoth(t, s)
	if err := <-done; err != nil {
		t.Logf("the late Update = %v", err)
	}
}

// awaitCount waits until a count is not zero.
func awaitCount(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	await(func() bool {
		var n int
		if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
}

const workerOfBucket = `SELECT n.nodename || ':' || n.nodeport FROM pg_dist_shard_placement n WHERE n.shardid = get_shard_id_for_distribution_column('events', $1::smallint)`

// bucketsOfTwoWorkers returns buckets that are stored on different workers.
func bucketsOfTwoWorkers(t testing.TB, coordinator *pgx.Conn) (a, b mfa.Bucket) {
	t.Helper()
	first := ""
	for b := range mfa.Bucket(mfa.Buckets) {
		var at string
		if err := coordinator.QueryRow(t.Context(), workerOfBucket, int16(b)).Scan(&at); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = at
		}
		if at != first {
			return 0, b
		}
	}
	t.Skip("the Citus cluster has only one worker")
	return 0, 0
}

// workerOf returns the URL of the worker that stores a bucket.
func workerOf(t testing.TB, db *pgtest.CitusDatabase, coordinator *pgx.Conn, b mfa.Bucket) string {
	t.Helper()
	var at string
	if err := coordinator.QueryRow(t.Context(), workerOfBucket, int16(b)).Scan(&at); err != nil {
		t.Fatal(err)
	}
	for _, url := range db.Workers {
		if cfg, err := pgx.ParseConfig(url); err == nil && fmt.Sprintf("%s:%d", cfg.Host, cfg.Port) == at {
			return url
		}
	}
	t.Fatalf("no worker %s", at)
	return ""
}

// TestCitusSignIn: the tables of sign-in have a copy on every machine, and a change writes an
// event of a distributed table as well.
func TestCitusSignIn(t *testing.T) {
	db := onCitus(t)
	storetest.RunSignIn(t, func(t *testing.T) signin.Store { return openEmpty(t, db.Coordinator, postgres.Options{}) })
}
