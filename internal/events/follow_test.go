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

// A log keeps events in memory and counts the reads.
type log struct {
	mu    sync.Mutex
	all   []mfa.Event
	reads int
}

func (l *log) append(epoch time.Time) mfa.EventID {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := mfa.Event{ID: mfa.Position{Epoch: epoch.UnixMilli(), Counter: int64(len(l.all))}.ID(3), At: epoch, Environment: environment, Type: mfa.FactorEnrolled}
	l.all = append(l.all, e)
	return e.ID
}

func (l *log) ReadEvents(_ context.Context, q events.Query) (page events.RawPage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	page.Last = q.After
	from, to := q.Range()
	for _, e := range l.all {
		switch {
		case e.ID.Compare(from) <= 0 || e.ID.Compare(to) >= 0:
		case len(page.Events) == q.Limit:
			page.More = true
			return page, nil
		default:
			if page.Last = e.ID; q.Matches(&e) {
				page.Events = append(page.Events, events.RawEvent{Event: e})
			}
		}
	}
	return page, nil
}

func (l *log) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// follow collects the ids that a follower of q gets.
func follow(ctx context.Context, s *events.Service, q events.Query) (got func() []mfa.EventID) {
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
				l := &log{}
				old := l.append(time.Now().Add(-time.Hour))
				s := events.NewService(l, events.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				follow(ctx, s, events.Query{Environment: environment, After: mfa.FirstEventAt(time.Now())})
				time.Sleep(time.Second)
				q := second(time.Now(), old)
				q.Environment = environment
				follow(ctx, s, q)
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
		l := &log{}
		start := time.Now()
		old := l.append(start.Add(-time.Hour))
		s := events.NewService(l, events.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		join := func(after mfa.EventID) func() []mfa.EventID {
			return follow(ctx, s, events.Query{Environment: environment, After: after})
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
