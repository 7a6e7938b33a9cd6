package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func factorBringsUser(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	key := mfa.UserKey{Environment: f.Environment, ID: f.User}
	for _, rows := range readBoth(t, s, readFactor(f.ID)) {
		same(t, rows.User, nil)
	}
	u := &mfa.User{UserKey: key, Failures: 3}
	store(t, s, f.ID.Bucket(), mfa.PutUser{User: u})
	for _, rows := range readBoth(t, s, readFactor(f.ID)) {
		same(t, rows.Factor, f)
		same(t, rows.User, u)
	}
}

func challengeBringsFactor(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	for _, rows := range readBoth(t, s, readChallenge(c.ID)) {
		same(t, rows.Challenge, c)
		same(t, rows.Factor, f)
		same(t, rows.User, nil)
	}
	u := &mfa.User{UserKey: mfa.UserKey{Environment: f.Environment, ID: f.User}, Failures: 99}
	store(t, s, f.ID.Bucket(), mfa.PutUser{User: u})
	for _, rows := range readBoth(t, s, readChallenge(c.ID)) {
		same(t, rows.User, u)
	}
}

func orphanIsNotRead(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	store(t, s, f.ID.Bucket(), mfa.DeleteFactor{ID: f.ID})
	for _, rows := range readBoth(t, s, readChallenge(c.ID)) {
		same(t, rows.Challenge, nil)
		same(t, rows.Factor, nil)
	}
}

func replaysAreApart(t *testing.T, s mfa.Store) {
	one, two := NewReplay(7), NewReplay(8)
	two.Key = one.Key
	store(t, s, 7, mfa.PutReplay{Replay: one})
	same(t, view(t, s, mfa.Read{Bucket: 8, Replay: one.Key}).Replay, nil)
	store(t, s, 8, mfa.PutReplay{Replay: two})
	same(t, view(t, s, mfa.Read{Bucket: 7, Replay: one.Key}).Replay, one)
	same(t, view(t, s, mfa.Read{Bucket: 8, Replay: one.Key}).Replay, two)
	store(t, s, 7, mfa.DeleteReplay{Bucket: 7, Key: one.Key})
	same(t, view(t, s, mfa.Read{Bucket: 7, Replay: one.Key}).Replay, nil)
	same(t, view(t, s, mfa.Read{Bucket: 8, Replay: one.Key}).Replay, two)
}

func readBringsSeveral(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	b := f.ID.Bucket()
	p, r := &delivery.PhoneLimit{Bucket: b, Key: newKey(), Sends: []delivery.Send{{At: morning}}, ExpiresAt: morning}, NewReplay(b)
	y, m := NewTally(b), NewMessage(b)
	store(t, s, b, mfa.PutPhone{PhoneLimit: p}, mfa.PutCounter{Counter: y}, mfa.PutMessage{MessageRef: m}, mfa.PutReplay{Replay: r})
	for _, rows := range readBoth(t, s, mfa.Read{
		Bucket: b, Challenge: c.ID, Phone: p.Key, Counters: []delivery.CounterKey{y.CounterKey}, Message: m.Key, Replay: r.Key,
	}) {
		same(t, rows.Challenge, c)
		same(t, rows.Factor, f)
		same(t, rows.Phone, p)
		same(t, rows.Counters[0], y)
		same(t, rows.Message, m)
		same(t, rows.Replay, r)
	}
}

// talliesKeepOrder reads tallies in several orders, including tallies that are not
// stored.
func talliesKeepOrder(t *testing.T, s mfa.Store) {
	stored := make(map[delivery.CounterKey]*delivery.Counter)
	var keys []delivery.CounterKey
	for i := range 6 {
		y := NewTally(7)
		keys = append(keys, y.CounterKey)
		if i%3 != 1 {
			stored[y.CounterKey] = y
			store(t, s, 7, mfa.PutCounter{Counter: y})
		}
	}
	for range keys {
		keys = append(keys[1:], keys[0])
		for _, order := range [][]delivery.CounterKey{keys, {keys[4], keys[0], keys[3]}, keys[:1]} {
			for _, rows := range readBoth(t, s, mfa.Read{Bucket: 7, Counters: order}) {
				if len(rows.Counters) != len(order) {
					t.Fatalf("read %d tallies; want %d", len(rows.Counters), len(order))
				}
				for i, key := range order {
					same(t, rows.Counters[i], stored[key])
				}
			}
		}
	}
}

