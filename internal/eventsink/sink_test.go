package eventsink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventsink"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A fixture is a store in memory with environments and events.
type fixture struct {
	mu     sync.Mutex
	meta   map[string]string
	envs   []mfa.Environment
	events map[mfa.EnvironmentID][]events.Event
	n      int64
	lists  int
	down   error // of every call
}

func newFixture(envs ...string) *fixture {
	f := &fixture{meta: map[string]string{}, events: map[mfa.EnvironmentID][]events.Event{}}
	for _, name := range envs {
		f.environment(name)
	}
	return f
}

func (f *fixture) environment(name string) mfa.EnvironmentID {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := mfa.EnvironmentID(len(f.envs) + 1)
	f.envs = append(f.envs, mfa.Environment{ID: id, Name: name})
	return id
}

// happen appends n events to an environment and returns their ids.
func (f *fixture) happen(env mfa.EnvironmentID, n int) (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		f.n++
		e := events.Event{Event: mfa.Event{
			ID: mfa.Position{Epoch: time.Now().UnixMilli(), Counter: f.n}.ID(7), At: time.Now(), Environment: env, Type: mfa.ChallengeFailed,
		}}
		f.events[env] = append(f.events[env], e)
		ids = append(ids, e.ID.String())
	}
	return ids
}

func (f *fixture) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *fixture) Environments(context.Context) ([]mfa.Environment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.envs), f.down
}

func (f *fixture) Meta(_ context.Context, name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, ok := f.meta[name]; ok {
		return []byte(v), f.down
	}
	return nil, f.down
}

func (f *fixture) SwapMeta(_ context.Context, name string, old, value []byte) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return false, f.down
	}
	if v, ok := f.meta[name]; ok != (old != nil) || v != string(old) {
		return false, nil
	}
	f.meta[name] = string(value)
	return true, nil
}

func (f *fixture) List(_ context.Context, q events.Query) (events.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	p := events.Page{Last: q.After}
	for _, e := range f.events[q.Environment] {
		if e.ID.Compare(q.After) <= 0 {
			continue
		}
		if len(p.Events) == q.Limit {
			p.More = true
			break
		}
		p.Events = append(p.Events, e)
		p.Last = e.ID
	}
	return p, f.down
}

// A target keeps the ids of the events that it accepts.
type target struct {
	mu   sync.Mutex
	ids  []string
	envs []string
	fail func(lines int) error // of the next writes; nil: none fails
	then func()                // after each write that succeeds
}

func (t *target) Write(ctx context.Context, lines [][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		if err := t.fail(len(lines)); err != nil {
			return err
		}
	}
	for _, line := range lines {
		var e struct{ ID, Environment string }
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		t.ids, t.envs = append(t.ids, e.ID), append(t.envs, e.Environment)
	}
	if t.then != nil {
		t.then()
	}
	return ctx.Err()
}

func (t *target) Close() error   { return nil }
func (t *target) String() string { return "memory" }

func (t *target) failWith(fail func(lines int) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = fail
}

func (t *target) written() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ids)
}

// start runs a sink until the returned function is called.
func start(t *testing.T, f *fixture, to *target) (s *eventsink.Sink, stop func()) {
	s = eventsink.New(f, f, to, eventsink.Options{
		Writer: eventexport.Writer{Format: eventexport.JSONLines}, Logger: slog.New(slog.DiscardHandler), Batch: 10,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	return s, func() { cancel(); <-done }
}

// settle lets time pass in which a sink writes what there is.
func settle(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func check(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d events %.5v…; want %d %.5v…", what, len(got), got, len(want), want)
	}
}

func TestEventsAreWrittenOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme", "Globex"), &target{}
		f.happen(1, 5) // before the first use of the sink
		settle(time.Minute)
		_, stop := start(t, f, to)
		settle(time.Second)
		var want []string
		for range 7 {
			want = append(want, f.happen(1, 23)...)
			settle(3 * time.Second)
		}
		check(t, "while it runs", to.written(), want)
		stop()
		want = append(want, f.happen(1, 5)...)
		settle(time.Hour)
		_, stop = start(t, f, to)
		settle(time.Second)
		check(t, "after a restart", to.written(), want)
		want = append(want, f.happen(2, 3)...)
		third := f.environment("Initech")
		want = append(want, f.happen(third, 2)...)
		settle(10 * time.Second)
		stop()
		slices.Sort(want)
		got := to.written()
		slices.Sort(got)
		check(t, "of three environments", got, want)
		if !slices.Contains(to.envs, "Initech") {
			t.Error("the lines do not name the environment")
		}
	})
}

