package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// latest is a position after all events of the tests.
var latest = newID(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), 0)

// readSubject reads all events of a subject page by page, with their users.
func readSubject(t *testing.T, s mfa.Store, q events.SubjectQuery) (all []mfa.Event, users []string, last mfa.EventID) {
	t.Helper()
	if q.To == (mfa.EventID{}) {
		q.To = latest
	}
	for {
		page, err := s.(events.Log).ReadSubject(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) > q.Limit || page.More && len(page.Events) < q.Limit {
			t.Fatalf("a page of %d has %d events, and more: %v", q.Limit, len(page.Events), page.More)
		}
		for _, e := range page.Events {
			all, users = append(all, e.Event), append(users, e.User)
		}
		if last = page.Last; !page.More {
			return all, users, last
		}
		if q.Newest {
			q.To = last
		} else {
			q.From = last
		}
	}
}

// subjectsAreFound imports events of two factors of a user, of another user in the same bucket
// and of a former user, and reads the events of each subject.
func subjectsAreFound(t *testing.T, s mfa.Store) {
	user := NewUser()
	f, g := storeFactor(t, s, user), storeFactor(t, s, user)
	stranger := NewFactor(mfa.UserKey{Environment: user.Environment, ID: "stranger"})
	stranger.ID = newID(morning, f.ID.Bucket())
	store(t, s, f.ID.Bucket(), mfa.InsertFactor{Factor: stranger})
	person := mfa.PersonKey{1, 2, 3}
	c := NewChallenge(f)
	var all []mfa.Event
	var rows []transfer.Row
	for i := range 24 {
		of := []*mfa.Factor{f, g, stranger}[i%3]
		at := morning.Add(time.Duration(i) * time.Minute)
		e := mfa.Event{ID: newID(at, of.ID.Bucket()), At: at, Environment: user.Environment, Type: mfa.FactorLocked, Factor: of.ID, Kind: of.Type}
		if i%6 == 0 {
			e.Type, e.Challenge = mfa.ChallengeFailed, c.ID
		}
		all = append(all, e)
	}
	// An event that concerns no factor, with the name of its user in its context.
	alone := mfa.Event{ID: newID(morning.Add(90*time.Second), f.ID.Bucket()), At: morning, Environment: user.Environment, Type: mfa.UserUnlocked}
	all = slices.Insert(all, 2, alone)
	for _, id := range []mfa.EventID{alone.ID, all[0].ID} {
		rows = append(rows, transfer.Row{EventContext: &mfa.EventContext{Event: id, Person: person, Sealed: []byte("sealed")}})
	}
	importEvents(t, s, all...)
	if err := s.(transfer.Store).Import(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	other := NewEvent(NewFactor(NewUser()))
	other.ID = newID(morning.Add(time.Hour), other.ID.Bucket())
	importEvents(t, s, other)
	factor := func(factors ...*mfa.Factor) events.Subject {
		of := events.Subject{Environment: user.Environment, Bucket: f.ID.Bucket()}
		for _, f := range factors {
			of.Factors = append(of.Factors, f.ID)
		}
		return of
	}
	theirs := factor(f, g)
	theirs.Person = person
	for _, tc := range []struct {
		name string
		of   events.Subject
		want func(e *mfa.Event) bool
	}{
		{"a factor", factor(f), func(e *mfa.Event) bool { return e.Factor == f.ID }},
		{"two factors", factor(f, g), func(e *mfa.Event) bool { return e.Factor == f.ID || e.Factor == g.ID }},
		{"a factor without events", factor(NewFactor(user)), func(*mfa.Event) bool { return false }},
		{"no factor", factor(), func(*mfa.Event) bool { return false }},
		{"a challenge", events.Subject{Environment: 1, Bucket: f.ID.Bucket(), Challenge: c.ID}, func(e *mfa.Event) bool { return e.Challenge == c.ID }},
		{"a person", theirs, func(e *mfa.Event) bool { return e.Factor == f.ID || e.Factor == g.ID || e.ID == alone.ID }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, newest := range []bool{false, true} {
				for _, part := range [][2]mfa.EventID{{}, {all[3].ID, all[15].ID}} {
					var want []mfa.Event
					for _, e := range all {
						inPart := part[1] == mfa.EventID{} || e.ID.Compare(part[0]) > 0 && e.ID.Compare(part[1]) < 0
						if inPart && tc.want(&e) {
							want = append(want, e)
						}
					}
					if newest {
						slices.Reverse(want)
					}
					for _, limit := range []int{1, 3, 100} {
						got, users, last := readSubject(t, s, events.SubjectQuery{Subject: tc.of, From: part[0], To: part[1], Newest: newest, Limit: limit})
						sameList(t, got, want)
						for i, u := range users {
							if owner := (got[i].Factor != mfa.FactorID{}); owner != (u == user.ID) {
								t.Errorf("the user of %+v is %q", got[i], u)
							}
						}
						if end := other.ID; !newest && part[1] == (mfa.EventID{}) && last != end {
							t.Errorf("the last page ends at %s; want the end of the log, %s", last, end)
						}
					}
				}
			}
		})
	}
}

// newEventsOfSubjects appends an event and reads it at once.
func newEventsOfSubjects(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	for range 3 {
		store(t, s, f.ID.Bucket(), mfa.AppendEvent{Event: NewEvent(f)})
	}
	q := events.SubjectQuery{Subject: events.Subject{Environment: f.Environment, Bucket: f.ID.Bucket(), Factors: []mfa.FactorID{f.ID}}, Limit: 2}
	found, _, last := readSubject(t, s, q)
	if len(found) != 3 || last != found[2].ID {
		t.Errorf("read %d events up to %s; want the 3 new ones", len(found), last)
	}
}

// factorsOfUsersAreFound looks for the stored and the deleted factors of a user.
func factorsOfUsersAreFound(t *testing.T, s mfa.Store) {
	user := NewUser()
	stored := storeFactors(t, s, user, 3)
	storeFactors(t, s, NewUser(), 1)
	deleted, person := NewFactor(user), mfa.PersonKey{4, 5, 6}
	store(t, s, user.Bucket(), mfa.InsertDeletedFactor{DeletedFactor: &mfa.DeletedFactor{ID: deleted.ID, Person: person, Sealed: []byte("sealed"), ExpiresAt: morning}})
	for _, tc := range []struct {
		person mfa.PersonKey
		want   []mfa.FactorID
	}{
		{mfa.PersonKey{}, []mfa.FactorID{stored[0].ID, stored[1].ID, stored[2].ID}},
		{mfa.PersonKey{9}, []mfa.FactorID{stored[0].ID, stored[1].ID, stored[2].ID}},
		{person, []mfa.FactorID{stored[0].ID, stored[1].ID, stored[2].ID, deleted.ID}},
	} {
		got, err := s.(events.Log).FactorsOf(t.Context(), user, tc.person)
		if err != nil {
			t.Fatal(err)
		}
		byID := func(a, b mfa.FactorID) int { return slices.Compare(a[:], b[:]) }
		slices.SortFunc(got, byID)
		slices.SortFunc(tc.want, byID)
		if !slices.Equal(got, tc.want) {
			t.Errorf("FactorsOf with person %v = %v; want %v", tc.person, got, tc.want)
		}
	}
}