func factorUpdateIsPartial(t *testing.T, s mfa.Store) {
	before, bystander := storeFactor(t, s, NewUser()), storeFactor(t, s, NewUser())
	later := morning.Add(time.Hour)
	store(t, s, before.ID.Bucket(), mfa.UpdateFactor{ID: before.ID, FactorState: mfa.FactorState{
		Sealed: []byte("new"), LastStep: 4, Failures: 5, LockedUntil: later, LastUsedAt: later, SuspendedAt: later, UpdatedAt: later,
		App: totp.App{Params: totp.Params{Minute: true}, Ahead: -3, Missed: 9},
	}})
	want := *before
	want.Sealed, want.LastStep, want.Failures, want.LockedUntil, want.LastUsedAt, want.SuspendedAt, want.UpdatedAt = []byte("new"), 4, 5, later, later, later, later
	want.App = totp.App{Params: totp.Params{Minute: true}, Ahead: -3, Missed: 9}
	same(t, view(t, s, readFactor(before.ID)).Factor, &want)
	same(t, view(t, s, readFactor(bystander.ID)).Factor, bystander)

	store(t, s, before.ID.Bucket(), mfa.UpdateFactor{ID: before.ID, FactorState: mfa.FactorState{UpdatedAt: later}})
	want.Sealed, want.LastStep, want.Failures, want.LockedUntil = nil, 0, 0, time.Time{}
	want.LastUsedAt, want.SuspendedAt, want.App = time.Time{}, time.Time{}, totp.App{}
	same(t, view(t, s, readFactor(before.ID)).Factor, &want)
}

func factorIsSealed(t *testing.T, s mfa.Store) {
	f := NewFactor(NewUser())
	f.Old = mfa.Unsealed{Issuer: "Acme", Account: "ada@example.com", Replay: bytes.Repeat([]byte{7}, 32)}
	f.Failures = 3
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
	want := *f
	want.Sealed, want.Label, want.Old = []byte("new"), []byte("label"), mfa.Unsealed{}
	changed := want
	changed.Failures, changed.LastStep = 99, 99
	store(t, s, f.ID.Bucket(), changed.Seal())
	for _, rows := range readBoth(t, s, readFactor(f.ID)) {
		same(t, rows.Factor, &want)
	}
}

func failuresOutliveFactors(t *testing.T, s mfa.Store) {
	u := NewUser()
	first, second := storeFactor(t, s, u), storeFactor(t, s, u)
	b, former := u.Bucket(), "former_"+u.ID
	retire := mfa.RetireUser{Key: u, Former: former, ExpiresAt: morning.Add(time.Hour)}
	failures := func(want int) {
		t.Helper()
		got := 0
		if u := view(t, s, readUser(u)).User; u != nil {
			got = u.Failures
		}
		if got != want {
			t.Errorf("%d failures are counted; want %d", got, want)
		}
	}
	update := func(r mfa.Read, writes ...mfa.Write) {
		t.Helper()
		if err := s.Update(t.Context(), r, Writing(writes...)); err != nil {
			t.Fatal(err)
		}
	}
	store(t, s, b, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 7}})
	update(readFactor(first.ID), mfa.DeleteFactor{ID: first.ID}, retire)
	failures(7) // the user still has another factor
	update(readFactor(second.ID), mfa.DeleteFactor{ID: second.ID}, retire)
	failures(0)
	third := NewFactor(u)
	update(mfa.Read{Bucket: b}, mfa.InsertFactor{Factor: third}, mfa.RestoreUser{Key: u, Former: former})
	failures(7)
	update(mfa.Read{Bucket: b}, mfa.RestoreUser{Key: u, Former: former})
	failures(7)

	// If both rows count failures at the same time, the counts are added.
	update(readFactor(third.ID), mfa.DeleteFactor{ID: third.ID}, retire)
	store(t, s, b, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 2}})
	update(mfa.Read{Bucket: b}, mfa.RestoreUser{Key: u, Former: former})
	failures(9)
	update(mfa.Read{Bucket: b}, retire)
	store(t, s, b, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 1}})
	update(mfa.Read{Bucket: b}, retire)
	update(mfa.Read{Bucket: b}, mfa.RestoreUser{Key: u, Former: former})
	failures(10)
	if _, err := s.Sweep(t.Context(), mfa.Horizon{Expired: morning.Add(2 * time.Hour)}, 1000); err != nil {
		t.Fatal(err)
	}
	failures(10) // the user has a factor again, so the row does not expire
}

