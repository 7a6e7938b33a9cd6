package storetest

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// morning is the creation time of the rows in this suite.
var morning = time.Date(2026, 3, 29, 8, 30, 0, 123e6, time.UTC)

// awkward is text with characters that are difficult to store.
const awkward = `Zoë 漢字 𝄞 👩‍👩‍👧 ' " \ % _ ; -- ?`

// serial makes every id in the process unique.
var serial atomic.Uint64

// newID returns an id with the time at in bucket b, above all earlier ids with the same
// time and bucket.
func newID(at time.Time, b mfa.Bucket) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16)
	binary.BigEndian.PutUint64(id[8:], serial.Add(1)<<10|uint64(b))
	return id
}

// newKey returns a key that no row uses.
func newKey() (k [32]byte) {
	binary.BigEndian.PutUint64(k[8:], serial.Add(1))
	return k
}

// newReplayKey returns a key that no replay record uses.
func newReplayKey() (k mfa.ReplayKey) {
	binary.BigEndian.PutUint64(k[8:], serial.Add(1))
	return k
}

// NewUser returns a user of environment 1 without any rows.
func NewUser() mfa.UserKey {
	id := newID(morning, 0)
	return mfa.UserKey{Environment: 1, ID: mfa.FactorID(id).String()}
}

// NewFactor returns a factor of u that is not stored yet. All factors of one user are
// in the same bucket.
func NewFactor(u mfa.UserKey) *mfa.Factor {
	return &mfa.Factor{
		ID: newID(morning, u.Bucket()), Environment: u.Environment, Type: mfa.GenericOTP, User: u.ID,
		CreatedAt: morning, FactorState: mfa.FactorState{UpdatedAt: morning},
	}
}

// NewChallenge returns a challenge of f that is not stored yet.
func NewChallenge(f *mfa.Factor) *mfa.Challenge {
	return &mfa.Challenge{
		ID: newID(morning, f.ID.Bucket()), Factor: f.ID, CodeMAC: []byte("the code's MAC"), CreatedAt: morning, ExpiresAt: morning.Add(10 * time.Minute),
		ChallengeState: mfa.ChallengeState{SealedCode: []byte("the code, sealed"), UpdatedAt: morning},
	}
}

// NewEvent returns an event for a challenge of f.
func NewEvent(f *mfa.Factor) mfa.Event {
	return mfa.Event{ID: newID(morning, f.ID.Bucket()), At: morning, Environment: f.Environment, Type: mfa.ChallengeCreated, Factor: f.ID, Kind: f.Type}
}

// NewReplay returns a replay record in bucket b that is not stored yet.
func NewReplay(b mfa.Bucket) *mfa.Replay {
	return &mfa.Replay{Bucket: b, Record: idempotency.Record{Key: newReplayKey(), Fingerprint: newKey(), Sealed: []byte("sealed"), ExpiresAt: morning}}
}

// NewTally returns a tally in bucket b that is not stored yet. All tallies of one
// bucket belong to the same environment.
func NewTally(b mfa.Bucket) *delivery.Counter {
	key := delivery.CounterKey{Environment: 1, Name: fmt.Sprintf("%032x", serial.Add(1))}
	for key.Bucket() != b {
		key.Environment++
	}
	return &delivery.Counter{CounterKey: key, Sealed: []byte("sealed"), Counts: []delivery.Count{{At: morning, Sent: 1}}, ExpiresAt: morning}
}

// NewMessage returns a message reference in bucket b that is not stored yet.
func NewMessage(b mfa.Bucket) *delivery.MessageRef {
	return &delivery.MessageRef{Bucket: b, Key: newKey(), Challenge: newID(morning, b), ExpiresAt: morning}
}

// NewBypass returns a bypass code in bucket b that is not stored yet.
func NewBypass(b mfa.Bucket) *mfa.Bypass {
	return &mfa.Bypass{Bucket: b, Key: newKey(), CodeMAC: []byte("the code's MAC"), CreatedAt: morning, ExpiresAt: morning}
}

