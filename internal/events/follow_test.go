package events_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A memoryLog keeps events of one environment.
type memoryLog struct {
	mu    sync.Mutex
	all   []mfa.Event
	reads int
	fails bool
}

func (l *memoryLog) append(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		p := mfa.Position{Epoch: 1, Counter: int64(len(l.all) + 1)}
		typ := mfa.ChallengeCreated
		if len(l.all)%2 == 1 {
			typ = mfa.ChallengeFailed
		}
		l.all = append(l.all, mfa.Event{ID: p.ID(7), Environment: 1, Type: typ})
	}
}

// setFailing makes all reads fail, or succeed again.
func (l *memoryLog) setFailing(fails bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = fails
}

// counted returns the numbers of reads and of events.
func (l *memoryLog) counted() (reads, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads, len(l.all)
}

func (l *memoryLog) ReadEvents(_ context.Context, q events.Query) (page events.RawPage, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.fails {
		return page, mfa.ErrUnavailable
	}
	page.Last = q.After
	for _, e := range l.all {
		switch {
		case e.ID.Compare(q.After) <= 0:
		case len(page.Events) == q.Limit:
			page.More = true
			return page, nil
		default:
			page.Last = e.ID
			if q.Matches(&e) {
				page.Events = append(page.Events, events.RawEvent{Event: e})
			}
		}
	}
	return page, nil
}

// ReadSubject is not used: no test follows the events of a subject.
func (l *memoryLog) ReadSubject(context.Context, events.SubjectQuery) (events.RawPage, error) {
	return events.RawPage{}, errors.ErrUnsupported
}

func (l *memoryLog) FactorsOf(context.Context, mfa.UserKey, mfa.PersonKey) ([]mfa.FactorID, error) {
	return nil, errors.ErrUnsupported
}

// A follower counts the events that it gets, which must come in order.
type follower struct {
	seen int
	last mfa.EventID
	err  error
}

func (f *follower) run(t *testing.T, ctx context.Context, s *events.Service, q events.Query) {
	f.err = s.Follow(ctx, q, func(page events.Page) error {
		for _, e := range page.Events {
			if e.ID.Compare(f.last) <= 0 {
				t.Errorf("%s comes after %s", e.ID, f.last)
			}
			f.last = e.ID
			f.seen++
		}
		return nil
	})
}

func TestFollowersShareOnePoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		log.append(2500)
		s := events.NewService(log, events.Options{})
		ctx, stop := context.WithCancel(t.Context())
		var all [20]follower
		var following sync.WaitGroup
		for i := range all {
			q := events.Query{Environment: 1}
			if i%2 == 1 {
				q.Types = []mfa.EventType{mfa.ChallengeFailed}
			}
			following.Go(func() { all[i].run(t, ctx, s, q) })
		}
		synctest.Wait()
		before, _ := log.counted()
		for range 10 {
			log.append(300)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if reads, _ := log.counted(); reads-before > 11 {
			t.Errorf("20 followers read %d times in a second; want one poll every 100 ms", reads-before)
		}
		log.setFailing(true)
		time.Sleep(time.Second)
		log.setFailing(false)
		log.append(2000) // more than a page
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		stop()
		following.Wait()
		for i, f := range all {
			if want := []int{7500, 3750}[i%2]; f.seen != want || !errors.Is(f.err, context.Canceled) {
				t.Errorf("follower %d got %d events, %v; want %d", i, f.seen, f.err, want)
			}
		}
		idle, _ := log.counted()
		time.Sleep(time.Second)
		synctest.Wait()
		if reads, _ := log.counted(); reads != idle {
			t.Error("the poll goes on without followers")
		}
	})
}

func TestAFollowerThatFailsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		s := events.NewService(log, events.Options{})
		broken := errors.New("the client is gone")
		time.AfterFunc(time.Second, func() { log.append(1) })
		if err := s.Follow(t.Context(), events.Query{Environment: 1}, func(events.Page) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("Follow = %v; want %v", err, broken)
		}
		log.setFailing(true)
		if err := s.Follow(t.Context(), events.Query{Environment: 1}, nil); !errors.Is(err, mfa.ErrUnavailable) {
			t.Errorf("Follow of a store that is not there = %v; want %v", err, mfa.ErrUnavailable)
		}
	})
}

// TestASlowFollowerGetsEverything blocks a follower while more events are appended than the
// poll keeps.
func TestASlowFollowerGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memoryLog{}
		log.append(1)
		s := events.NewService(log, events.Options{})
		ctx, stop := context.WithCancel(t.Context())
		var fast follower
		var following sync.WaitGroup
		following.Go(func() { fast.run(t, ctx, s, events.Query{Environment: 1}) })
		seen, release := 0, make(chan struct{})
		following.Go(func() {
			_ = s.Follow(ctx, events.Query{Environment: 1}, func(page events.Page) error {
				if seen += len(page.Events); seen == 2 {
					<-release
				}
				return nil
			})
		})
		synctest.Wait()
		for i := range 20 {
			log.append([]int{1, 500}[min(1, i)])
			time.Sleep(100 * time.Millisecond)
		}
		close(release)
		synctest.Wait()
		stop()
		following.Wait()
		if _, n := log.counted(); fast.seen != n || seen != n {
			t.Errorf("the followers got %d and %d events; want %d", fast.seen, seen, n)
		}
	})
}