func formerUsersExpire(t *testing.T, s mfa.Store) {
	u := NewUser()
	b, former := u.Bucket(), "former_"+u.ID
	for _, tc := range []struct {
		horizon time.Time
		want    bool
	}{
		{morning.Add(-time.Millisecond), true},
		{morning, false},
	} {
		store(t, s, b, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 7}})
		store(t, s, b, mfa.RetireUser{Key: u, Former: former, ExpiresAt: morning})
		for more := true; more; {
			var err error
			if more, err = s.Sweep(t.Context(), mfa.Horizon{Expired: tc.horizon}, 1000); err != nil {
				t.Fatal(err)
			}
		}
		store(t, s, b, mfa.RestoreUser{Key: u, Former: former})
		if got := view(t, s, readUser(u)).User != nil; got != tc.want {
			t.Errorf("swept to %v: there is %v; want %v", tc.horizon, got, tc.want)
		}
		store(t, s, b, mfa.DeleteUser{Key: u})
	}
}

func challengeUpdateIsPartial(t *testing.T, s mfa.Store) {
	f, before := storeChallenge(t, s)
	bystander := NewChallenge(f)
	later := morning.Add(time.Hour)
	messages := []delivery.Record{{Provider: "one", ID: "new", State: delivery.Sent, At: morning, UpdatedAt: later}}
	store(t, s, f.ID.Bucket(), mfa.InsertChallenge{Challenge: bystander}, mfa.UpdateChallenge{
		ID: before.ID, ChallengeState: mfa.ChallengeState{Messages: messages, Attempts: 3, RefusalEvents: 7, UpdatedAt: later, VerifiedAt: later},
	})
	want := *before
	want.SealedCode, want.Messages, want.Attempts, want.UpdatedAt, want.VerifiedAt = nil, messages, 3, later, later
	want.RefusalEvents = 7
	same(t, view(t, s, readChallenge(before.ID)).Challenge, &want)
	same(t, view(t, s, readChallenge(bystander.ID)).Challenge, bystander)

	store(t, s, f.ID.Bucket(), mfa.UpdateChallenge{ID: before.ID, ChallengeState: mfa.ChallengeState{SealedCode: []byte("again"), UpdatedAt: later}})
	want.SealedCode, want.Messages, want.Attempts, want.RefusalEvents, want.VerifiedAt = []byte("again"), nil, 0, 0, time.Time{}
	same(t, view(t, s, readChallenge(before.ID)).Challenge, &want)
}

func putReplaces(t *testing.T, s mfa.Store) {
	u, p, r := NewUser(), &delivery.PhoneLimit{Key: newKey()}, NewReplay(0)
	p.Bucket, r.Bucket = u.Bucket(), u.Bucket()
	y, m, w := NewTally(u.Bucket()), NewMessage(u.Bucket()), NewBypass(u.Bucket())
	tallies := []delivery.CounterKey{y.CounterKey}
	read := mfa.Read{Bucket: u.Bucket(), User: u, Phone: p.Key, Counters: tallies, Message: m.Key, Bypass: w.Key, Replay: r.Key}
	for n := 1; n <= 3; n++ {
		p.Sends = append(p.Sends, delivery.Send{At: morning, Ref: delivery.Ref{byte(n)}})
		p.ExpiresAt = morning.Add(time.Duration(n) * time.Second)
		r.Fingerprint, r.Sealed, r.ExpiresAt = newKey(), []byte{byte(n)}, p.ExpiresAt
		y.Counts = append(y.Counts, delivery.Count{At: p.ExpiresAt, Sent: n, Verified: 10 - n})
		y.PausedUntil, y.ExpiresAt = p.ExpiresAt.Add(time.Hour), p.ExpiresAt
		m.Challenge, m.Number, m.State = newID(morning, m.Bucket), n, []delivery.State{"", delivery.Sent, delivery.Delivered, ""}[n]
		m.Reason, m.ExpiresAt = string(m.State), p.ExpiresAt
		w.CodeMAC, w.Guesses, w.ExpiresAt = []byte{byte(n)}, n, p.ExpiresAt
		user := &mfa.User{UserKey: u, Failures: 10 - n}
		store(t, s, u.Bucket(), mfa.PutUser{User: user}, mfa.PutPhone{PhoneLimit: p}, mfa.PutCounter{Counter: y},
			mfa.PutMessage{MessageRef: m}, mfa.PutBypass{Bypass: w}, mfa.PutReplay{Replay: r})
		for _, rows := range readBoth(t, s, read) {
			same(t, rows.User, user)
			same(t, rows.Phone, p)
			same(t, rows.Counters[0], y)
			same(t, rows.Message, m)
			same(t, rows.Bypass, w)
			same(t, rows.Replay, r)
		}
	}
	r.Sealed, y.PausedUntil = nil, time.Time{}
	store(t, s, u.Bucket(), mfa.PutReplay{Replay: r}, mfa.PutCounter{Counter: y})
	rows := view(t, s, read)
	same(t, rows.Replay, r)
	same(t, rows.Counters[0], y)
}

