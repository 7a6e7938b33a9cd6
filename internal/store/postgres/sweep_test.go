package postgres_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestSweepIsOneNodes sweeps while another node does: the second sweep removes nothing.
func TestSweepIsOneNodes(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{})
	f := storeFactor(t, s)
	c, err := insertChallenge(t.Context(), s, f)
	if err != nil {
		t.Fatal(err)
	}
	later := c.CreatedAt.Add(time.Hour)
	h := mfa.Horizon{Challenges: later, Events: time.Now().Add(time.Hour), Expired: later}
	sweep := func() (steps int) {
		t.Helper()
		for more := true; more; steps++ {
			if more, err = s.Sweep(t.Context(), h, 100); err != nil {
				t.Fatal(err)
			}
		}
		return steps
	}

	other := connect(t, url)
	exec(t, other, `BEGIN`)
	exec(t, other, `SELECT pg_advisory_xact_lock($1)`, int64(postgres.SweepLockKey))
	if steps := sweep(); steps != 1 || view(t, s, readChallenge(c.ID)).Challenge == nil {
		t.Errorf("swept in %d steps while another node did; want one that removes nothing", steps)
	}
	exec(t, other, `ROLLBACK`)
	sweep()
	if view(t, s, readChallenge(c.ID)).Challenge != nil {
		t.Error("the challenge was not swept")
	}
	if events := storetest.Events(t, s); len(events) != 0 {
		t.Errorf("Events = %v; want none", events)
	}
}

// TestSweepDuringUpdates makes two nodes sweep rows that a third node changes.
func TestSweepDuringUpdates(t *testing.T) {
	url := migrated(t)
	s := openAt(t, url, postgres.Options{})
	f := storeFactor(t, s)
	h := mfa.Horizon{Challenges: f.CreatedAt.Add(time.Hour), Events: f.CreatedAt.Add(time.Hour)}
	done := make(chan error, 2)
	stop := make(chan struct{})
	for range cap(done) {
		sweeper := openAt(t, url, postgres.Options{})
		go func() {
			var err error
			for err == nil {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				_, err = sweeper.Sweep(t.Context(), h, 6400)
			}
			done <- err
		}()
	}
	for range 100 {
		err := s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
			tx.Factor.Failures++
			tx.Writes = []mfa.Write{
				mfa.InsertChallenge{Challenge: storetest.NewChallenge(f)}, tx.Factor.Update(),
				mfa.AppendEvent{Event: storetest.NewEvent(f)},
			}
			return nil
		})
		if err != nil {
			t.Errorf("Update = %v", err)
		}
	}
	close(stop)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Errorf("Sweep = %v", err)
		}
	}
	if got := view(t, s, readFactor(f.ID)).Factor.Failures; got != 100 {
		t.Errorf("counted %d; want 100", got)
	}
}

// TestSweepKeepsReusedRows makes another transaction extend the lifetime of a row
// while the sweep waits to remove it.
func TestSweepKeepsReusedRows(t *testing.T) {
	url := migrated(t)
	y, m, r := storetest.NewTally(0), storetest.NewMessage(0), storetest.NewReplay(0)
	p := &delivery.PhoneLimit{Key: delivery.PhoneKey{31: 1}, ExpiresAt: y.ExpiresAt}
	w := storetest.NewBypass(0)
	for _, tc := range []struct {
		table string
		put   mfa.Write
		there func(mfa.Rows) bool
	}{
		{"tallies", mfa.PutCounter{Counter: y}, func(r mfa.Rows) bool { return r.Counters[0] != nil }},
		{"messages", mfa.PutMessage{MessageRef: m}, func(r mfa.Rows) bool { return r.Message != nil }},
		{"phones", mfa.PutPhone{PhoneLimit: p}, func(r mfa.Rows) bool { return r.Phone != nil }},
		{"bypasses", mfa.PutBypass{Bypass: w}, func(r mfa.Rows) bool { return r.Bypass != nil }},
		{"replays", mfa.PutReplay{Replay: r}, func(r mfa.Rows) bool { return r.Replay != nil }},
	} {
		t.Run(tc.table, func(t *testing.T) {
			s := openAt(t, url, postgres.Options{}) // a new store sweeps bucket 0 first
			read := mfa.Read{Counters: []delivery.CounterKey{y.CounterKey}, Message: m.Key, Phone: p.Key, Bypass: w.Key, Replay: r.Key}
			if err := s.Update(t.Context(), read, storetest.Writing(tc.put)); err != nil {
				t.Fatal(err)
			}
			horizon := mfa.Horizon{Expired: y.ExpiresAt.Add(time.Hour)}
			other := connect(t, url)
			exec(t, other, `BEGIN`)
			exec(t, other, `UPDATE `+tc.table+` SET expires_at = $1`, horizon.Expired.Add(time.Hour))
			var work sync.WaitGroup
			work.Go(func() {
				awaitBlocked(t, url, 1)
				exec(t, other, `COMMIT`)
			})
			if _, err := s.Sweep(t.Context(), horizon, 64); err != nil {
				t.Fatal(err)
			}
			work.Wait()
			if !tc.there(view(t, s, read)) {
				t.Error("it was removed although it had been put off")
			}
		})
	}
}

// TestSweepExpiresByTheClockOfTheDatabase sweeps on a node whose clock is wrong. Rows
// that have not expired by the shared clock of the database must stay.
func TestSweepExpiresByTheClockOfTheDatabase(t *testing.T) {
	for _, tc := range []struct {
		ahead time.Duration // how far the clock of the node is ahead; negative if it is behind
		kept  bool
	}{
		{402 * 24 * time.Hour, true},
		{25 * time.Hour, true},
		{0, true},
		{-25 * time.Hour, true},
	} {
		t.Run(tc.ahead.String(), func(t *testing.T) {
			s := openEmpty(t, migrated(t), postgres.Options{})
			f := storeFactor(t, s)
			now, err := s.Clock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			store := func(age time.Duration) mfa.Read {
				c, r := storetest.NewChallenge(f), storetest.NewReplay(f.ID.Bucket())
				ms := uint64(now.Add(-age).UnixMilli())
				binary.BigEndian.PutUint64(c.ID[:8], ms<<16)
				r.ExpiresAt = now.Add(24*time.Hour - age)
				read := mfa.Read{Bucket: f.ID.Bucket(), Challenge: c.ID, Replay: r.Key}
				if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(
					mfa.InsertChallenge{Challenge: c}, mfa.PutReplay{Replay: r})); err != nil {
					t.Fatal(err)
				}
				return read
			}
			young := store(time.Hour)
			old := store(72 * time.Hour)
			node := now.Add(tc.ahead)
			h := mfa.Horizon{Now: node, Challenges: node.Add(-24 * time.Hour), Events: node.Add(-24 * time.Hour), Expired: node}
			for more := true; more; {
				if more, err = s.Sweep(t.Context(), h, 100); err != nil {
					t.Fatal(err)
				}
			}
			if rows := view(t, s, young); rows.Challenge == nil || rows.Replay == nil {
				t.Errorf("an hour old: left %+v; want challenge and replay", rows)
			}
			if rows := view(t, s, old); rows.Challenge != nil || rows.Replay != nil {
				t.Errorf("three days old: left %+v; want neither", rows)
			}
		})
	}
}
