package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// followers watch the events of each environment that has enabled endpoints.
type followers struct {
	d       *Dispatcher
	cancels map[mfa.EnvironmentID]context.CancelFunc
	running sync.WaitGroup
}

func newFollowers(d *Dispatcher) *followers {
	return &followers{d: d, cancels: make(map[mfa.EnvironmentID]context.CancelFunc)}
}

// update starts and ends followers. at has the environments and where to start.
func (f *followers) update(ctx context.Context, at map[mfa.EnvironmentID]mfa.EventID) {
	for env, after := range at {
		if f.cancels[env] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		f.cancels[env] = cancel
		f.running.Go(func() { f.follow(ctx, env, after) })
	}
	for env, cancel := range f.cancels {
		if _, ok := at[env]; !ok {
			cancel()
			delete(f.cancels, env)
		}
	}
}

const (
	followPause = time.Second // after an error
	// followBack is how far back a new follower looks. The check finds older events: an
	// endpoint may be behind by a million events.
	followBack = time.Minute
)

// follow wakes endpoints when events arrive. It does not deliver them: each endpoint reads
// on from its own cursor.
func (f *followers) follow(ctx context.Context, env mfa.EnvironmentID, after mfa.EventID) {
	q := events.Query{Environment: env, After: after, Since: f.d.now().Add(-followBack)}
	for ctx.Err() == nil {
		err := f.d.log.Follow(ctx, q, func(page events.Page) error {
			q.After = page.Last
			f.d.arrived(ctx, env, page)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		f.d.failed("new events", err)
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

func (f *followers) stop() {
	for _, cancel := range f.cancels {
		cancel()
	}
	f.running.Wait()
}
