package storetest

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// The earliest and the latest time that a store must keep.
var (
	longAgo = time.Date(1900, 1, 1, 0, 0, 0, 1e6, time.UTC)
	atLast  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
)

const bigEnvironment mfa.EnvironmentID = 1 << 40

func unknownIsNil(t *testing.T, s mfa.Store) {
	u := NewUser()
	b := u.Bucket()
	for name, r := range map[string]mfa.Read{
		"nothing":   {Bucket: b},
		"factor":    {Bucket: b, Factor: newID(morning, b)},
		"challenge": {Bucket: b, Challenge: newID(morning, b)},
		"user":      {Bucket: b, User: u},
		"phone":     {Bucket: b, Phone: newKey()},
		"tallies":   {Bucket: b, Counters: []delivery.CounterKey{NewTally(b).CounterKey, NewTally(b).CounterKey}},
		"message":   {Bucket: b, Message: newKey()},
		"bypass":    {Bucket: b, Bypass: newKey()},
		"replay":    {Bucket: b, Replay: newReplayKey()},
		"recovery":  {Bucket: b, Recovery: u},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rows := range readBoth(t, s, r) {
				if !nothing(rows) || len(rows.Counters) != len(r.Counters) {
					t.Errorf("read %+v; want nothing", rows)
				}
			}
		})
	}
}

// readBoth returns the rows that an Update and a View read.
func readBoth(t *testing.T, s mfa.Store, r mfa.Read) []mfa.Rows {
	t.Helper()
	var inside mfa.Rows
	if err := s.Update(t.Context(), r, func(tx *mfa.Tx) error { inside = tx.Rows; return nil }); err != nil {
		t.Fatal(err)
	}
	return []mfa.Rows{inside, view(t, s, r)}
}

func factorComesBack(t *testing.T, s mfa.Store) {
	user := mfa.UserKey{Environment: bigEnvironment, ID: awkward}
	b := user.Bucket()
	for name, f := range map[string]*mfa.Factor{
		"full": {
			ID: newID(morning, b), Environment: bigEnvironment, Type: mfa.TOTP, User: awkward,
			Label: []byte{0xff, 0}, Replay: newReplayKey(), CreatedAt: longAgo,
			FactorState: mfa.FactorState{
				Sealed: []byte{0, 1, 0xff, 0}, LastStep: math.MaxInt64, Failures: math.MaxInt32, LockedUntil: atLast,
				LastUsedAt: longAgo, SuspendedAt: atLast, ExpiresAt: atLast, UpdatedAt: morning,
				App: totp.App{Params: totp.Params{Hash: totp.SHA512, Eight: true, Minute: true}, Ahead: -10, Missed: math.MaxInt64},
			},
		},
		"with an app that is ahead": {
			ID: newID(morning, 3), Environment: 1, Type: mfa.TOTP, CreatedAt: morning,
			FactorState: mfa.FactorState{App: totp.App{Params: totp.Params{Hash: totp.SHA256}, Ahead: 10, Missed: 1}, UpdatedAt: morning},
		},
		"of an older release": {
			ID: newID(morning, 1), Environment: 1, Type: mfa.TOTP, CreatedAt: morning, FactorState: mfa.FactorState{Sealed: []byte{1}, UpdatedAt: morning},
			Old: mfa.Unsealed{Issuer: awkward, Account: awkward, Replay: bytes.Repeat([]byte{7}, 32)},
		},
		"bare":         {ID: newID(morning, 0), Environment: 1, Type: mfa.SMS, CreatedAt: morning, FactorState: mfa.FactorState{UpdatedAt: morning}},
		"empty sealed": {ID: newID(morning, mfa.Buckets-1), Environment: 1, Type: mfa.GenericOTP, CreatedAt: morning, FactorState: mfa.FactorState{Sealed: []byte{}}},
		"negative":     {ID: newID(morning, 5), Environment: 1, Type: mfa.TOTP, CreatedAt: atLast, FactorState: mfa.FactorState{LastStep: math.MinInt64, UpdatedAt: longAgo}},
	} {
		t.Run(name, func(t *testing.T) {
			want := *f
			store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
			for _, rows := range readBoth(t, s, readFactor(f.ID)) {
				same(t, rows.Factor, &want)
			}
		})
	}
}

