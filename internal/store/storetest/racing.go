package storetest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func storedIsSeen(t *testing.T, s mfa.Store) {
	for range 50 {
		f := storeFactor(t, s, NewUser())
		same(t, view(t, s, readFactor(f.ID)).Factor, f)
	}
}

func emptyUpdateSucceeds(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	nothing := func(*mfa.Tx) error { return nil }
	for _, err := range together(32, func(int) error { return s.Update(t.Context(), readFactor(f.ID), nothing) }) {
		if err != nil {
			t.Error(err)
		}
	}
}

// viewIsOfOneMoment keeps the attempts of a challenge equal to the only byte of its
// replay record. Every View must see both values from the same commit.
func viewIsOfOneMoment(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	r := NewReplay(f.ID.Bucket())
	r.Sealed = []byte{0}
	store(t, s, r.Bucket, mfa.PutReplay{Replay: r})
	read := mfa.Read{Bucket: r.Bucket, Challenge: c.ID, Replay: r.Key}
	var done atomic.Bool
	errs := together(3, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			return count(t.Context(), s, read, 100)
		}
		for !done.Load() {
			rows, err := s.View(t.Context(), read)
			if err != nil {
				return err
			}
			if int(rows.Replay.Sealed[0]) != rows.Challenge.Attempts {
				t.Errorf("View = %d attempts and %d recorded", rows.Challenge.Attempts, rows.Replay.Sealed[0])
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func count(ctx context.Context, s mfa.Store, r mfa.Read, n int) error {
	for range n {
		err := s.Update(ctx, r, func(tx *mfa.Tx) error {
			tx.Challenge.Attempts++
			tx.Replay.Sealed[0]++
			tx.Writes = []mfa.Write{tx.Challenge.Update(), mfa.PutReplay{Replay: tx.Replay}}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func countersAreExact(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	key := mfa.UserKey{Environment: f.Environment, ID: f.User}
	const callers, rounds = 64, 8
	errs := together(callers, func(int) error {
		for range rounds {
			err := s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
				tx.Factor.Failures++
				if tx.User == nil {
					tx.User = &mfa.User{UserKey: key}
				}
				tx.User.Failures++
				tx.Writes = []mfa.Write{tx.Factor.Update(), mfa.PutUser{User: tx.User}}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	rows := view(t, s, readFactor(f.ID))
	if rows.Factor.Failures != callers*rounds || rows.User.Failures != callers*rounds {
		t.Errorf("counted %d and %d; want %d", rows.Factor.Failures, rows.User.Failures, callers*rounds)
	}
}

// talliesAreExact makes many callers count in the same tallies, each caller in a
// different order. At the start no tally is stored.
func talliesAreExact(t *testing.T, s mfa.Store) {
	const b, callers, rounds = 7, 64, 4
	keys := []delivery.CounterKey{NewTally(b).CounterKey, NewTally(b).CounterKey, NewTally(b).CounterKey}
	errs := together(callers, func(i int) error {
		own := slices.Concat(keys[i%len(keys):], keys[:i%len(keys)])
		for range rounds {
			err := s.Update(t.Context(), mfa.Read{Bucket: b, Counters: own}, func(tx *mfa.Tx) error {
				for n, y := range tx.Counters {
					if y == nil {
						y = &delivery.Counter{CounterKey: own[n], Counts: []delivery.Count{{At: morning}}, ExpiresAt: morning}
					}
					y.Counts[0].Sent++
					tx.Writes = append(tx.Writes, mfa.PutCounter{Counter: y})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, y := range view(t, s, mfa.Read{Bucket: b, Counters: keys}).Counters {
		want := &delivery.Counter{CounterKey: keys[i], Counts: []delivery.Count{{At: morning, Sent: callers * rounds}}, ExpiresAt: morning}
		same(t, y, want)
	}
}

// oneUserOfABypass uses a bypass code in challenges of different factors of one user at once.
func oneUserOfABypass(t *testing.T, s mfa.Store) {
	const callers = 64
	u := NewUser()
	b := u.Bucket()
	w := NewBypass(b)
	store(t, s, b, mfa.PutBypass{Bypass: w})
	var challenges []mfa.ChallengeID
	for range callers {
		f := storeFactor(t, s, u)
		c := NewChallenge(f)
		store(t, s, b, mfa.InsertChallenge{Challenge: c})
		challenges = append(challenges, c.ID)
	}
	found := make([]bool, callers)
	errs := together(callers, func(i int) error {
		return s.Update(t.Context(), mfa.Read{Bucket: b, Challenge: challenges[i], Bypass: w.Key}, func(tx *mfa.Tx) error {
			if found[i] = tx.Bypass != nil; found[i] {
				tx.Challenge.VerifiedAt = morning
				tx.Writes = []mfa.Write{tx.Challenge.Update(), mfa.DeleteBypass{Bucket: b, Key: w.Key}}
			}
			return nil
		})
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range found {
		if f {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d uses found the code; want 1", n)
	}
	same(t, view(t, s, mfa.Read{Bucket: b, Bypass: w.Key}).Bypass, nil)
}

// refusedLeavesRowsAlone runs Updates whose fn changes all rows that it reads and then
// refuses. Concurrent Updates must not see these changes.
func refusedLeavesRowsAlone(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	b, c := f.ID.Bucket(), NewChallenge(f)
	c.Messages = []delivery.Record{{State: delivery.Queued, At: morning, UpdatedAt: morning}}
	y, m := NewTally(b), NewMessage(b)
	store(t, s, b, mfa.InsertChallenge{Challenge: c}, mfa.PutCounter{Counter: y}, mfa.PutMessage{MessageRef: m})
	read := mfa.Read{Bucket: b, Challenge: c.ID, Counters: []delivery.CounterKey{y.CounterKey}, Message: m.Key}
	for _, err := range together(64, func(int) error {
		return s.Update(t.Context(), read, func(tx *mfa.Tx) error {
			same(t, tx.Challenge, c)
			same(t, tx.Counters[0], y)
			same(t, tx.Message, m)
			tx.Challenge.Messages[0].State = delivery.Failed
			tx.Counters[0].Counts[0].Sent++
			tx.Counters[0].PausedUntil = morning
			tx.Message.Number++
			return errOfFn
		})
	}) {
		if !errors.Is(err, errOfFn) {
			t.Errorf("Update = %v; want %v", err, errOfFn)
		}
	}
}

// attemptsAllowed is the limit of codes per challenge.
const attemptsAllowed = 5

// attempt tries one code against a challenge in the same way as Service.Verify, without
// the rules that have nothing to do with concurrency.
func attempt(ctx context.Context, s mfa.Store, id mfa.ChallengeID, right bool, factorLimit int) error {
	return s.Update(ctx, readChallenge(id), func(tx *mfa.Tx) error {
		if tx.Factor.Failures >= factorLimit {
			return mfa.ErrTooManyAttempts
		}
		if err := tx.Challenge.Attempt(right, attemptsAllowed, morning); err != nil {
			return err
		}
		tx.Writes = append(tx.Writes, tx.Challenge.Update())
		if !right {
			tx.Factor.Failures++
			tx.Writes = append(tx.Writes, tx.Factor.Update())
		}
		return nil
	})
}

func oneRacerWins(t *testing.T, s mfa.Store) {
	_, c := storeChallenge(t, s)
	won := 0
	for _, err := range together(64, func(int) error { return attempt(t.Context(), s, c.ID, true, 1) }) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, mfa.ErrAlreadyVerified):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d racers won; want 1", won)
	}
	if got := view(t, s, readChallenge(c.ID)).Challenge; got.Attempts != 1 || !got.VerifiedAt.Equal(morning) {
		t.Errorf("stored %+v; want one attempt, verified", *got)
	}
}

func guessesAreBounded(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	var challenges [8]*mfa.Challenge
	for i := range challenges {
		challenges[i] = NewChallenge(f)
		store(t, s, f.ID.Bucket(), mfa.InsertChallenge{Challenge: challenges[i]})
	}
	const allowed = 13 // the limit of the factor, less than the 40 attempts of its challenges
	guessed := 0
	for _, err := range together(128, func(i int) error {
		return attempt(t.Context(), s, challenges[i%len(challenges)].ID, false, allowed)
	}) {
		switch {
		case err == nil:
			guessed++
		case !errors.Is(err, mfa.ErrTooManyAttempts):
			t.Error(err)
		}
	}
	counted := 0
	for _, c := range challenges {
		n := view(t, s, readChallenge(c.ID)).Challenge.Attempts
		if n > attemptsAllowed {
			t.Errorf("%d guesses at one challenge; at most %d are allowed", n, attemptsAllowed)
		}
		counted += n
	}
	if got := view(t, s, readFactor(f.ID)).Factor; guessed != allowed || counted != allowed || got.Failures != allowed {
		t.Errorf("%d guesses were let through, %d and %d counted; want %d", guessed, counted, got.Failures, allowed)
	}
}

// keyOrdersRequests sends several copies of each request concurrently. Each request must
// create exactly one challenge, which its copies find by the key.
func keyOrdersRequests(t *testing.T, s mfa.Store) {
	const requests, copies = 16, 6
	f := storeFactor(t, s, NewUser())
	b := f.ID.Bucket()
	var keys [requests]mfa.ReplayKey
	for i := range keys {
		keys[i] = newReplayKey()
	}
	errs := together(requests*copies, func(i int) error {
		c := NewChallenge(f)
		c.CreatedBy.Key = keys[i%requests]
		return s.Update(t.Context(), mfa.Read{Bucket: b, Factor: f.ID, Created: c.CreatedBy.Key}, func(tx *mfa.Tx) error {
			if tx.Created != nil {
				return errOfFn
			}
			tx.Writes = []mfa.Write{mfa.InsertChallenge{Challenge: c}}
			return nil
		})
	})
	var created [requests]int
	for i, err := range errs {
		if err == nil {
			created[i%requests]++
		}
	}
	for i, n := range created {
		if n != 1 {
			t.Errorf("request %d created %d challenges; want one", i, n)
		}
	}
}

// replayGoesWithEffect sends several copies of each request concurrently. Each request
// must have exactly one effect, stored together with its replay record.
func replayGoesWithEffect(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	b := f.ID.Bucket()
	const requests, times = 16, 6
	var replays [requests]*mfa.Replay
	var effects [requests * times]*mfa.Challenge
	for i := range replays {
		replays[i] = NewReplay(b)
	}
	for i := range effects {
		effects[i] = NewChallenge(f)
	}
	errs := together(requests*times, func(i int) error {
		r := replays[i%requests]
		return s.Update(t.Context(), mfa.Read{Bucket: b, Factor: f.ID, Replay: r.Key}, func(tx *mfa.Tx) error {
			if tx.Replay != nil {
				return errOfFn
			}
			tx.Writes = []mfa.Write{mfa.InsertChallenge{Challenge: effects[i]}, mfa.PutReplay{Replay: r}}
			if i/requests == i%times { // some requests fail after their writes
				tx.Writes = append(tx.Writes, mfa.InsertFactor{Factor: f})
			}
			return nil
		})
	})
	var done [requests]int
	for i, err := range errs {
		stored := view(t, s, readChallenge(effects[i].ID)).Challenge != nil
		if stored != (err == nil) {
			t.Errorf("request %d: Update = %v, stored %v", i, err, stored)
		}
		if stored {
			done[i%requests]++
		}
	}
	for i, n := range done {
		recorded := view(t, s, mfa.Read{Bucket: b, Replay: replays[i].Key}).Replay != nil
		if n != 1 || !recorded {
			t.Errorf("request %d: %d effects, recorded %v; want one, recorded", i, n, recorded)
		}
	}
}
