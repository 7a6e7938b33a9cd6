package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// connect opens a connection that does not belong to a store.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

func exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// with adds a parameter to a URL.
func with(url, parameter string) string { return url + "&" + parameter }

// isolated sets the isolation level of transactions in the sessions of a URL.
func isolated(url, isolation string) string {
	return with(url, "default_transaction_isolation="+strings.ReplaceAll(isolation, " ", "%20"))
}

// awaitBlocked waits until n transactions of the database wait for a lock.
func awaitBlocked(t testing.TB, url string, n int) {
	t.Helper()
	conn := connect(t, url)
	await(func() bool {
		var blocked int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
		return blocked >= n
	})
}

// TestNodesRace makes two nodes insert the same rows, after both have looked for them
// without finding them, and change them. The counts in the rows must be exact.
func TestNodesRace(t *testing.T) {
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			url := isolated(migrated(t), isolation)
			nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
			const callers, rounds = 8, 6 // callers of each node
			var reads [rounds]mfa.Read
			for i := range reads {
				u := storetest.NewUser()
				r := storetest.NewReplay(u.Bucket())
				reads[i] = mfa.Read{Bucket: u.Bucket(), User: u, Phone: r.Fingerprint, Message: r.Fingerprint, Replay: r.Key}
				for range 3 {
					reads[i].Counters = append(reads[i].Counters, storetest.NewTally(u.Bucket()).CounterKey)
				}
			}
			var work sync.WaitGroup
			for i := range len(nodes) * callers {
				work.Go(func() {
					for round := range rounds {
						r := reads[(round+i%2)%rounds]
						r.Counters = slices.Concat(r.Counters[i%3:], r.Counters[:i%3])
						if err := nodes[i%len(nodes)].Update(t.Context(), r, count(r, i)); err != nil {
							t.Errorf("Update = %v", err)
						}
					}
				})
			}
			work.Wait()
			const want = 2 * callers
			for _, r := range reads {
				rows := view(t, nodes[0], r)
				if u, p, r := rows.User.Failures, len(rows.Phone.Sends), len(rows.Replay.Sealed); u != want || p != want || r != want {
					t.Errorf("counted %d, %d and %d; want %d", u, p, r, want)
				}
				for _, y := range rows.Counters {
					if got := y.Counts[0].Sent; got != want {
						t.Errorf("a tally counts %d; want %d", got, want)
					}
				}
				if got := rows.Message.Number; got != want {
					t.Errorf("a message counts %d; want %d", got, want)
				}
			}
		})
	}
}

// TestNodesRaceForOneRow does the same with rows that the lock of another row does not
// protect.
func TestNodesRaceForOneRow(t *testing.T) {
	url := migrated(t)
	nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
	const b, rounds, callers = 7, 8, 16
	race := func(t *testing.T, r mfa.Read, fn func(*mfa.Tx) error) {
		var work sync.WaitGroup
		for i := range callers {
			work.Go(func() {
				if err := nodes[i%len(nodes)].Update(t.Context(), r, fn); err != nil {
					t.Errorf("Update = %v", err)
				}
			})
		}
		work.Wait()
	}
	t.Run("a tally", func(t *testing.T) {
		for range rounds {
			key := storetest.NewTally(b).CounterKey
			r := mfa.Read{Bucket: b, Counters: []delivery.CounterKey{key}}
			race(t, r, func(tx *mfa.Tx) error {
				y := tx.Counters[0]
				if y == nil {
					y = &delivery.Counter{CounterKey: key, Counts: []delivery.Count{{}}, ExpiresAt: time.UnixMilli(0)}
				}
				y.Counts[0].Sent++
				tx.Writes = []mfa.Write{mfa.PutCounter{Counter: y}}
				return nil
			})
			if got := view(t, nodes[0], r).Counters[0].Counts[0].Sent; got != callers {
				t.Errorf("counted %d; want %d", got, callers)
			}
		}
	})
	t.Run("a message reference", func(t *testing.T) {
		for range rounds {
			m := storetest.NewMessage(b)
			r := mfa.Read{Bucket: b, Message: m.Key}
			race(t, r, func(tx *mfa.Tx) error {
				if tx.Message == nil {
					tx.Message = &delivery.MessageRef{Bucket: b, Key: m.Key, ExpiresAt: m.ExpiresAt}
				}
				tx.Message.Number++
				tx.Writes = []mfa.Write{mfa.PutMessage{MessageRef: tx.Message}}
				return nil
			})
			if got := view(t, nodes[0], r).Message.Number; got != callers {
				t.Errorf("counted %d; want %d", got, callers)
			}
		}
	})
}

