// Package eventsink writes the events of all environments to a file, to standard output or
// to an HTTPS address, in their order.
//
// The position of each environment is kept in the store and moves on after its events are
// written. So a crash, or a receiver that is down, loses no event; events whose position
// was not stored yet are written again. Nothing waits in memory: the sink reads the next
// events from the store when the previous ones are written.
//
// Of several nodes over one store, one writes. The others watch its mark in the store, and
// one of them continues when the mark has not changed for a while.
//
// Start reading at Sink.Run.
package eventsink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Store keeps the positions and the mark of the node that writes.
type Store interface {
	Environments(ctx context.Context) ([]mfa.Environment, error)
	// Meta returns the value with that name, or nil.
	Meta(ctx context.Context, name string) ([]byte, error)
	// SwapMeta stores value under name if the stored value is old, or if old is nil and no
	// value is stored, and reports whether it did.
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
}

// A Reader lists events; events.Service is one.
type Reader interface {
	List(ctx context.Context, q events.Query) (events.Page, error)
}

// A Sink writes events to a Target. Make one with New and call Run.
type Sink struct {
	store  Store
	reader Reader
	target Target
	opts   Options
	made   time.Time

	oldest  atomic.Int64 // time of the oldest event that is being written, Unix milliseconds; 0: none
	written atomic.Int64
	failed  atomic.Int64
	active  atomic.Bool
}

// Options change how a Sink works; zero fields take their defaults.
type Options struct {
	Writer   eventexport.Writer
	Servable func(context.Context) error // returns an error while the store must not be written, because it was copied away
	Logger   *slog.Logger                // default slog.Default()
	Batch    int                         // the largest number of events that are written at once; default 500
	Now      func() time.Time            // default time.Now
}

// New returns a Sink that writes what reader lists to target.
func New(store Store, reader Reader, target Target, opts Options) *Sink {
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	opts.Batch = cmp.Or(opts.Batch, 500)
	if opts.Servable == nil {
		opts.Servable = func(context.Context) error { return nil }
	}
	opts.Now = wallclock.Or(opts.Now)
	return &Sink{store: store, reader: reader, target: target, opts: opts, made: opts.Now()}
}

// A State is the state of a Sink, for metrics.
type State struct {
	Active  bool          // this node writes
	Lag     time.Duration // the age of the oldest event that is read but not written
	Written int64         // events
	Failed  int64         // tries
}

// State returns the state at a time.
func (s *Sink) State(now time.Time) State {
	st := State{Active: s.active.Load(), Written: s.written.Load(), Failed: s.failed.Load()}
	if at := s.oldest.Load(); at != 0 {
		st.Lag = max(0, now.Sub(time.UnixMilli(at)))
	}
	return st
}

const (
	poll         = 250 * time.Millisecond // between two looks for new events
	longestPoll  = 2 * time.Second        // of an environment without new events
	listEvery    = 5 * time.Second        // between two looks for new environments
	firstPause   = time.Second            // before a failed write is tried again
	longestPause = time.Minute
)

// Run writes events until ctx ends. Faults of the store or of the target are logged, and
// the sink tries again.
func (s *Sink) Run(ctx context.Context) {
	l := lease{store: s.store, servable: s.opts.Servable}
	defer s.target.Close()
	for pause := firstPause; ctx.Err() == nil; {
		began := wallclock.Start()
		err := l.hold(ctx, func(held context.Context) error {
			s.active.Store(true)
			defer s.active.Store(false)
			s.opts.Logger.Info("events sink: this node writes", "target", s.target.String())
			return s.follow(held)
		})
		s.oldest.Store(0)
		if ctx.Err() != nil {
			return
		}
		if began.Elapsed() > longestPause {
			pause = firstPause
		}
		if err != nil {
			s.opts.Logger.Warn("events sink: interrupted; it continues", "error", err, "again_in", pause.String())
		}
		wait(ctx, pause)
		pause = min(2*pause, longestPause)
	}
}

// A source is an environment and the position up to which it is written.
type source struct {
	env    mfa.Environment
	stored []byte // the position in the store; nil before the first
	after  mfa.EventID
	every  time.Duration // between two looks
	next   time.Time     // of the next look
}

// follow writes the events of all environments until ctx ends or the store fails.
func (s *Sink) follow(ctx context.Context) error {
	start, err := s.start(ctx)
	if err != nil {
		return err
	}
	sources := map[mfa.EnvironmentID]*source{}
	var listed time.Time
	for {
		if now := s.opts.Now(); listed.IsZero() || now.Sub(listed) >= listEvery {
			if err := s.list(ctx, sources, start); err != nil {
				return err
			}
			listed = now
		}
		for _, src := range sources {
			if s.opts.Now().Before(src.next) {
				continue
			}
			if err := s.drain(ctx, src); err != nil {
				return err
			}
		}
		if err := wait(ctx, poll); err != nil {
			return err
		}
	}
}

