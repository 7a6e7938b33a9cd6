package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// lockTable blocks all reads of factors until a call of the returned function.
func lockTable(t *testing.T, url string) (unlock func()) {
	t.Helper()
	conn := connect(t, url)
	exec(t, conn, `BEGIN`)
	exec(t, conn, `LOCK TABLE factors IN ACCESS EXCLUSIVE MODE`)
	return func() { exec(t, conn, `ROLLBACK`) }
}

// TestPoolExhausted makes lists use all connections that they may have, and wait.
func TestPoolExhausted(t *testing.T) {
	direct := migrated(t)
	s := openAt(t, with(direct, "pool_max_conns=4"), postgres.Options{Writers: 1})
	f := storeFactor(t, s)
	unlock := lockTable(t, direct)
	const all = 4 // connections that lists may use
	var work sync.WaitGroup
	for range all {
		work.Go(func() {
			if _, err := s.FactorsAfter(t.Context(), mfa.FactorID{}, 1); err != nil {
				t.Errorf("FactorsAfter = %v", err)
			}
		})
	}
	awaitBlocked(t, direct, all)

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.FactorsAfter(short, mfa.FactorID{}, 1); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("FactorsAfter = %v; want %v", err, mfa.ErrUnavailable)
	}
	for range 4 {
		work.Go(func() {
			if _, err := insertChallenge(t.Context(), s, f); err != nil {
				t.Errorf("Update = %v", err)
			}
		})
		work.Go(func() {
			if _, err := s.View(t.Context(), readFactor(f.ID)); err != nil {
				t.Errorf("View = %v", err)
			}
		})
	}
	unlock()
	work.Wait()
}

// TestViewsTimeOut makes Views, single and grouped, wait longer than their time limit.
func TestViewsTimeOut(t *testing.T) {
	direct := migrated(t)
	f := storeFactor(t, openAt(t, direct, postgres.Options{}))
	s := openAt(t, direct, postgres.Options{})
	s.Hurry(300*time.Millisecond, time.Second)
	unlock := lockTable(t, direct)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if _, err := s.View(t.Context(), readFactor(f.ID)); !errors.Is(err, mfa.ErrUnavailable) {
				t.Errorf("View = %v; want %v", err, mfa.ErrUnavailable)
			}
		})
	}
	work.Wait()
	unlock()
	await(func() bool {
		rows, err := s.View(t.Context(), readFactor(f.ID))
		return err == nil && rows.Factor != nil
	})
}

// TestViewsSurviveLostSessions ends the sessions of the pool, as a restart of the
// server does.
func TestViewsSurviveLostSessions(t *testing.T) {
	direct := migrated(t)
	s := openAt(t, direct, postgres.Options{})
	f := storeFactor(t, s)
	holds(t, s, f)
	exec(t, connect(t, direct), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	holds(t, s, f)
}

// TestOutageIsFoundOutOnce makes more Updates wait than fit into a group while the server
// does not answer. The Updates after the first group do not start.
func TestOutageIsFoundOutOnce(t *testing.T) {
	s, p := openProxied(t, migrated(t), postgres.Options{Writers: 1, Group: 2})
	f := storeFactor(t, s)
	prepare(t, s, f)
	s.Hurry(500*time.Millisecond, time.Second)
	var begun atomic.Int64
	errs := grouped(s, 8, func() { p.at(readsArrived, stall, stall) }, func(int) error {
		return s.Update(t.Context(), readFactor(f.ID), func(*mfa.Tx) error {
			begun.Add(1)
			return nil
		})
	})
	for i, err := range errs {
		if !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Update %d = %v; want %v", i, err, mfa.ErrUnavailable)
		}
	}
	if n := begun.Load(); n != 0 {
		t.Errorf("%d were begun", n)
	}
	holds(t, s, f, storeFactor(t, s))
}

// TestUnreadableRow makes a row unreadable. Requests for it receive an error that does not
// count as an outage, and other requests of the same group receive their rows.
func TestUnreadableRow(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{Writers: 1})
	f, free := storeFactor(t, s), storeFactor(t, s)
	bad, err := insertChallenge(t.Context(), s, f)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, connect(t, url), `UPDATE challenges SET messages = '\x99' WHERE id = $1`, bad.ID)
	broken := func(what string, err error) {
		if err == nil || errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("%s of the row = %v; want an error that is no outage", what, err)
		}
	}
	var work sync.WaitGroup
	for i := range 64 {
		work.Go(func() {
			if i%8 == 0 {
				_, err := s.View(t.Context(), readChallenge(bad.ID))
				broken("View", err)
				return
			}
			if rows, err := s.View(t.Context(), readFactor(free.ID)); err != nil || rows.Factor == nil {
				t.Errorf("View = %+v, %v", rows.Factor, err)
			}
		})
	}
	work.Wait()
	reads := []mfa.Read{readChallenge(bad.ID), readFactor(free.ID)}
	errs := grouped(s, 2, func() {}, func(i int) error {
		return s.Update(t.Context(), reads[i], func(*mfa.Tx) error { return nil })
	})
	broken("Update", errs[0])
	if errs[1] != nil {
		t.Errorf("Update = %v", errs[1])
	}
}

