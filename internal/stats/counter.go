package stats

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Counter counts the events of all environments. Every node runs one. The node that has
// counted events of an environment keeps it for a few seconds; the others look on. That only
// saves work: the position, which changes only from the value that the counts start at, is
// what keeps two nodes from counting an event twice.
type Counter struct {
	store Store
	log   events.Log
	opts  Options
	id    [16]byte

	mu     sync.Mutex
	oldest map[mfa.EnvironmentID]time.Time // the oldest event that is not counted, where there is one
	stale  bool                            // factors have changed since the last walk began
}

// Options change how a Counter works. Zero fields take their defaults.
type Options struct {
	Environments func(context.Context) ([]mfa.EnvironmentID, error) // required
	Retention    time.Duration                                      // of rows; default 9,600 h
	Failed       func()                                             // called after an interruption of the counting; must not wait
	Logger       *slog.Logger                                       // default slog.Default()
	Now          func() time.Time                                   // default time.Now
	Rand         io.Reader                                          // default crypto/rand.Reader
	Poll         time.Duration                                      // between two looks for new events; default 1 s
	Page         int                                                // the largest number of events in one transaction; default 1,000
}

const (
	// DefaultRetention is that of events.
	DefaultRetention = 9600 * time.Hour
	// prefixRetention bounds the rows of prefixes, which are the largest.
	prefixRetention = 93 * 24 * time.Hour

	listEvery    = 5 * time.Second // new environments
	longestPoll  = 5 * time.Second // of an environment without new events
	pollPerEach  = 10 * time.Millisecond
	leaseFor     = 15 * time.Second // of an environment
	longestPause = 30 * time.Second // after a fault of the store
)

// NewCounter returns a Counter of the events of log.
func NewCounter(store Store, log events.Log, opts Options) (*Counter, error) {
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	opts.Now = wallclock.Or(opts.Now)
	opts.Retention = cmp.Or(opts.Retention, DefaultRetention)
	opts.Poll = cmp.Or(opts.Poll, time.Second)
	opts.Page = cmp.Or(opts.Page, 1000)
	if opts.Failed == nil {
		opts.Failed = func() {}
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	c := &Counter{store: store, log: log, opts: opts, oldest: make(map[mfa.EnvironmentID]time.Time), stale: true}
	_, err := io.ReadFull(opts.Rand, c.id[:])
	return c, err
}

func (c *Counter) now() time.Time { return c.opts.Now().UTC().Truncate(time.Millisecond) }

// Lag returns the age of the oldest event that is not counted, of all environments, as of the
// last look of this node a few seconds ago; 0 if all are counted.
func (c *Counter) Lag() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lag time.Duration
	for _, at := range c.oldest {
		lag = max(lag, c.now().Sub(at))
	}
	return lag
}

// A source is an environment whose events are counted.
type source struct {
	env   mfa.EnvironmentID
	every time.Duration // between two looks
	next  time.Duration // of the next look, since the start of Run
}

// Run counts until ctx ends. It logs faults of the store and tries again.
func (c *Counter) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { c.maintain(ctx) })
	sources := map[mfa.EnvironmentID]*source{}
	running := wallclock.Start()
	listed := time.Duration(-1)
	for pause := c.opts.Poll; ; {
		var err error
		if now := running.Elapsed(); listed < 0 || now-listed >= listEvery {
			if err = c.list(ctx, sources); err == nil {
				listed = now
			}
		}
		for _, src := range sources {
			if err == nil && running.Elapsed() >= src.next {
				err = c.drain(ctx, src, max(longestPoll, time.Duration(len(sources))*pollPerEach))
				src.next = running.Elapsed() + src.every
			}
		}
		if err == nil {
			pause = c.opts.Poll
		} else if ctx.Err() == nil {
			pause = min(2*pause, longestPause)
			c.opts.Logger.Warn("statistics: interrupted; it continues", "error", err, "again_in", pause.String())
			c.opts.Failed()
		}
		if wait(ctx, pause) != nil {
			return
		}
	}
}

// list adds the environments that are new.
func (c *Counter) list(ctx context.Context, sources map[mfa.EnvironmentID]*source) error {
	all, err := c.opts.Environments(ctx)
	for _, env := range all {
		if sources[env] == nil {
			sources[env] = &source{env: env, every: c.opts.Poll}
		}
	}
	return err
}

// drain counts the events of an environment up to the newest. Without new events, it doubles
// the time before the next look, up to longest.
func (c *Counter) drain(ctx context.Context, src *source, longest time.Duration) error {
	src.every = min(2*src.every, longest)
	for {
		began := wallclock.Start()
		n, more, err := c.Step(ctx, src.env)
		if errors.Is(err, ErrTaken) {
			err, more = nil, false
		}
		if n > 0 {
			src.every = c.opts.Poll
		}
		if err != nil || !more {
			return err
		}
		// A backlog, such as the events of an earlier release, leaves the store time for requests.
		if err := wait(ctx, min(began.Elapsed(), time.Second)); err != nil {
			return err
		}
	}
}

// ErrTaken means that another node has counted the same events at the same time.
var ErrTaken = errors.New("another node has counted these events")

// Step counts the next events of an environment in one transaction. It returns their number
// and whether there may be more now. It counts none if another node does.
func (c *Counter) Step(ctx context.Context, env mfa.EnvironmentID) (n int, more bool, err error) {
	at, err := c.store.Position(ctx, env)
	if err != nil {
		return 0, false, err
	}
	query := events.Query{Environment: env, After: at.At, Limit: c.opts.Page, WithoutPersons: true}
	others := at.LeasedBy != c.id && c.now().Before(at.LeasedUntil)
	if others {
		query.Limit = 1 // only to know whether it is late
	}
	page, err := c.log.ReadEvents(ctx, query)
	if err != nil {
		return 0, false, err
	}
	c.see(env, page.Events)
	if len(page.Events) == 0 || others {
		return 0, false, nil
	}
	b, factors := make(batch), false
	for i := range page.Events {
		e := &page.Events[i].Event
		b.count(e)
		factors = factors || strings.HasPrefix(string(e.Type), "factor.")
	}
	b.drop(c.horizon)
	to := Position{At: page.Events[len(page.Events)-1].ID, LeasedBy: c.id, LeasedUntil: c.now().Add(leaseFor)}
	err = c.store.UpdateStatistics(ctx, env, b.keys(), func(tx *Tx) error {
		if tx.Position.At != at.At {
			return ErrTaken
		}
		tx.Position = to
		return b.merge(tx.Rows)
	})
	if err != nil {
		return 0, false, err
	}
	if !page.More {
		c.see(env, nil)
	}
	if factors {
		c.mu.Lock()
		c.stale = true
		c.mu.Unlock()
	}
	return len(page.Events), page.More, nil
}

// see notes the events of an environment that are not counted yet.
func (c *Counter) see(env mfa.EnvironmentID, all []events.RawEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(all) == 0 {
		delete(c.oldest, env)
		return
	}
	c.oldest[env] = all[0].At
}

// horizon returns the time before which rows of a series are removed.
func (c *Counter) horizon(s Series) time.Time {
	keep := c.opts.Retention
	if s == Prefixes {
		keep = min(keep, prefixRetention)
	}
	return HourOf(c.now().Add(-keep))
}

// drop removes the rows that are too old to be kept.
func (b batch) drop(horizon func(Series) time.Time) {
	for key := range b {
		if key.Start.Before(horizon(key.Series)) {
			delete(b, key)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