// TestNodesCountForOneUser makes two nodes count failures of one user over several
// factors and their challenges. Their locks do not protect the user's row. A node
// knows the factors of the challenges that it has created.
func TestNodesCountForOneUser(t *testing.T) {
	url := migrated(t)
	nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
	for _, name := range []string{"new", "known"} {
		t.Run(name, func(t *testing.T) {
			user := storetest.NewUser()
			want := 0
			var reads []mfa.Read
			for i := range 4 {
				f := storetest.NewFactor(user)
				c := storetest.NewChallenge(f)
				err := nodes[i%2].Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()},
					storetest.Writing(mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c}))
				if err != nil {
					t.Fatal(err)
				}
				reads = append(reads, mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID}, mfa.Read{Bucket: f.ID.Bucket(), Challenge: c.ID})
			}
			if name == "known" {
				want++
				r := mfa.Read{Bucket: user.Bucket(), User: user}
				if err := nodes[0].Update(t.Context(), r, storetest.Writing(mfa.PutUser{User: &mfa.User{UserKey: user, Failures: 1}})); err != nil {
					t.Fatal(err)
				}
			}
			var work sync.WaitGroup
			for i := range 64 {
				want++
				work.Go(func() {
					err := nodes[i%2].Update(t.Context(), reads[i%len(reads)], func(tx *mfa.Tx) error {
						if tx.Factor == nil {
							return errors.New("the factor is not there")
						}
						if tx.User == nil {
							tx.User = &mfa.User{UserKey: user}
						}
						tx.User.Failures++
						tx.Writes = []mfa.Write{mfa.PutUser{User: tx.User}}
						return nil
					})
					if err != nil {
						t.Errorf("Update = %v", err)
					}
				})
			}
			work.Wait()
			if got := view(t, nodes[0], reads[0]).User.Failures; got != want {
				t.Errorf("counted %d; want %d", got, want)
			}
		})
	}
}

// count adds one in a user, a phone limit, a replay record, a message and tallies.
// The order of its reads and writes depends on i.
func count(r mfa.Read, i int) func(*mfa.Tx) error {
	return func(tx *mfa.Tx) error {
		if tx.User == nil {
			tx.User = &mfa.User{UserKey: r.User}
			tx.Phone = &delivery.PhoneLimit{Bucket: r.Bucket, Key: r.Phone, ExpiresAt: time.UnixMilli(0)}
			tx.Replay = &mfa.Replay{Bucket: r.Bucket, Record: idempotency.Record{Key: r.Replay, ExpiresAt: time.UnixMilli(0)}}
			tx.Message = &delivery.MessageRef{Bucket: r.Bucket, Key: r.Message, ExpiresAt: time.UnixMilli(0)}
			for n, key := range r.Counters {
				tx.Counters[n] = &delivery.Counter{CounterKey: key, Counts: []delivery.Count{{}}, ExpiresAt: time.UnixMilli(0)}
			}
		}
		tx.User.Failures++
		tx.Phone.Sends = append(tx.Phone.Sends, delivery.Send{At: time.UnixMilli(0)})
		tx.Replay.Sealed = append(tx.Replay.Sealed, 'x')
		tx.Writes = []mfa.Write{mfa.PutUser{User: tx.User}, mfa.PutPhone{PhoneLimit: tx.Phone}, mfa.PutReplay{Replay: tx.Replay}}
		tx.Message.Number++
		tx.Writes = append(tx.Writes, mfa.PutMessage{MessageRef: tx.Message})
		for _, y := range tx.Counters {
			y.Counts[0].Sent++
			tx.Writes = append(tx.Writes, mfa.PutCounter{Counter: y})
		}
		if i%2 == 0 {
			slices.Reverse(tx.Writes)
		}
		return nil
	}
}