func TestStatementTimeout(t *testing.T) {
	direct := migrated(t)
	s := openAt(t, with(direct, "statement_timeout=300"), postgres.Options{})
	f := storeFactor(t, s)
	unlock := lockTable(t, direct)
	if _, err := insertChallenge(t.Context(), s, f); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
	}
	if _, err := s.View(t.Context(), readFactor(f.ID)); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("View = %v; want %v", err, mfa.ErrUnavailable)
	}
	unlock()
	holds(t, s, f, storeFactor(t, s))
}

// TestReadOnlyDatabase makes a database read-only by default and then writable again. The
// store has connections from both periods.
func TestReadOnlyDatabase(t *testing.T) {
	direct := migrated(t)
	admin := connect(t, direct)
	database := admin.Config().Database
	exec(t, admin, `ALTER DATABASE `+database+` SET default_transaction_read_only = on`)
	s := openAt(t, direct, postgres.Options{})
	refusesWrites(t, s)
	exec(t, admin, `ALTER DATABASE `+database+` RESET default_transaction_read_only`)
	takesWrites(t, s)
}

func refusesWrites(t *testing.T, s *postgres.Store) {
	t.Helper()
	f := storetest.NewFactor(storetest.NewUser())
	for _, r := range []mfa.Read{{Bucket: f.ID.Bucket()}, readFactor(f.ID)} {
		if err := s.Update(t.Context(), r, storetest.Writing(mfa.InsertFactor{Factor: f})); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
		}
	}
	if err := s.Ping(t.Context()); !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Ping = %v; want %v", err, mfa.ErrUnavailable)
	}
}

func takesWrites(t *testing.T, s *postgres.Store) {
	t.Helper()
	holds(t, s, storeFactor(t, s))
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
}

// TestRestart stops a server and starts it again while a store is open.
func TestRestart(t *testing.T) {
	own := pgtest.Start(t)
	direct := own.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, direct, postgres.Options{})
	f := storeFactor(t, s)
	changes := watch(t, s)
	awaitChange(t, openAt(t, direct, postgres.Options{}), changes)
	for _, end := range []func(){own.Stop, own.Kill} {
		end()
		if _, err := insertChallenge(t.Context(), s, f); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
		}
		if _, err := s.View(t.Context(), readFactor(f.ID)); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("View = %v; want %v", err, mfa.ErrUnavailable)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Ping = %v; want %v", err, mfa.ErrUnavailable)
		}
		if err := own.Boot(); err != nil {
			t.Fatal(err)
		}
		takesWrites(t, s)
		holds(t, s, f)
	}
	awaitChange(t, s, changes)
}