// Names of values in the store. The name of a position continues with the number of its
// environment.
const (
	metaStart    = "events_sink_start"
	metaPosition = "events_sink_after_"
)

// start returns the time at which the first sink on the store was made. Older events are
// never written. The sink is made before the first event of its process, so all events of
// the process are written.
func (s *Sink) start(ctx context.Context) (time.Time, error) {
	for {
		text, err := s.store.Meta(ctx, metaStart)
		if err != nil {
			return time.Time{}, err
		}
		if text != nil {
			return time.Parse(time.RFC3339, string(text))
		}
		now := s.made.UTC().Truncate(time.Second).Format(time.RFC3339)
		if _, err := s.store.SwapMeta(ctx, metaStart, nil, []byte(now)); err != nil {
			return time.Time{}, err
		}
	}
}

// list adds the environments that are new.
func (s *Sink) list(ctx context.Context, sources map[mfa.EnvironmentID]*source, start time.Time) error {
	all, err := s.store.Environments(ctx)
	if err != nil {
		return err
	}
	all = append(all, mfa.Environment{}) // of events that belong to no environment
	for _, env := range all {
		if sources[env.ID] != nil {
			continue
		}
		src := &source{env: env, after: mfa.FirstEventAt(start), every: poll}
		if src.stored, err = s.store.Meta(ctx, src.name()); err != nil {
			return err
		}
		if src.stored != nil {
			id, ok := mfa.ParseEventID(string(src.stored))
			if !ok {
				return fmt.Errorf("%s in the store is not the id of an event", src.name())
			}
			src.after = id
		}
		sources[env.ID] = src
	}
	return nil
}

func (s *source) name() string { return fmt.Sprint(metaPosition, int64(s.env.ID)) }

// drain writes the events of one environment, up to the newest.
func (s *Sink) drain(ctx context.Context, src *source) error {
	for {
		page, err := s.reader.List(ctx, events.Query{Environment: src.env.ID, After: src.after, Limit: s.opts.Batch})
		if err != nil {
			return err
		}
		if n := len(page.Events); n > 0 {
			if err := s.write(ctx, src.env.Name, page.Events); err != nil {
				return err
			}
			if err := s.advance(ctx, src, page.Events[n-1].ID); err != nil {
				return err
			}
			src.every = poll
		}
		src.after = page.Last
		if !page.More {
			src.next = s.opts.Now().Add(src.every)
			src.every = min(2*src.every, longestPoll)
			return nil
		}
	}
}

var errMoved = errors.New("another node has stored a position of this sink")

// advance stores the position of an environment.
func (s *Sink) advance(ctx context.Context, src *source, to mfa.EventID) error {
	if err := s.opts.Servable(ctx); err != nil {
		return err
	}
	value := []byte(to.String())
	swapped, err := s.store.SwapMeta(ctx, src.name(), src.stored, value)
	if err != nil {
		return err
	}
	if !swapped {
		return errMoved
	}
	src.stored = value
	return nil
}

// write writes events, and tries again until it succeeds or ctx ends.
func (s *Sink) write(ctx context.Context, env string, list []events.Event) error {
	lines := make([][]byte, len(list))
	for i := range list {
		lines[i] = s.opts.Writer.Append(nil, env, &list[i])
	}
	s.oldest.Store(list[0].At.UnixMilli())
	failing := false
	size := len(lines) // of the next part
	for pause := firstPause; len(lines) > 0; {
		size = min(size, len(lines))
		err := s.target.Write(ctx, lines[:size])
		if err == nil {
			s.written.Add(int64(size))
			lines = lines[size:]
			pause = firstPause
			if len(lines) > 0 {
				s.oldest.Store(list[len(list)-len(lines)].At.UnixMilli())
			}
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.failed.Add(1)
		if errors.Is(err, ErrTooLarge) && size > 1 {
			size /= 2
			continue
		}
		if e, ok := errors.AsType[*RetryError](err); ok && e.After > pause {
			pause = min(e.After, longestRetryAfter)
		}
		if !failing || pause >= longestPause {
			s.opts.Logger.Warn("events sink: events are not written; it tries again", "target", s.target.String(), "error", err, "again_in", pause.String())
		}
		failing = true
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
	if failing {
		s.opts.Logger.Info("events sink: events are written again", "target", s.target.String())
	}
	s.oldest.Store(0)
	return nil
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
