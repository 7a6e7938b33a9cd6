package events_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

const environment mfa.EnvironmentID = 1

// A slowLog keeps events in memory, counts the reads and takes time for each.
type slowLog struct {
	mu    sync.Mutex
	all   []mfa.Event
	reads int
	scans int           // events that a read looks at; 0: all
	takes time.Duration // how long a read takes
}

func (l *slowLog) append(epoch time.Time) mfa.EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := mfa.Event{ID: mfa.Position{Epoch: epoch.UnixMilli(), Counter: int64(len(l.all))}.ID(3), At: epoch, Environment: environment, Type: mfa.FactorEnrolled}
	l.all = append(l.all, e)
	return e.ID
}

func (l *slowLog) ReadEvents(_ context.Context, q events.Query) (page events.RawPage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	time.Sleep(l.takes)
	page.Last = q.After
	from, to := q.Range()
	scanned := 0
	for _, e := range l.all {
		switch {
		case e.ID.Compare(from) <= 0 || e.ID.Compare(to) >= 0:
		case l.scans > 0 && scanned == l.scans:
			page.More = true
			return page, nil
		case len(page.Events) == q.Limit:
			page.More = true
			return page, nil
		default:
			scanned++
			if page.Last = e.ID; q.Matches(&e) {
				page.Events = append(page.Events, events.RawEvent{Event: e})
			}
		}
	}
	return page, nil
}

// ReadSubject finds no events.
func (l *slowLog) ReadSubject(_ context.Context, q events.SubjectQuery) (page events.RawPage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if n := len(l.all); n > 0 {
		page.Last = l.all[n-1].ID
	}
	return page, nil
}

// FactorsOf finds no factors.
func (l *slowLog) FactorsOf(context.Context, mfa.UserKey, mfa.PersonKey) ([]mfa.FactorID, error) {
	return nil, nil
}

func (l *slowLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// collect returns a function for the ids that a follower of q gets.
func collect(ctx context.Context, s *events.Service, q events.Query) (got func() []mfa.EventID) {
	var mu sync.Mutex
	var all []mfa.EventID
	go func() {
		_ = s.Follow(ctx, q, func(p events.Page) error { // it ends with ctx
			mu.Lock()
			defer mu.Unlock()
			for _, e := range p.Events {
				all = append(all, e.ID)
			}
			return nil
		})
	}()
	return func() []mfa.EventID {
		mu.Lock()
		defer mu.Unlock()
		return append([]mfa.EventID(nil), all...)
	}
}

// TestFollowersOfAQuietEnvironmentShareAPoll lets followers join in an order in which the
// later one is at the earlier position.
func TestFollowersOfAQuietEnvironmentShareAPoll(t *testing.T) {
	for name, second := range map[string]func(now time.Time, old mfa.EventID) events.Query{
		"at an old event":     func(_ time.Time, old mfa.EventID) events.Query { return events.Query{After: old} },
		"at a time in future": func(now time.Time, _ mfa.EventID) events.Query { return events.Query{Since: now.Add(8 * time.Hour)} },
		"at an unknown factor": func(now time.Time, _ mfa.EventID) events.Query {
			return events.Query{Factor: mfa.FactorID(mfa.FirstEventAt(now.Add(time.Hour)))}
		},
		"at a time before":     func(now time.Time, _ mfa.EventID) events.Query { return events.Query{Since: now.Add(-time.Minute)} },
		"at the oldest event":  func(time.Time, mfa.EventID) events.Query { return events.Query{} },
		"at the same position": func(now time.Time, _ mfa.EventID) events.Query { return events.Query{After: mfa.FirstEventAt(now)} },
		"at a place in a month": func(now time.Time, _ mfa.EventID) events.Query {
			return events.Query{After: mfa.FirstEventAt(now.AddDate(0, 1, 0))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &slowLog{}
				old := l.append(time.Now().Add(-time.Hour))
				s := events.NewService(l, events.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				collect(ctx, s, events.Query{Environment: environment, After: mfa.FirstEventAt(time.Now())})
				time.Sleep(time.Second)
				q := second(time.Now(), old)
				q.Environment = environment
				collect(ctx, s, q)
				time.Sleep(time.Second)
				before := l.count()
				time.Sleep(10 * time.Second)
				if n := l.count() - before; n > 101 {
					t.Errorf("two followers read %d times in 10 s; want 100", n)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// TestNoFollowerMissesAnEvent lets followers join at many positions while events arrive.
func TestNoFollowerMissesAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{}
		start := time.Now()
		old := l.append(start.Add(-time.Hour))
		s := events.NewService(l, events.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		join := func(after mfa.EventID) func() []mfa.EventID {
			return collect(ctx, s, events.Query{Environment: environment, After: after})
		}
		joined := []func() []mfa.EventID{join(mfa.FirstEventAt(start))}
		time.Sleep(150 * time.Millisecond)
		joined = append(joined, join(old)) // lowers the feed
		var want []mfa.EventID
		for range 50 {
			time.Sleep(37 * time.Millisecond)
			want = append(want, l.append(time.Now()), l.append(time.Now()))
			joined = append(joined, join(old), join(mfa.FirstEventAt(start)))
		}
		time.Sleep(time.Second)
		for i, got := range joined {
			ids := got()
			if len(ids) != len(want) {
				t.Fatalf("follower %d got %d events; want %d", i, len(ids), len(want))
			}
			for j := range ids {
				if ids[j] != want[j] {
					t.Fatalf("event %d of follower %d is %s; want %s", j, i, ids[j], want[j])
				}
			}
		}
		cancel()
		synctest.Wait()
	})
}

// TestABriefSearchLooksOnceAtASlowLog asks for an event behind many others.
func TestABriefSearchLooksOnceAtASlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{scans: 10, takes: events.BriefSearch}
		for range 100 {
			l.append(time.Now())
		}
		start := time.Now()
		page, err := events.NewService(l, events.Options{}).List(t.Context(), events.Query{
			Environment: environment, Types: []mfa.EventType{mfa.FactorLocked}, Limit: 10, Search: events.BriefSearch,
		})
		if err != nil || !page.More || len(page.Events) != 0 || page.Last != l.all[9].ID {
			t.Errorf("List = %+v, %v; want the position of the tenth event", page, err)
		}
		if took := time.Since(start); took != events.BriefSearch {
			t.Errorf("it took %v; want one read", took)
		}
	})
}

// TestASearchOfALongLogEnds asks for one event at the end of a log that is slow to read.
func TestASearchOfALongLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{scans: 10, takes: 100 * time.Millisecond}
		for range 3000 {
			l.append(time.Now())
		}
		l.all[2999].Type = mfa.FactorLocked
		s := events.NewService(l, events.Options{})
		q := events.Query{Environment: environment, Types: []mfa.EventType{mfa.FactorLocked}, Limit: 10}
		for pages := 1; ; pages++ {
			start := time.Now()
			page, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 11*time.Second {
				t.Errorf("page %d took %v", pages, took)
			}
			if !page.More {
				if len(page.Events) != 1 || page.Events[0].ID != l.all[2999].ID || pages != 3 {
					t.Errorf("page %d has %d events", pages, len(page.Events))
				}
				return
			}
			if len(page.Events) > 0 || page.Last.Compare(q.After) <= 0 {
				t.Fatalf("page %d has %d events and ends at %s", pages, len(page.Events), page.Last)
			}
			q.After = page.Last
		}
	})
}