func challengeComesBack(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	b := f.ID.Bucket()
	for name, c := range map[string]*mfa.Challenge{
		"full": {
			ID: newID(morning, b), Factor: f.ID, Type: mfa.SMS, CodeMAC: []byte{0, 1, 0xff}, CreatedAt: longAgo, ExpiresAt: atLast,
			CreatedBy: idempotency.Mark{Key: mfa.ReplayKey{0: 0xff, 15: 1}, Request: [16]byte{15: 2}}, Receipt: []byte{1, 0, 0xff},
			ChallengeState: mfa.ChallengeState{
				SealedCode: []byte{0}, Attempts: 255, RefusalEvents: math.MaxInt32 >> 9, AcceptsRecovery: true,
				Messages: []delivery.Record{
					{Provider: awkward, ID: awkward, State: delivery.Undelivered, Reason: awkward, Segments: 3, At: longAgo, UpdatedAt: atLast},
					{State: delivery.Queued, At: morning, UpdatedAt: morning},
				},
				UpdatedAt: morning, VerifiedAt: morning.Add(time.Millisecond),
				VerifiedBy: idempotency.Mark{Key: mfa.ReplayKey{15: 3}, Request: [16]byte{0: 4}},
			},
		},
		"bare":        {ID: newID(morning, b), Factor: f.ID, CreatedAt: morning, ExpiresAt: morning, ChallengeState: mfa.ChallengeState{UpdatedAt: morning}},
		"empty bytes": {ID: newID(morning, b), Factor: f.ID, CodeMAC: []byte{}, ChallengeState: mfa.ChallengeState{SealedCode: []byte{}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := *c
			store(t, s, b, mfa.InsertChallenge{Challenge: c})
			for _, rows := range readBoth(t, s, readChallenge(c.ID)) {
				same(t, rows.Challenge, &want)
			}
		})
	}
}

// keyFindsChallenge stores challenges of two requests, of which one came twice.
func keyFindsChallenge(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	b := f.ID.Bucket()
	once, twice := newReplayKey(), newReplayKey()
	newest := make(map[mfa.ReplayKey]*mfa.Challenge)
	for i, key := range []mfa.ReplayKey{twice, {}, once, twice, {}} {
		c := NewChallenge(f)
		c.ID = newID(morning.Add(time.Duration(i)*time.Second), b)
		if key != (mfa.ReplayKey{}) {
			c.CreatedBy = idempotency.Mark{Key: key, Request: [16]byte{0: byte(i)}}
			newest[key] = c
		}
		store(t, s, b, mfa.InsertChallenge{Challenge: c})
	}
	for _, key := range []mfa.ReplayKey{once, twice, newReplayKey(), {}} {
		for _, rows := range readBoth(t, s, mfa.Read{Bucket: b, Factor: f.ID, Created: key}) {
			same(t, rows.Created, newest[key])
			same(t, rows.Factor, f)
		}
	}
}

func phoneComesBack(t *testing.T, s mfa.Store) {
	sends := []delivery.Send{{At: longAgo, Ref: delivery.Ref{0, 1, 2}}, {At: morning}, {At: atLast, Ref: delivery.Ref{0xff}}}
	for name, p := range map[string]*delivery.PhoneLimit{
		"full": {Bucket: 7, Key: newKey(), Sends: sends, ExpiresAt: atLast},
		"bare": {Bucket: 7, Key: newKey(), Sends: []delivery.Send{}, ExpiresAt: morning},
	} {
		t.Run(name, func(t *testing.T) {
			store(t, s, 7, mfa.PutPhone{PhoneLimit: p})
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: 7, Phone: p.Key}) {
				same(t, rows.Phone, p)
			}
		})
	}
}

func tallyComesBack(t *testing.T, s mfa.Store) {
	counts := []delivery.Count{{At: longAgo, Sent: math.MaxInt32, Verified: math.MaxInt32}, {At: morning}, {At: atLast, Sent: 2, Verified: 1}}
	for name, y := range map[string]*delivery.Counter{
		"full":     {CounterKey: delivery.CounterKey{Environment: bigEnvironment, Name: awkward}, Sealed: []byte{0, 1}, Counts: counts, PausedUntil: atLast, ExpiresAt: atLast},
		"bare":     {CounterKey: delivery.CounterKey{Environment: 1, Name: "+49"}, Counts: []delivery.Count{}, ExpiresAt: morning},
		"nameless": {CounterKey: delivery.CounterKey{Environment: 1}, Counts: counts[:1], ExpiresAt: morning},
	} {
		t.Run(name, func(t *testing.T) {
			store(t, s, y.Bucket(), mfa.PutCounter{Counter: y})
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: y.Bucket(), Counters: []delivery.CounterKey{y.CounterKey}}) {
				same(t, rows.Counters[0], y)
			}
		})
	}
}