// TestNodesCross makes two nodes decide on the same rows in opposite orders.
func TestNodesCross(t *testing.T) {
	url := migrated(t)
	nodes := []*postgres.Store{openAt(t, url, postgres.Options{Writers: 1}), openAt(t, url, postgres.Options{Writers: 1})}
	var factors [8]*mfa.Factor
	for i := range factors {
		factors[i] = storeFactor(t, nodes[0])
	}
	const callers, rounds = 32, 4
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			for round := range rounds * len(factors) {
				f := factors[(i+round)%len(factors)]
				if i%2 == 1 {
					f = factors[(i+len(factors)*rounds-round)%len(factors)]
				}
				err := nodes[i%2].Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
					tx.Factor.Failures++
					tx.Writes = []mfa.Write{tx.Factor.Update()}
					return nil
				})
				if err != nil {
					t.Errorf("Update = %v", err)
				}
			}
		})
	}
	work.Wait()
	for _, f := range factors {
		if got := view(t, nodes[0], readFactor(f.ID)).Factor.Failures; got != callers*rounds {
			t.Errorf("counted %d; want %d", got, callers*rounds)
		}
	}
}

// TestGroupsLockInOneOrder checks the locks of a group while it waits for the tally in
// the middle. The group has locked all phones and the tally before it, but not the tally
// after it. The order of the Updates, and of the rows in them, does not matter.
func TestGroupsLockInOneOrder(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{Writers: 1})
	s.Patience(4 * time.Second)
	const b = 7
	var tallies []*delivery.Counter
	var phones []*delivery.PhoneLimit
	for i := range 3 {
		tallies = append(tallies, storetest.NewTally(b))
		tallies[i].Name = string(rune('a' + i))
		phones = append(phones, &delivery.PhoneLimit{Bucket: b, Key: delivery.PhoneKey{31: byte(1 + i)}, ExpiresAt: time.UnixMilli(0)})
		if err := s.Update(t.Context(), mfa.Read{Bucket: b}, storetest.Writing(
			mfa.PutCounter{Counter: tallies[i]}, mfa.PutPhone{PhoneLimit: phones[i]})); err != nil {
			t.Fatal(err)
		}
	}
	const lockTally = `SELECT name FROM tallies WHERE bucket = $1 AND name = $2 FOR UPDATE`
	const lockPhone = `SELECT key FROM phones WHERE bucket = $1 AND key = $2 FOR UPDATE`
	holder, other := connect(t, url), connect(t, url)
	exec(t, holder, `BEGIN`)
	exec(t, holder, lockTally, b, "b")
	locked := func(sql string, key any) bool {
		_, err := other.Exec(t.Context(), sql+" NOWAIT", b, key)
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if err != nil && (!ok || pgErr.Code != "55P03") {
			t.Error(err)
		}
		return err != nil
	}
	var work sync.WaitGroup
	work.Go(func() {
		defer exec(t, holder, `COMMIT`)
		awaitBlocked(t, url, 1)
		for i, p := range phones {
			if !locked(lockPhone, p.Key[:]) {
				t.Errorf("phone %d is not locked", i)
			}
		}
		if !locked(lockTally, "a") || locked(lockTally, "c") {
			t.Error("of the tallies before and behind the one in the middle, want the first locked and the other not")
		}
	})
	errs := grouped(s, len(phones), func() {}, func(i int) error {
		keys := []delivery.CounterKey{tallies[2].CounterKey, tallies[1].CounterKey, tallies[0].CounterKey}[:3-i]
		return s.Update(t.Context(), mfa.Read{Bucket: b, Phone: phones[i].Key, Counters: keys}, func(tx *mfa.Tx) error {
			for _, y := range tx.Counters {
				y.Counts[0].Sent++
				tx.Writes = append(tx.Writes, mfa.PutCounter{Counter: y})
			}
			return nil
		})
	})
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("Updates = %v", err)
	}
	for i, want := range []int{2, 3, 4} { // each count started at 1
		got := view(t, s, mfa.Read{Bucket: b, Counters: []delivery.CounterKey{tallies[i].CounterKey}}).Counters[0].Counts[0].Sent
		if got != want {
			t.Errorf("tally %d counts %d; want %d", i, got, want)
		}
	}
}

