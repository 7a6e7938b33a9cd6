package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func factorsArePaged(t *testing.T, s mfa.Store) {
	want := make(map[mfa.FactorID]*mfa.Factor)
	for i := range 21 {
		f := NewFactor(mfa.UserKey{Environment: mfa.EnvironmentID(1 + i%2)}) // without a user, in two environments
		f.ID = newID(morning.Add(time.Duration(-i)*time.Hour), mfa.Bucket(i%3))
		want[f.ID] = f
		store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
	}
	got := make(map[mfa.FactorID]*mfa.Factor)
	var after mfa.FactorID
	for {
		page, err := s.FactorsAfter(t.Context(), after, 4)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if len(page) > 4 {
			t.Fatalf("a page has %d factors; want at most 4", len(page))
		}
		for i := range page {
			after = page[i].ID
			if got[after] != nil {
				t.Errorf("%s came twice", after)
			}
			got[after] = &page[i]
		}
	}
	for id, f := range want {
		same(t, got[id], f)
	}
	if len(got) != len(want) {
		t.Errorf("listed %d factors; want %d", len(got), len(want))
	}
}

// storeFactors stores n factors of u and returns them, oldest first.
func storeFactors(t *testing.T, s mfa.Store, u mfa.UserKey, n int) []mfa.Factor {
	t.Helper()
	all := make([]mfa.Factor, n)
	for i := range all {
		all[i] = *storeFactor(t, s, u)
	}
	return all
}

func list(t *testing.T, s mfa.Store, q mfa.FactorQuery) []mfa.Factor {
	t.Helper()
	found, err := s.Factors(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func expiredAreListed(t *testing.T, s mfa.Store) {
	expiring := func(at time.Time) mfa.FactorID {
		f := NewFactor(NewUser())
		f.ExpiresAt = at
		store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: f})
		return f.ID
	}
	list := func(at time.Time, limit int, want ...mfa.FactorID) {
		t.Helper()
		found, err := s.ExpiredFactors(t.Context(), at, limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []mfa.FactorID
		for i := range found {
			got = append(got, found[i].ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the factors that expired until %v are %v; want %v", at, got, want)
		}
	}
	list(morning, 10)
	storeFactor(t, s, NewUser()) // never expires
	second, first := expiring(morning.Add(-time.Millisecond)), expiring(morning.Add(-time.Hour))
	third := expiring(morning)
	expiring(morning.Add(time.Millisecond))
	list(morning, 10, first, second, third)
	list(morning, 2, first, second)
	list(longAgo, 10)
	found := view(t, s, readFactor(second)).Factor
	found.ExpiresAt = time.Time{}
	store(t, s, second.Bucket(), found.Update())
	store(t, s, first.Bucket(), mfa.DeleteFactor{ID: first})
	list(morning, 10, third)
}

func factorsBothWays(t *testing.T, s mfa.Store) {
	u := NewUser()
	up := storeFactors(t, s, u, 7)
	down := slices.Clone(up)
	slices.Reverse(down)
	for _, tc := range []struct {
		name      string
		ascending bool
		all       []mfa.Factor
	}{
		{"oldest first", true, up},
		{"newest first", false, down},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := mfa.FactorQuery{User: u, Ascending: tc.ascending, Limit: 100}
			sameList(t, list(t, s, q), tc.all)
			q.Limit = 3
			var got []mfa.Factor
			for page := list(t, s, q); len(page) > 0; page = list(t, s, q) {
				got, q.After = append(got, page...), page[len(page)-1].ID
			}
			sameList(t, got, tc.all)
		})
	}
}