// watch returns a channel that receives a value when a key is revoked.
func watch(t *testing.T, s *postgres.Store) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 1)
	var work sync.WaitGroup
	work.Go(func() {
		s.WatchKeys(ctx, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return changes
}

// awaitChange revokes keys until changes receives a value. It repeats this because the
// watching store may not be connected yet.
func awaitChange(t *testing.T, s *postgres.Store, changes <-chan struct{}) {
	t.Helper()
	id := mfa.EventID(storetest.NewEvent(&mfa.Factor{}).ID).String()
	e, err := s.InsertEnvironment(t.Context(), mfa.Environment{Name: id}, mfa.Event{Type: mfa.EnvironmentCreated, At: time.UnixMilli(0)})
	if err != nil {
		t.Fatal(err)
	}
	k := access.Key{ID: access.KeyID(id), Environment: e, CreatedAt: time.UnixMilli(0)}
	if err := s.InsertKey(t.Context(), k, access.Hash([]byte(id+"......")), mfa.Event{Type: mfa.KeyCreated, At: time.UnixMilli(0)}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if err := s.RevokeKey(t.Context(), k.ID, mfa.Event{Type: mfa.KeyRevoked, At: time.UnixMilli(0)}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changes:
			return
		case <-tick.C:
		case <-deadline:
			t.Fatal("the revoked key was not heard of")
		}
	}
}

// TestRevocationIsHeard revokes a key on one node while another node watches.
func TestRevocationIsHeard(t *testing.T) {
	direct := migrated(t)
	watching, revoking := openAt(t, direct, postgres.Options{}), openAt(t, direct, postgres.Options{})
	awaitChange(t, revoking, watch(t, watching))
}

// TestStandby opens a store on a standby, which is then promoted.
func TestStandby(t *testing.T) {
	primary := pgtest.Start(t)
	direct := primary.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	f := storeFactor(t, openAt(t, direct, postgres.Options{}))
	standby := primary.Standby(t, "one")

	s := openAt(t, onHosts(t, direct, standby), postgres.Options{})
	awaitRow(t, s, f)
	refusesWrites(t, s)
	standby.Promote(t)
	takesWrites(t, s)
}

// awaitRow waits until a standby has a factor.
func awaitRow(t *testing.T, s *postgres.Store, f *mfa.Factor) {
	t.Helper()
	await(func() bool { return view(t, s, readFactor(f.ID)).Factor != nil })
}

// onHosts returns a URL of the same database on other servers. If there are several,
// the URL requires the one that accepts writes.
func onHosts(t *testing.T, direct string, clusters ...*pgtest.Cluster) string {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = ""
	for i, c := range clusters {
		other, err := url.Parse(c.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			u.Host += ","
		}
		u.Host += other.Host
	}
	if len(clusters) > 1 {
		return with(u.String(), "target_session_attrs=read-write")
	}
	return u.String()
}

// TestFailover kills a primary under load and promotes its synchronous standby. All rows
// that were reported as stored exist, and stores recover without help.
func TestFailover(t *testing.T) {
	primary := pgtest.Start(t)
	direct := primary.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	standby := primary.Standby(t, "one")
	primary.Synchronize(t, "one")
	both := onHosts(t, direct, standby, primary) // the standby comes first, and the driver skips it
	nodes := []*postgres.Store{openAt(t, both, postgres.Options{}), openAt(t, both, postgres.Options{})}
	f := storeFactor(t, nodes[0])

	const callers, rounds = 4, 25 // callers of each node; rounds after the failover
	stored := make([][]mfa.ChallengeID, len(nodes)*callers)
	running, killed := make(chan struct{}, len(stored)*rounds), make(chan struct{})
	var work sync.WaitGroup
	for i := range stored {
		work.Go(func() {
			for left := rounds; left > 0; {
				dead := false
				select {
				case <-killed:
					dead = true
				default:
				}
				c, err := insertChallenge(context.Background(), nodes[i%len(nodes)], f)
				switch {
				case err != nil && !errors.Is(err, mfa.ErrUnavailable):
					t.Errorf("Update = %v", err)
					return
				case err != nil:
					continue
				}
				stored[i] = append(stored[i], c.ID)
				if dead {
					left--
				} else {
					running <- struct{}{}
				}
			}
		})
	}
	for range len(stored) * 10 {
		<-running
	}
	go func() { // further warnings before the end
		for range running {
		}
	}()
	primary.Kill()
	close(killed)
	start := time.Now()
	standby.Promote(t)
	promoted := time.Since(start)
	work.Wait()
	t.Logf("the standby was promoted within %v, the last Update was stored %v later", promoted, time.Since(start)-promoted)
	close(running)
	for _, ids := range stored {
		for _, id := range ids {
			if view(t, nodes[0], readChallenge(id)).Challenge == nil {
				t.Errorf("%s was reported as stored and is lost", id)
			}
		}
	}
}

// TestUnreplicatedCommit makes a COMMIT wait for a standby that does not answer until the
// store gives up. The row is then visible on the primary but not safe. The store must not
// report success because the row is visible.
func TestUnreplicatedCommit(t *testing.T) {
	own := pgtest.Start(t)
	direct := own.Database(t)
	if err := postgres.Migrate(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	f := storeFactor(t, openAt(t, direct, postgres.Options{}))
	s := openAt(t, direct, postgres.Options{})
	s.Hurry(time.Second, time.Second)
	own.Exec(t, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	own.Exec(t, `SELECT pg_reload_conf()`)
	released := awaitWaiting(t, direct)
	c, err := insertChallenge(t.Context(), s, f)
	if !errors.Is(err, mfa.ErrUnavailable) {
		t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
	}
	// The statements that look at the row and configure the server must not wait for the
	// standby.
	admin := connect(t, with(direct, "synchronous_commit=local"))
	await(func() (visible bool) {
		if err := admin.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM challenges WHERE id = $1)`, c.ID).Scan(&visible); err != nil {
			t.Fatal(err)
		}
		return visible
	})
	exec(t, admin, `ALTER SYSTEM RESET synchronous_standby_names`)
	exec(t, admin, `SELECT pg_reload_conf()`)
	<-released
	takesWrites(t, s)
}

// awaitWaiting commits until a commit waits for a standby. It returns a channel that is
// closed when that commit no longer waits.
func awaitWaiting(t *testing.T, direct string) <-chan struct{} {
	t.Helper()
	committing, watching := connect(t, direct), connect(t, direct)
	stop, released := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(released)
		for {
			if _, err := committing.Exec(t.Context(), `UPDATE schema_versions SET name = name`); err != nil {
				t.Errorf("commit: %v", err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	await(func() (waiting bool) {
		err := watching.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		return waiting
	})
	close(stop)
	return released
}