func deleteRemoves(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	kept := NewChallenge(f)
	b := f.ID.Bucket()
	u := mfa.UserKey{Environment: f.Environment, ID: f.User}
	r, keptReplay := NewReplay(b), NewReplay(b)
	w, keptBypass := NewBypass(b), NewBypass(b)
	store(t, s, b, mfa.InsertChallenge{Challenge: kept}, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 1}},
		mfa.PutReplay{Replay: r}, mfa.PutReplay{Replay: keptReplay}, mfa.PutBypass{Bypass: w}, mfa.PutBypass{Bypass: keptBypass})

	store(t, s, b, mfa.DeleteChallenge{ID: c.ID}, mfa.DeleteUser{Key: u}, mfa.DeleteReplay{Bucket: b, Key: r.Key},
		mfa.DeleteBypass{Bucket: b, Key: w.Key})
	gone := view(t, s, mfa.Read{Bucket: b, Challenge: c.ID, User: u, Bypass: w.Key, Replay: r.Key})
	if !nothing(gone) {
		t.Errorf("View = %+v; want nothing", gone)
	}
	left := view(t, s, mfa.Read{Bucket: b, Challenge: kept.ID, Bypass: keptBypass.Key, Replay: keptReplay.Key})
	same(t, left.Bypass, keptBypass)
	same(t, left.Challenge, kept)
	same(t, left.Factor, f)
	same(t, left.Replay, keptReplay)

	store(t, s, b, mfa.DeleteFactor{ID: f.ID})
	same(t, view(t, s, readFactor(f.ID)).Factor, nil)
}

func replayIsForgotten(t *testing.T, s mfa.Store) {
	r, kept := NewReplay(7), NewReplay(7)
	r.About, kept.About = newID(morning, 7), newID(morning, 7)
	store(t, s, 7, mfa.PutReplay{Replay: r}, mfa.PutReplay{Replay: kept})
	store(t, s, 7, mfa.ForgetReplay{Bucket: 7, Key: r.Key, Factor: r.About},
		mfa.ForgetReplay{Bucket: 7, Key: kept.Key, Factor: newID(morning, 7)},
		mfa.ForgetReplay{Bucket: 7, Key: newReplayKey(), Factor: r.About})
	want := *r
	want.Sealed = []byte{}
	same(t, view(t, s, mfa.Read{Bucket: 7, Replay: r.Key}).Replay, &want)
	same(t, view(t, s, mfa.Read{Bucket: 7, Replay: kept.Key}).Replay, kept)
}

func deleteRepeats(t *testing.T, s mfa.Store) {
	u := NewUser()
	b := u.Bucket()
	store(t, s, b, mfa.DeleteUser{Key: u}, mfa.DeleteReplay{Bucket: b, Key: newReplayKey()}, mfa.DeleteChallenge{ID: newID(morning, b)},
		mfa.DeleteBypass{Bucket: b, Key: newKey()})
}

func writesKeepOrder(t *testing.T, s mfa.Store) {
	f := NewFactor(NewUser())
	u := mfa.UserKey{Environment: f.Environment, ID: f.User}
	again := *f
	again.Label = []byte("the second")
	err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket(), User: u}, Writing(
		mfa.InsertFactor{Factor: f}, mfa.DeleteFactor{ID: f.ID}, mfa.InsertFactor{Factor: &again},
		mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 1}}, mfa.DeleteUser{Key: u},
		mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 2}}, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 3}}))
	if err != nil {
		t.Fatal(err)
	}
	rows := view(t, s, readFactor(f.ID))
	same(t, rows.Factor, &again)
	same(t, rows.User, &mfa.User{UserKey: u, Failures: 3})
}

func rowsAreOwn(t *testing.T, s mfa.Store) {
	f, c := storeChallenge(t, s)
	c.Messages = []delivery.Record{{Provider: "one", State: delivery.Queued, At: morning, UpdatedAt: morning}}
	store(t, s, c.ID.Bucket(), c.Update())
	err := s.Update(t.Context(), readChallenge(c.ID), func(tx *mfa.Tx) error {
		tx.Challenge.Attempts, tx.Challenge.CodeMAC, tx.Challenge.Messages[0].Reason = 99, []byte("X"), "another"
		tx.Factor.Failures, tx.Factor.User = 99, "another"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range readBoth(t, s, readChallenge(c.ID)) {
		same(t, rows.Challenge, c)
		same(t, rows.Factor, f)
	}
}