// Writing returns an fn for Update that makes these writes and ignores the rows of the
// read.
func Writing(writes ...mfa.Write) func(*mfa.Tx) error {
	return func(tx *mfa.Tx) error {
		tx.Writes = append(tx.Writes, writes...)
		return nil
	}
}

// store makes writes, all of them in bucket b. Each write has a separate Update, which
// reads the rows that it changes.
func store(t *testing.T, s mfa.Store, b mfa.Bucket, writes ...mfa.Write) {
	t.Helper()
	for _, w := range writes {
		if err := s.Update(t.Context(), reading(b, w), Writing(w)); err != nil {
			t.Fatal(err)
		}
	}
}

// reading returns a read of the row that w changes or replaces.
func reading(b mfa.Bucket, w mfa.Write) mfa.Read {
	r := mfa.Read{Bucket: b}
	switch w := w.(type) {
	case mfa.UpdateFactor:
		r.Factor = w.ID
	case mfa.SealFactor:
		r.Factor = w.ID
	case mfa.DeleteFactor:
		r.Factor = w.ID
	case mfa.UpdateChallenge:
		r.Challenge = w.ID
	case mfa.PutUser:
		r.User = w.UserKey
	case mfa.PutPhone:
		r.Phone = w.Key
	case mfa.PutCounter:
		r.Counters = []delivery.CounterKey{w.CounterKey}
	case mfa.PutMessage:
		r.Message = w.Key
	case mfa.PutBypass:
		r.Bypass = w.Key
	case mfa.PutReplay:
		r.Replay = w.Key
	}
	return r
}

// storeFactor stores a new factor of u.
func storeFactor(t *testing.T, s mfa.Store, u mfa.UserKey) *mfa.Factor {
	t.Helper()
	f := NewFactor(u)
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
	return f
}

// storeChallenge stores a new challenge of a new factor.
func storeChallenge(t *testing.T, s mfa.Store) (*mfa.Factor, *mfa.Challenge) {
	t.Helper()
	f := NewFactor(NewUser())
	c := NewChallenge(f)
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c})
	return f, c
}

func readFactor(id mfa.FactorID) mfa.Read { return mfa.Read{Bucket: id.Bucket(), Factor: id} }

func readChallenge(id mfa.ChallengeID) mfa.Read { return mfa.Read{Bucket: id.Bucket(), Challenge: id} }

func readUser(k mfa.UserKey) mfa.Read { return mfa.Read{Bucket: k.Bucket(), User: k} }

// view returns the rows of a View and checks that an Update reads the same rows.
func view(t *testing.T, s mfa.Store, r mfa.Read) mfa.Rows {
	t.Helper()
	rows, err := s.View(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), r, func(tx *mfa.Tx) error {
		if !reflect.DeepEqual(tx.Rows, rows) {
			t.Errorf("an Update reads %+v\na View reads %+v", tx.Rows, rows)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// nothing reports whether a read found no row.
func nothing(rows mfa.Rows) bool {
	for _, y := range rows.Counters {
		if y != nil {
			return false
		}
	}
	rows.Counters = nil
	return reflect.DeepEqual(rows, mfa.Rows{})
}

// same reports a test error unless got is equal to want.
func same[T any](t *testing.T, got, want *T) {
	t.Helper()
	switch {
	case got == nil && want == nil:
	case got == nil:
		t.Errorf("got no %T; want %+v", *want, *want)
	case want == nil:
		t.Errorf("got %+v; want none", *got)
	case !reflect.DeepEqual(got, want):
		t.Errorf("got  %+v\nwant %+v", *got, *want)
	}
}

// sameList reports a test error unless got is equal to want. An empty list may be nil.
func sameList[T any](t *testing.T, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d: %+v\nwant %d: %+v", len(got), got, len(want), want)
		return
	}
	for i := range got {
		same(t, &got[i], &want[i])
	}
}

// together calls fn concurrently with 0 to n-1 and returns the error of each call.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}
