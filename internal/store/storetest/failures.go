package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// errOfFn is an example of an error from fn.
var errOfFn = errors.New("refused by fn")

// everything returns one write of each kind that adds a row, and a read that finds all
// these rows.
func everything() (mfa.Read, []mfa.Write) {
	f := NewFactor(NewUser())
	b, c := f.ID.Bucket(), NewChallenge(f)
	r, p := NewReplay(b), &delivery.PhoneLimit{Bucket: b, Key: newKey(), ExpiresAt: morning}
	u := mfa.UserKey{Environment: f.Environment, ID: f.User}
	y, m := NewTally(b), NewMessage(b)
	return mfa.Read{
			Bucket: b, Challenge: c.ID, User: u, Phone: p.Key, Counters: []delivery.CounterKey{y.CounterKey}, Message: m.Key, Replay: r.Key,
		}, []mfa.Write{
			mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c}, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 1}},
			mfa.PutPhone{PhoneLimit: p}, mfa.PutCounter{Counter: y}, mfa.PutMessage{MessageRef: m}, mfa.PutReplay{Replay: r},
			mfa.AppendEvent{Event: NewEvent(f)},
		}
}

// noTrace reports a test error if any row of r, or any event, is stored.
func noTrace(t *testing.T, s mfa.Store, r mfa.Read) {
	t.Helper()
	if rows := view(t, s, r); !nothing(rows) {
		t.Errorf("stored %+v; want nothing", rows)
	}
	if events := Events(t, s); len(events) > 0 {
		t.Errorf("stored %+v; want no events", events)
	}
}

func failedUpdateLeavesNothing(t *testing.T, s mfa.Store) {
	r, writes := everything()
	for _, want := range []error{errOfFn, &mfa.LimitError{Kind: mfa.ErrTooManyAttempts}} {
		err := s.Update(t.Context(), r, func(tx *mfa.Tx) error {
			tx.Writes = writes
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("Update = %v; want %v", err, want)
		}
		noTrace(t, s, r)
	}
	store(t, s, r.Bucket, writes...)
}

func panicLeavesNothing(t *testing.T, s mfa.Store) {
	r, writes := everything()
	err := survive(func() error {
		return s.Update(t.Context(), r, func(tx *mfa.Tx) error {
			tx.Writes = writes
			panic("a bug in fn")
		})
	})
	if err == nil {
		t.Error("Update = nil; want an error or the panic")
	}
	noTrace(t, s, r)
	store(t, s, r.Bucket, writes...)
}

// survive returns the error of fn, or its panic as an error.
func survive(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// impossible returns writes that no store can make, in the bucket of f. The factor f and
// its challenge c are already stored.
func impossible(f *mfa.Factor, c *mfa.Challenge) map[string]mfa.Write {
	return map[string]mfa.Write{
		"a second factor of one id":    mfa.InsertFactor{Factor: f},
		"a second challenge of one id": mfa.InsertChallenge{Challenge: c},
		"a change of no factor":        mfa.UpdateFactor{ID: newID(morning, f.ID.Bucket())},
		"a change of no challenge":     mfa.UpdateChallenge{ID: newID(morning, f.ID.Bucket())},
		"a deletion of no factor":      mfa.DeleteFactor{ID: newID(morning, f.ID.Bucket())},
	}
}

func impossibleWriteFails(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	for name, bad := range impossible(f, c) {
		t.Run(name, func(t *testing.T) {
			changed := *f
			changed.Failures = 9
			r := NewReplay(f.ID.Bucket())
			good := []mfa.Write{changed.Update(), mfa.PutReplay{Replay: r}}
			for at := range len(good) + 1 {
				writes := append(append(append([]mfa.Write{}, good[:at]...), bad), good[at:]...)
				if err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, Writing(writes...)); err == nil {
					t.Errorf("Update with the bad write at %d = nil; want an error", at)
				}
				rows := view(t, s, mfa.Read{Bucket: f.ID.Bucket(), Challenge: c.ID, Replay: r.Key})
				same(t, rows.Challenge, c)
				same(t, rows.Factor, f)
				same(t, rows.Replay, nil)
			}
		})
	}
}

// goodBesideBad runs good Updates concurrently with Updates that fail in every way, and
// checks each result afterwards.
func goodBesideBad(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	b := f.ID.Bucket()
	var bad []mfa.Write
	for _, w := range impossible(f, c) {
		bad = append(bad, w)
	}
	const n = 96
	var replays [n]*mfa.Replay
	for i := range replays {
		replays[i] = NewReplay(b)
	}
	errs := together(n, func(i int) error {
		put := mfa.PutReplay{Replay: replays[i]}
		return survive(func() error {
			return s.Update(t.Context(), readChallenge(c.ID), func(tx *mfa.Tx) error {
				switch i % 4 {
				case 1:
					tx.Writes = []mfa.Write{put, bad[i/4%len(bad)]}
				case 2:
					tx.Writes = []mfa.Write{put}
					return errOfFn
				case 3:
					if i%3 == 0 {
						tx.Writes = []mfa.Write{put}
						panic("a bug in fn")
					}
					fallthrough
				default:
					tx.Writes = []mfa.Write{put}
				}
				return nil
			})
		})
	})
	for i, err := range errs {
		good := i%4 == 0 || i%4 == 3 && i%3 != 0
		stored := view(t, s, mfa.Read{Bucket: b, Replay: replays[i].Key}).Replay
		switch {
		case good && err != nil:
			t.Errorf("good Update %d = %v", i, err)
		case good:
			same(t, stored, replays[i])
		case err == nil:
			t.Errorf("bad Update %d = nil; want an error", i)
		case i%4 == 2 && !errors.Is(err, errOfFn):
			t.Errorf("refused Update %d = %v; want %v", i, err, errOfFn)
		default:
			same(t, stored, nil)
		}
	}
	same(t, view(t, s, readChallenge(c.ID)).Challenge, c)
}

// refusalBesideBad makes fn refuse because of the rows that it reads, while other
// Updates fail. A refusal must not depend on rows that were never committed.
func refusalBesideBad(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	errs := together(64, func(i int) error {
		return s.Update(t.Context(), readFactor(f.ID), func(tx *mfa.Tx) error {
			if tx.Factor.Failures > 0 {
				return errOfFn
			}
			if i%2 == 0 {
				return nil
			}
			tx.Factor.Failures++ // never stored, because the second write fails
			tx.Writes = []mfa.Write{tx.Factor.Update(), mfa.InsertFactor{Factor: f}}
			return nil
		})
	})
	for i, err := range errs {
		if errors.Is(err, errOfFn) || (i%2 == 0) != (err == nil) {
			t.Errorf("Update %d = %v", i, err)
		}
	}
}
