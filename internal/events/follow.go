package events

import (
	"context"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Follow calls fn with the events after q.After as they become readable, until ctx ends or
// fn fails. It returns the error of fn, of ctx or of the first read. Later errors of the
// store do not end it: it reads again until the store answers.
// All followers of an environment in this process share one poll of the store.
func (s *Service) Follow(ctx context.Context, q Query, fn func(Page) error) error {
	if q.Limit <= 0 {
		q.Limit = maxLimit
	}
	for first := true; ; first = false {
		before := q.After
		page, err := s.List(ctx, q)
		switch {
		case err != nil && (first || ctx.Err() != nil):
			return err
		case err != nil:
			if err := pause(ctx, s.opts.Poll); err != nil {
				return err
			}
			continue
		}
		q.After = page.Last
		if len(page.Events) > 0 {
			if err := fn(page); err != nil {
				return err
			}
		}
		if page.More {
			continue
		}
		// The query asks for no event up to the beginning of its range.
		if from, _ := q.Range(); from.Compare(q.After) > 0 {
			q.After = from
		}
		if err := s.wait(ctx, &q, fn); err != nil {
			return err
		}
		if q.After == before { // nothing is new, and the feed begins later
			if err := pause(ctx, s.opts.Poll); err != nil {
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// wait passes the new events of the environment's feed to fn, for a follower that has seen
// all events up to q.After. It returns nil when the feed has not kept the next event.
func (s *Service) wait(ctx context.Context, q *Query, fn func(Page) error) error {
	f := s.feeds.join(s, q.Environment, q.After)
	defer s.feeds.leave(f)
	for {
		found, last, changed, ok := f.after(q.After)
		if !ok {
			return nil
		}
		page := Page{Last: last}
		for _, e := range found {
			if q.Matches(&e.Event) && (q.User == "" || e.User == q.User) {
				page.Events = append(page.Events, e)
			}
		}
		q.After = last
		if len(page.Events) > 0 {
			if err := fn(page); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// feeds are the polls of a Service, one for each environment that has followers. The zero
// value is ready to use.
type feeds struct {
	mu  sync.Mutex
	all map[mfa.EnvironmentID]*feed
}

// keepRecent is the number of events that a feed keeps at least for slower followers.
const keepRecent = 1000

// A feed polls the events of one environment.
type feed struct {
	env       mfa.EnvironmentID
	followers int // guarded by feeds.mu
	stop      context.CancelFunc

	mu      sync.Mutex
	start   mfa.EventID // kept has all events after it, up to last
	last    mfa.EventID
	kept    []Event
	changed chan struct{} // closed when last changes
}

// join returns the feed of an environment. Without one, it starts a poll at a position
// that has no readable event after it.
func (s *feeds) join(of *Service, env mfa.EnvironmentID, at mfa.EventID) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.all[env]
	if f == nil {
		ctx, stop := context.WithCancel(context.Background())
		f = &feed{env: env, stop: stop, start: at, last: at, changed: make(chan struct{})}
		if s.all == nil {
			s.all = make(map[mfa.EnvironmentID]*feed)
		}
		s.all[env] = f
		go f.poll(ctx, of)
	}
	f.followers++
	f.lower(at)
	return f
}

// lower lets a feed without events begin earlier, for a follower that is at an earlier
// position. Otherwise that follower would have to poll the store itself until an event
// arrives.
func (f *feed) lower(at mfa.EventID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) == 0 && at.Compare(f.start) < 0 {
		f.start, f.last = at, at
	}
}

// leave ends the poll after the last follower.
func (s *feeds) leave(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.followers--; f.followers == 0 {
		f.stop()
		delete(s.all, f.env)
	}
}

// after returns the events after a position, the position of the last of them, and a channel
// that is closed when there are more. ok is false if the feed does not have all of them.
func (f *feed) after(at mfa.EventID) (found []Event, last mfa.EventID, changed <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.Compare(f.start) < 0 {
		return nil, at, nil, false
	}
	for i := range f.kept {
		if id := f.kept[i].ID; id.Compare(at) > 0 {
			return f.kept[i:], f.last, f.changed, true
		}
	}
	if f.last.Compare(at) > 0 {
		at = f.last
	}
	return nil, at, f.changed, true
}

func (f *feed) poll(ctx context.Context, s *Service) {
	for pause(ctx, s.opts.Poll) == nil {
		for {
			after := f.position()
			page, err := s.List(ctx, Query{Environment: f.env, After: after, Limit: maxLimit})
			if err != nil {
				break // the next poll tries again
			}
			f.add(after, page)
			if !page.More {
				break
			}
		}
	}
}

func (f *feed) position() mfa.EventID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// add appends a page of the events after a position, unless the feed begins earlier by now.
// Followers may still read the events that it replaces.
func (f *feed) add(after mfa.EventID, page Page) {
	if len(page.Events) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != after {
		return
	}
	if n := len(f.kept) - keepRecent; n > 0 {
		f.start = f.kept[n-1].ID
		f.kept = append([]Event(nil), f.kept[n:]...)
	}
	f.kept = append(f.kept, page.Events...)
	f.last = page.Last
	close(f.changed)
	f.changed = make(chan struct{})
}