// TestEventsBeforeTheFirstWriteAreWritten lets time pass between the start of a process and
// the moment at which its sink begins to write.
func TestEventsBeforeTheFirstWriteAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		s := eventsink.New(f, f, to, eventsink.Options{Logger: slog.New(slog.DiscardHandler), Batch: 10})
		settle(3 * time.Second)
		want := f.happen(1, 12)
		settle(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx)
		}()
		settle(3 * time.Second)
		check(t, "after the start", to.written(), want)
		cancel()
		<-done
	})
}

// TestAKilledSinkLosesNothing ends the store's answers after a write: the position is not
// stored, and the mark is not released.
func TestAKilledSinkLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, killed, next := newFixture("Acme"), &target{}, &target{}
		first := &partition{fixture: f}
		s := eventsink.New(first, f, killed, eventsink.Options{Logger: slog.New(slog.DiscardHandler), Batch: 10})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		settle(time.Second)
		want := f.happen(1, 10)
		settle(3 * time.Second)
		killed.mu.Lock()
		killed.then = first.cut // the process dies between the write and its position
		killed.mu.Unlock()
		want = append(want, f.happen(1, 40)...)
		settle(3 * time.Second)
		check(t, "before it is killed", killed.written(), want[:20])
		cancel()
		_, stop := start(t, f, next)
		settle(20 * time.Second)
		stop()
		check(t, "of the next process", next.written(), want[10:])
	})
}

// A partition is the store of a process that loses its connection.
type partition struct {
	*fixture
	mu  sync.Mutex
	off bool
}

func (p *partition) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
}

func (p *partition) SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off {
		return false, errors.New("no connection")
	}
	return p.fixture.SwapMeta(ctx, name, old, value)
}

func TestOneNodeWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b := newFixture("Acme"), &target{}, &target{}
		sa, stopA := start(t, f, a)
		settle(time.Second)
		sb, stopB := start(t, f, b)
		var want []string
		for range 30 {
			want = append(want, f.happen(1, 3)...)
			settle(2 * time.Second)
		}
		check(t, "of the first node", a.written(), want)
		check(t, "of the second node", b.written(), nil)
		if !sa.State(time.Now()).Active || sb.State(time.Now()).Active {
			t.Error("not only the first node is active")
		}
		stopA()
		settle(3 * time.Second) // a node that stops releases its mark
		rest := f.happen(1, 7)
		settle(3 * time.Second)
		stopB()
		check(t, "after the first node stopped", b.written(), rest)
	})
}

// TestANodeThatHangsIsReplaced has a first node that cannot write its mark any more, and
// later can.
func TestANodeThatHangsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, a, b := newFixture("Acme"), &target{}, &target{}
		part := &partition{fixture: f}
		s := eventsink.New(part, f, a, eventsink.Options{Logger: slog.New(slog.DiscardHandler), Batch: 10})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		settle(time.Second)
		want := f.happen(1, 5)
		settle(3 * time.Second)
		_, stop := start(t, f, b)
		part.cut()
		want = append(want, f.happen(1, 5)...)
		settle(30 * time.Second)
		check(t, "of the next node", b.written(), want[5:])
		part.mu.Lock()
		part.off = false
		part.mu.Unlock()
		more := f.happen(1, 5)
		settle(2 * time.Minute)
		stop()
		check(t, "of the next node, after the first one is back", b.written(), append(want[5:], more...))
		cancel()
		synctest.Wait()
	})
}

func TestAFailedWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		s, stop := start(t, f, to)
		settle(time.Second)
		tries := 0
		to.failWith(func(int) error { tries++; return errors.New("down") })
		want := f.happen(1, 25)
		settle(time.Minute)
		f.mu.Lock()
		lists := f.lists
		f.mu.Unlock()
		settle(10 * time.Minute)
		if st := s.State(time.Now()); st.Lag < 10*time.Minute || st.Lag > 12*time.Minute {
			t.Errorf("the lag is %v; want 11 minutes", st.Lag)
		}
		f.mu.Lock()
		if f.lists != lists {
			t.Errorf("the sink read %d times while it could not write", f.lists-lists)
		}
		f.mu.Unlock()
		to.failWith(nil)
		if tries < 14 || tries > 20 { // after 1, 2, 4, 8, 16, 32 and then every 60 seconds
			t.Errorf("%d tries in 11 minutes", tries)
		}
		settle(2 * time.Minute)
		check(t, "after the target is back", to.written(), want)
		if st := s.State(time.Now()); st.Lag != 0 || st.Written != 25 || st.Failed != int64(tries) {
			t.Errorf("the state is %+v", st)
		}
		stop()
	})
}

func TestAPauseThatTheReceiverAsksForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		_, stop := start(t, f, to)
		settle(time.Second)
		failed := false
		to.failWith(func(int) error {
			if failed {
				return nil
			}
			failed = true
			return &eventsink.RetryError{After: 100 * time.Second, Err: errors.New("busy")}
		})
		want := f.happen(1, 1)
		settle(95 * time.Second)
		check(t, "during the pause", to.written(), nil)
		settle(10 * time.Second)
		check(t, "after the pause", to.written(), want)
		stop()
	})
}

func TestABatchThatIsTooLargeIsDivided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		_, stop := start(t, f, to)
		settle(time.Second)
		to.failWith(func(lines int) error {
			if lines > 3 {
				return fmt.Errorf("413: %w", eventsink.ErrTooLarge)
			}
			return nil
		})
		want := f.happen(1, 10)
		settle(5 * time.Second)
		stop()
		check(t, "in parts", to.written(), want)
	})
}

// TestAStoreThatWasCopiedAwayIsNotWritten has a mark of a copy.
func TestAStoreThatWasCopiedAwayIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		s := eventsink.New(f, f, to, eventsink.Options{
			Logger: slog.New(slog.DiscardHandler), Servable: func(context.Context) error { return errors.New("copied") },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		s.Run(ctx)
		if len(f.meta) != 0 {
			t.Errorf("the store has %v", f.meta)
		}
	})
}

func TestAStoreThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		_, stop := start(t, f, to)
		settle(time.Second)
		f.fail(errors.New("no database"))
		want := f.happen(1, 5)
		settle(time.Minute)
		f.fail(nil)
		settle(3 * time.Minute)
		stop()
		check(t, "after the store is back", to.written(), want)
	})
}

// TestTheNodeThatLosesItsMarkStops has another node that changes mark and position.
func TestTheNodeThatLosesItsMarkStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		_, stop := start(t, f, to)
		settle(time.Second)
		want := f.happen(1, 5)
		settle(3 * time.Second)
		other := func(n int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.meta["events_sink_holder"] = fmt.Sprint("another ", n)
		}
		for n := range 5 {
			other(n)
			settle(time.Second)
		}
		f.happen(1, 7)
		for n := range 60 {
			other(5 + n)
			settle(time.Second)
		}
		stop()
		check(t, "after its mark is lost", to.written(), want)
	})
}

func TestAPositionThatHasChangedIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFixture("Acme"), &target{}
		_, stop := start(t, f, to)
		settle(time.Second)
		want := f.happen(1, 5)
		settle(3 * time.Second)
		more := f.happen(1, 40)
		f.mu.Lock()
		f.meta["events_sink_after_1"] = more[39]
		f.mu.Unlock()
		settle(time.Minute)
		rest := f.happen(1, 3)
		settle(10 * time.Second)
		stop()
		want = append(want, more[:10]...) // the batch that was in progress
		check(t, "after the position has changed", to.written(), append(want, rest...))
	})
}
