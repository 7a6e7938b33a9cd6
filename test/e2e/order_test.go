package e2e_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// An orderCheck follows the events of an environment while nodes write them, with a reader
// that asks again and again and one that waits.
type orderCheck struct {
	t       *testing.T
	service *events.Service
	stop    context.CancelFunc
	reading sync.WaitGroup

	mu               sync.Mutex
	polled, followed []mfa.EventID
}

// checkOrder starts both readers of the database at url.
func checkOrder(t *testing.T, url string, env mfa.EnvironmentID) *orderCheck {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	ctx, stop := context.WithCancel(t.Context())
	o := &orderCheck{t: t, service: events.NewService(s, events.Options{}), stop: stop}
	add := func(to *[]mfa.EventID, page events.Page) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, e := range page.Events {
			*to = append(*to, e.ID)
		}
	}
	o.reading.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for q := (events.Query{Environment: env}); ctx.Err() == nil; <-tick.C {
			if page, err := o.service.List(ctx, q); err == nil {
				add(&o.polled, page)
				q.After = page.Last
			}
		}
	})
	o.reading.Go(func() {
		_ = o.service.Follow(ctx, events.Query{Environment: env}, func(page events.Page) error {
			add(&o.followed, page)
			return nil
		})
	})
	return o
}

// end waits until both readers have seen as many events as there are, and compares the events.
// No node writes any more.
func (o *orderCheck) end(env mfa.EnvironmentID) {
	o.t.Helper()
	var all []mfa.EventID
	for q, more := (events.Query{Environment: env}), true; more; {
		page, err := o.service.List(o.t.Context(), q)
		if err != nil {
			o.t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, e.ID)
		}
		q.After, more = page.Last, page.More
	}
	poll(o.t, "the readers have seen all events", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.polled) >= len(all) && len(o.followed) >= len(all)
	})
	o.stop()
	o.reading.Wait()
	if !slices.Equal(o.polled, all) || !slices.Equal(o.followed, all) {
		o.t.Errorf("of %d events, one reader has seen %d and the other %d, or in another order", len(all), len(o.polled), len(o.followed))
	}
	o.t.Logf("both readers have seen %d events in one order", len(all))
}