func factorsBetween(t *testing.T, s mfa.Store) {
	u := NewUser()
	f := storeFactors(t, s, u, 6)
	id := func(i int) mfa.FactorID { return f[i].ID }
	for _, tc := range []struct {
		name string
		q    mfa.FactorQuery
		want []int
	}{
		{"up, after", mfa.FactorQuery{Ascending: true, After: id(2)}, []int{3, 4, 5}},
		{"up, until", mfa.FactorQuery{Ascending: true, Until: id(2)}, []int{0, 1}},
		{"up, both", mfa.FactorQuery{Ascending: true, After: id(1), Until: id(4)}, []int{2, 3}},
		{"up, neighbours", mfa.FactorQuery{Ascending: true, After: id(1), Until: id(2)}, nil},
		{"up, crossed", mfa.FactorQuery{Ascending: true, After: id(4), Until: id(1)}, nil},
		{"down, after", mfa.FactorQuery{After: id(2)}, []int{1, 0}},
		{"down, until", mfa.FactorQuery{Until: id(2)}, []int{5, 4, 3}},
		{"down, both", mfa.FactorQuery{After: id(4), Until: id(1)}, []int{3, 2}},
		{"down, crossed", mfa.FactorQuery{After: id(1), Until: id(4)}, nil},
		{"down, limit", mfa.FactorQuery{After: id(4), Limit: 2}, []int{3, 2}},
		{"up, limit", mfa.FactorQuery{Ascending: true, After: id(0), Limit: 2}, []int{1, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.q.User = u
			if tc.q.Limit == 0 {
				tc.q.Limit = 100
			}
			var want []mfa.Factor
			for _, i := range tc.want {
				want = append(want, f[i])
			}
			sameList(t, list(t, s, tc.q), want)
		})
	}
}

func factorsAreOwn(t *testing.T, s mfa.Store) {
	u := NewUser()
	want := storeFactors(t, s, u, 2)
	elsewhere := mfa.UserKey{Environment: u.Environment + 1, ID: u.ID}
	storeFactors(t, s, elsewhere, 2)
	for _, stranger := range []mfa.Factor{
		{Environment: elsewhere.Environment, User: u.ID},    // in the same bucket
		{Environment: u.Environment, User: u.ID + "x"},      // in the same bucket
		{Environment: u.Environment, User: u.ID[1:]},        // in the same bucket
		{Environment: u.Environment, User: ""},              // in the same bucket
		{Environment: u.Environment, User: " " + u.ID + ""}, // in the same bucket
	} {
		stranger.ID, stranger.Type, stranger.CreatedAt = newID(morning, u.Bucket()), mfa.TOTP, morning
		store(t, s, u.Bucket(), mfa.InsertFactor{Factor: &stranger})
	}
	for _, ascending := range []bool{true, false} {
		sameList(t, list(t, s, mfa.FactorQuery{User: u, Ascending: ascending, Limit: 100}), want)
		slices.Reverse(want)
	}
	if got := list(t, s, mfa.FactorQuery{User: NewUser(), Limit: 100}); len(got) > 0 {
		t.Errorf("an unknown user has %+v", got)
	}
}

// talliesAreListed uses two environments in one bucket and a third one in another
// bucket.
func talliesAreListed(t *testing.T, s mfa.Store) {
	one := NewTally(7).Environment
	two := one + 1
	for (delivery.CounterKey{Environment: two}).Bucket() != 7 {
		two++
	}
	want := make(map[delivery.CounterKey]*delivery.Counter)
	for i := range 15 {
		y := NewTally(7)
		y.Environment = []mfa.EnvironmentID{one, two, NewTally(8).Environment}[i%3]
		y.Counts = []delivery.Count{{At: morning, Sent: i}}
		y.PausedUntil = []time.Time{{}, morning}[i%2]
		want[y.CounterKey] = y
		store(t, s, y.Bucket(), mfa.PutCounter{Counter: y})
	}
	listed := 0
	for env, n := range map[mfa.EnvironmentID]int{one: 5, two: 5, NewTally(8).Environment: 5, NewTally(9).Environment: 0} {
		all, err := s.Counters(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != n {
			t.Errorf("environment %d has %d tallies; want %d", env, len(all), n)
		}
		for i := range all {
			if all[i].Environment != env {
				t.Errorf("%+v is listed for environment %d", all[i].CounterKey, env)
			}
			same(t, &all[i], want[all[i].CounterKey])
			delete(want, all[i].CounterKey)
			listed++
		}
	}
	if listed != 15 || len(want) > 0 {
		t.Errorf("listed %d tallies and not %d others; want 15", listed, len(want))
	}
}

func pingAnswers(t *testing.T, s mfa.Store) {
	p, ok := s.(interface{ Ping(context.Context) error })
	if !ok {
		t.Skip("this store cannot be asked")
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