// TestRefused makes the server refuse a write several times, with the error of each
// of these cases.
func TestRefused(t *testing.T) {
	url := migrated(t)
	admin := connect(t, url)
	exec(t, admin, `CREATE SEQUENCE refusals`)
	refuse := func(state string, times int) {
		exec(t, admin, `ALTER SEQUENCE refusals RESTART`)
		exec(t, admin, fmt.Sprintf(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('refusals') <= %d THEN RAISE EXCEPTION 'refused' USING ERRCODE = '%s'; END IF;
			RETURN NEW; END $$`, times, state))
	}
	refuse("40001", 0)
	exec(t, admin, `CREATE TRIGGER refuse BEFORE INSERT ON challenges FOR EACH ROW EXECUTE FUNCTION refuse()`)

	s := openAt(t, url, postgres.Options{Writers: 1})
	f := storeFactor(t, s)
	for _, tc := range []struct {
		name      string
		state     string
		times     int
		stored    bool
		runs      int
		temporary bool // whether the error is ErrUnavailable
	}{
		{"a serialization failure", "40001", 1, true, 2, false},
		{"several of them", "40001", 4, true, 5, false},
		{"too many of them", "40001", 1000, false, 11, true},
		{"a deadlock", "40P01", 2, true, 3, false},
		{"a lock not to be had at once", "55P03", 1, true, 2, false},
		{"a lock never to be had", "55P03", 1000, false, 3, true},
		{"a statement that takes too long", "57014", 1, false, 1, true},
		{"a full disk", "53100", 1, false, 1, true},
		{"a failed check", "23514", 1, false, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refuse(tc.state, tc.times)
			c, runs := storetest.NewChallenge(f), 0
			err := s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
				runs++
				tx.Writes = []mfa.Write{mfa.InsertChallenge{Challenge: c}}
				return nil
			})
			if (err == nil) != tc.stored || errors.Is(err, mfa.ErrUnavailable) != tc.temporary {
				t.Errorf("Update = %v; want stored: %v, unavailable: %v", err, tc.stored, tc.temporary)
			}
			if runs != tc.runs {
				t.Errorf("fn ran %d times; want %d", runs, tc.runs)
			}
			if got := view(t, s, readChallenge(c.ID)).Challenge != nil; got != tc.stored {
				t.Errorf("stored: %v; want %v", got, tc.stored)
			}
		})
	}
	t.Run("one of a group", func(t *testing.T) {
		refuse("40001", 1)
		var challenges [8]*mfa.Challenge
		for i := range challenges {
			challenges[i] = storetest.NewChallenge(f)
		}
		errs := grouped(s, len(challenges), func() {}, func(i int) error {
			return s.Update(t.Context(), readFactor(f.ID), storetest.Writing(mfa.InsertChallenge{Challenge: challenges[i]}))
		})
		if err := errors.Join(errs...); err != nil {
			t.Errorf("Updates = %v", err)
		}
		for _, c := range challenges {
			if view(t, s, readChallenge(c.ID)).Challenge == nil {
				t.Errorf("%s is not stored", c.ID)
			}
		}
	})
}

// TestDeadlock makes a group wait for a lock of a connection that then waits for a
// lock of the group.
func TestDeadlock(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{Writers: 1})
	low, high := storeFactor(t, s), storeFactor(t, s)
	if low.ID.Bucket() > high.ID.Bucket() {
		low, high = high, low
	}
	other := connect(t, with(url, "deadlock_timeout=1min")) // so PostgreSQL ends the group's transaction, not this one
	exec(t, other, `BEGIN`)
	const locking = `SELECT FROM factors WHERE bucket = $1 AND id = $2 FOR UPDATE`
	exec(t, other, locking, int16(high.ID.Bucket()), high.ID)
	var work sync.WaitGroup
	work.Go(func() {
		awaitBlocked(t, url, 1)
		exec(t, other, locking, int16(low.ID.Bucket()), low.ID) // answered when the group has failed
		exec(t, other, `UPDATE factors SET failures = failures + 1`)
		exec(t, other, `COMMIT`)
	})
	errs := grouped(s, 2, func() {}, func(i int) error {
		return s.Update(t.Context(), readFactor([]*mfa.Factor{low, high}[i].ID), func(tx *mfa.Tx) error {
			tx.Factor.Failures++
			tx.Writes = []mfa.Write{tx.Factor.Update()}
			return nil
		})
	})
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("Updates = %v", err)
	}
	for _, f := range []*mfa.Factor{low, high} {
		if got := view(t, s, readFactor(f.ID)).Factor.Failures; got != 2 {
			t.Errorf("counted %d; want 2", got)
		}
	}
}

// TestSerialization changes a row while an Update waits for it: fn decides on the
// new row at every isolation level.
func TestSerialization(t *testing.T) {
	url := migrated(t)
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			s := openAt(t, isolated(url, isolation), postgres.Options{})
			f := storeFactor(t, s)
			other := connect(t, url)
			exec(t, other, `BEGIN`)
			exec(t, other, `UPDATE factors SET failures = 6 WHERE id = $1`, f.ID)
			var work sync.WaitGroup
			work.Go(func() {
				awaitBlocked(t, url, 1)
				exec(t, other, `COMMIT`)
			})
			err := s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
				tx.Factor.Failures++
				tx.Writes = []mfa.Write{tx.Factor.Update()}
				return nil
			})
			work.Wait()
			if got := view(t, s, readFactor(f.ID)).Factor.Failures; err != nil || got != 7 {
				t.Errorf("Update = %v, counted %d; want 7", err, got)
			}
		})
	}
}

// TestUserComesWithTheLockOfItsFactor makes another node count the first failure of a
// user while a group waits for the lock of the factor. The group then sees the new state
// of both rows.
func TestUserComesWithTheLockOfItsFactor(t *testing.T) {
	for _, name := range []string{"known challenges", "challenges of others"} {
		t.Run(name, func(t *testing.T) {
			url := migrated(t)
			s := openAt(t, url, postgres.Options{Writers: 1})
			f := storeFactor(t, s)
			challenge, err := insertChallenge(t.Context(), s, f)
			if err != nil {
				t.Fatal(err)
			}
			if name == "challenges of others" {
				s = openAt(t, url, postgres.Options{Writers: 1})
			}
			other := connect(t, url)
			exec(t, other, `BEGIN`)
			exec(t, other, `UPDATE factors SET failures = 1 WHERE id = $1`, f.ID)
			exec(t, other, `INSERT INTO users (bucket, environment, id, failures) VALUES ($1, $2, $3, 100)`, int16(f.ID.Bucket()), f.Environment, f.User)
			reads := []mfa.Read{readFactor(f.ID), readChallenge(challenge.ID)}
			seen := make([]mfa.Rows, len(reads))
			var work sync.WaitGroup
			errs := grouped(s, len(reads), func() {
				work.Go(func() {
					awaitBlocked(t, url, 1)
					exec(t, other, `COMMIT`)
				})
			}, func(i int) error {
				return s.Update(t.Context(), reads[i], func(tx *mfa.Tx) error {
					seen[i] = tx.Rows
					return nil
				})
			})
			work.Wait()
			for i, rows := range seen {
				if errs[i] != nil || rows.Factor == nil || rows.Factor.Failures != 1 || rows.User == nil || rows.User.Failures != 100 {
					t.Errorf("Update %d = %v, sees %+v of %+v; want 100 failures of the user and 1 of the factor", i, errs[i], rows.User, rows.Factor)
				}
			}
		})
	}
}

// TestLockedRowDelaysNoOthers keeps a tally locked while 150 Updates of its
// environment wait for it. Updates of other environments continue over the same
// connections, and at most one connection waits for the row.
func TestLockedRowDelaysNoOthers(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{})
	s.Hurry(20*time.Second, time.Second)
	free := storeFactor(t, s)
	tally := storetest.NewTally(7)
	if err := s.Update(t.Context(), mfa.Read{Bucket: 7}, storetest.Writing(mfa.PutCounter{Counter: tally})); err != nil {
		t.Fatal(err)
	}
	other := connect(t, url)
	exec(t, other, `BEGIN`)
	exec(t, other, `UPDATE tallies SET counts = counts`)
	const callers = 150
	var work sync.WaitGroup
	var counted, refused atomic.Int64
	for range callers {
		work.Go(func() {
			err := s.Update(t.Context(), mfa.Read{Bucket: 7, Counters: []delivery.CounterKey{tally.CounterKey}}, func(tx *mfa.Tx) error {
				tx.Counters[0].Counts[0].Sent++
				tx.Writes = []mfa.Write{mfa.PutCounter{Counter: tx.Counters[0]}}
				return nil
			})
			switch {
			case err == nil:
				counted.Add(1)
			case errors.Is(err, mfa.ErrUnavailable):
				refused.Add(1)
			default:
				t.Errorf("Update = %v", err)
			}
		})
	}
	awaitBlocked(t, url, 1)
	for range 20 {
		if _, err := insertChallenge(t.Context(), s, free); err != nil {
			t.Errorf("Update = %v", err)
		}
	}
	if n := counted.Load(); n != 0 {
		t.Errorf("%d were counted in the locked row", n)
	}
	exec(t, other, `ROLLBACK`)
	work.Wait()
	if counted.Load()+refused.Load() != callers || counted.Load() < 64 {
		t.Errorf("%d were counted and %d refused; want %d together, and at least 64 counted", counted.Load(), refused.Load(), callers)
	}
	got := view(t, s, mfa.Read{Bucket: 7, Counters: []delivery.CounterKey{tally.CounterKey}}).Counters[0].Counts[0].Sent
	if want := tally.Counts[0].Sent + int(counted.Load()); got != want {
		t.Errorf("the tally counts %d; want %d", got, want)
	}
}

// TestUncommittedInsertDelaysNoOthers makes another transaction insert a row and stay
// open. Updates that insert the same row wait, and others continue.
func TestUncommittedInsertDelaysNoOthers(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{})
	s.Hurry(20*time.Second, time.Second)
	free := storeFactor(t, s)
	user := storetest.NewUser()
	other := connect(t, url)
	exec(t, other, `BEGIN`)
	exec(t, other, `INSERT INTO users (bucket, environment, id, failures) VALUES ($1, $2, $3, 1)`, int16(user.Bucket()), user.Environment, user.ID)
	var work sync.WaitGroup
	const callers = 8
	for range callers {
		work.Go(func() {
			err := s.Update(t.Context(), mfa.Read{Bucket: user.Bucket(), User: user}, func(tx *mfa.Tx) error {
				if tx.User == nil {
					tx.User = &mfa.User{UserKey: user}
				}
				tx.User.Failures++
				tx.Writes = []mfa.Write{mfa.PutUser{User: tx.User}}
				return nil
			})
			if err != nil {
				t.Errorf("Update = %v", err)
			}
		})
	}
	awaitBlocked(t, url, 1)
	for range 20 {
		if _, err := insertChallenge(t.Context(), s, free); err != nil {
			t.Errorf("Update = %v", err)
		}
	}
	exec(t, other, `COMMIT`)
	work.Wait()
	if got := view(t, s, mfa.Read{Bucket: user.Bucket(), User: user}).User.Failures; got != 1+callers {
		t.Errorf("counted %d; want %d", got, 1+callers)
	}
}

// TestLockedRow keeps a lock until the end: the Update that needs it fails within its
// time limit, and the other Updates of the group are stored.
func TestLockedRow(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	s := openAt(t, url, postgres.Options{Writers: 1})
	s.Hurry(5*time.Second, time.Second)
	locked, free := storeFactor(t, s), storeFactor(t, s)
	other := connect(t, url)
	exec(t, other, `BEGIN`)
	exec(t, other, `UPDATE factors SET failures = 6 WHERE id = $1`, locked.ID)
	errs := grouped(s, 2, func() {}, func(i int) error {
		return s.Update(t.Context(), readFactor([]*mfa.Factor{locked, free}[i].ID), func(tx *mfa.Tx) error {
			tx.Factor.Failures++
			tx.Writes = []mfa.Write{tx.Factor.Update()}
			return nil
		})
	})
	if !errors.Is(errs[0], mfa.ErrUnavailable) || errs[1] != nil {
		t.Errorf("Updates = %v; want %v and nil", errs, mfa.ErrUnavailable)
	}
	exec(t, other, `ROLLBACK`)
	if got := view(t, s, readFactor(locked.ID)).Factor.Failures; got != 0 {
		t.Errorf("counted %d; want 0", got)
	}
	if got := view(t, s, readFactor(free.ID)).Factor.Failures; got != 1 {
		t.Errorf("counted %d; want 1", got)
	}
}

// TestVanishedNode loses a node without notice while it holds the lock of a row. The
// server releases the lock before other nodes give up.
func TestVanishedNode(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	vanishing, p := openProxied(t, url, postgres.Options{Writers: 1})
	vanishing.Hurry(2*time.Second, time.Second)
	s := openAt(t, url, postgres.Options{})
	f := storeFactor(t, s)
	prepare(t, vanishing, f)
	p.at(commitArrived, stall)
	var work sync.WaitGroup
	work.Go(func() {
		err := vanishing.Update(t.Context(), readFactor(f.ID), storetest.Writing(mfa.AppendEvent{Event: storetest.NewEvent(f)}))
		if !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Update = %v; want %v", err, mfa.ErrUnavailable)
		}
	})
	await(func() bool { return !p.armed() })
	if _, err := insertChallenge(t.Context(), s, f); err != nil {
		t.Errorf("Update = %v", err)
	}
	work.Wait()
}