func messageComesBack(t *testing.T, s mfa.Store) {
	for name, m := range map[string]*delivery.MessageRef{
		"full": {
			Bucket: 7, Key: newKey(), Challenge: newID(morning, 7), Number: math.MaxInt32, State: delivery.Failed, Reason: awkward,
			ExpiresAt: atLast,
		},
		"receipt": {Bucket: 7, Key: newKey(), State: delivery.Delivered, ExpiresAt: morning},
		"bare":    {Bucket: 7, Key: newKey(), ExpiresAt: morning},
	} {
		t.Run(name, func(t *testing.T) {
			store(t, s, 7, mfa.PutMessage{MessageRef: m})
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: 7, Message: m.Key}) {
				same(t, rows.Message, m)
			}
		})
	}
}

func bypassComesBack(t *testing.T, s mfa.Store) {
	for name, w := range map[string]*mfa.Bypass{
		"full": {
			Bucket: 7, Key: newKey(), CodeMAC: []byte{0, 0xff}, Guesses: math.MaxInt32, CreatedAt: longAgo, ExpiresAt: atLast,
			Operator: awkward, Reason: awkward,
		},
		"bare": {Bucket: 7, Key: newKey(), CodeMAC: []byte{1}, CreatedAt: morning, ExpiresAt: morning},
	} {
		t.Run(name, func(t *testing.T) {
			store(t, s, 7, mfa.PutBypass{Bypass: w})
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: 7, Bypass: w.Key}) {
				same(t, rows.Bypass, w)
			}
			same(t, view(t, s, mfa.Read{Bucket: 8, Bypass: w.Key}).Bypass, nil)
		})
	}
}

func replayComesBack(t *testing.T, s mfa.Store) {
	for name, r := range map[string]*mfa.Replay{
		"answered": {Bucket: 7, Record: idempotency.Record{
			Key: newReplayKey(), Fingerprint: newKey(), About: newID(morning, 7), Sealed: []byte{0, 0xff}, ExpiresAt: atLast,
		}},
		"claimed": {Bucket: 7, Record: idempotency.Record{Key: newReplayKey(), ExpiresAt: morning}},
	} {
		t.Run(name, func(t *testing.T) {
			store(t, s, 7, mfa.PutReplay{Replay: r})
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: 7, Replay: r.Key}) {
				same(t, rows.Replay, r)
			}
		})
	}
}

func eventComesBack(t *testing.T, s mfa.Store) {
	want := []mfa.Event{
		{
			At: morning, Environment: bigEnvironment, Type: mfa.ChallengeFailed,
			Factor: newID(morning, 7), Challenge: newID(morning, 7), Kind: mfa.SMS, Reason: awkward,
			Caller: "operator:" + awkward, Request: awkward,
			Message: delivery.Trace{Provider: "twilio", Country: "DE", Prefix: "prefix_0123456789ab", Segments: 2, Replaced: delivery.Undelivered},
		},
		{At: morning, Environment: bigEnvironment, Type: mfa.ChallengeVoided, Message: delivery.Trace{Country: "US"}},
		{At: morning.Add(-24 * time.Hour), Environment: 1, Type: mfa.UserUnlocked, Kind: "another kind", Caller: "key_1"},
		{At: morning, Environment: 1, Type: "another type"},
	}
	for i := range want {
		want[i].ID = newID(morning, mfa.Bucket(7+i))
		store(t, s, mfa.Bucket(7+i), mfa.AppendEvent{Event: want[i]})
	}
	got := append(eventsOf(t, s, bigEnvironment), eventsOf(t, s, 1)...)
	for i := range got {
		if b := got[i].ID.Bucket(); b != mfa.Bucket(7+i) {
			t.Errorf("event %d is in bucket %d; want %d", i, b, 7+i)
		}
		got[i].ID = want[i].ID
	}
	sameList(t, got, want)
}

func userIsFoundByKey(t *testing.T, s mfa.Store) {
	one := mfa.UserKey{Environment: 1, ID: awkward}
	two := mfa.UserKey{Environment: bigEnvironment, ID: awkward}
	other := mfa.UserKey{Environment: 1, ID: awkward + " "}
	store(t, s, one.Bucket(), mfa.PutUser{User: &mfa.User{UserKey: one, Failures: 1}})
	store(t, s, two.Bucket(), mfa.PutUser{User: &mfa.User{UserKey: two, Failures: math.MaxInt32}})
	for _, tc := range []struct {
		key  mfa.UserKey
		want *mfa.User
	}{
		{one, &mfa.User{UserKey: one, Failures: 1}},
		{two, &mfa.User{UserKey: two, Failures: math.MaxInt32}},
		{other, nil},
	} {
		for _, rows := range readBoth(t, s, readUser(tc.key)) {
			same(t, rows.User, tc.want)
		}
	}
}
