package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An EventStorm writes events through several nodes while two readers follow them: one asks
// for the next page again and again, the other waits in Follow. Each event has the number
// that its Update gave the row of a factor. So the test knows whether readers miss an event,
// also one whose commit was not answered.
type EventStorm struct {
	Nodes   []mfa.Store
	Reader  events.Log // the node of the readers
	Callers int        // of each node
	Rounds  int        // of each caller

	// Trouble runs during the writes. done returns how many writes have been answered.
	Trouble func(done func() int)
}

// stormFactors is the number of factors that the callers of a storm share.
const stormFactors = 40

// Run runs the storm and checks what the readers saw.
func (storm EventStorm) Run(t *testing.T) {
	factors := make([]*mfa.Factor, stormFactors)
	for i := range factors {
		factors[i] = storeFactor(t, storm.Nodes[0], NewUser())
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	readers := []*stormReader{{name: "the polling reader"}, {name: "the following reader"}}
	service := events.NewService(storm.Reader, events.Options{Poll: 20 * time.Millisecond})
	q := events.Query{Environment: factors[0].Environment, Limit: 50}
	var reading sync.WaitGroup
	reading.Go(func() { readers[0].poll(ctx, service, q) })
	reading.Go(func() { readers[1].follow(ctx, service, q) })

	var acknowledged sync.Map // the events of acknowledged Updates, by factor and number
	var done atomic.Int64
	var writing sync.WaitGroup
	for node, s := range storm.Nodes {
		for caller := range storm.Callers {
			writing.Go(func() {
				for round := range storm.Rounds {
					f := factors[(node+len(storm.Nodes)*caller+7*round)%len(factors)]
					mark, err := countEvent(ctx, s, f.ID, fmt.Sprint("node ", node))
					switch {
					case err == nil:
						acknowledged.Store(mark, true)
					case !errors.Is(err, mfa.ErrUnavailable):
						t.Errorf("Update = %v", err)
					}
					done.Add(1)
				}
			})
		}
	}
	if storm.Trouble != nil {
		storm.Trouble(func() int { return int(done.Load()) })
	}
	writing.Wait()
	last, err := countEvent(ctx, storm.Nodes[0], factors[0].ID, "last")
	for ; errors.Is(err, mfa.ErrUnavailable) && ctx.Err() == nil; last, err = countEvent(ctx, storm.Nodes[0], factors[0].ID, "last") {
	}
	if err != nil {
		t.Fatal(err)
	}
	acknowledged.Store(last, true)
	for _, r := range readers {
		r.await(t, last)
	}
	stop()
	reading.Wait()
	all := eventsOf(t, storm.Reader, q.Environment)
	for _, r := range readers {
		r.check(t, all, &acknowledged)
	}
	n := 0
	acknowledged.Range(func(any, any) bool { n++; return true })
	t.Logf("%d events, %d of acknowledged Updates", len(all), n)
}

// countEvent adds one to the failures of a factor, and appends an event with that number. It
// returns the mark of the event.
func countEvent(ctx context.Context, s mfa.Store, id mfa.FactorID, node string) (mark string, err error) {
	err = s.Update(ctx, readFactor(id), func(tx *mfa.Tx) error {
		tx.Factor.Failures++
		e := NewEvent(tx.Factor)
		e.Reason, e.Request = node, fmt.Sprint(tx.Factor.Failures)
		mark = markOf(&e)
		tx.Writes = []mfa.Write{tx.Factor.Update(), mfa.AppendEvent{Event: e}}
		return nil
	})
	return mark, err
}

func markOf(e *mfa.Event) string { return e.Factor.String() + " " + e.Request }

// A stormReader keeps the events that a reader has seen.
type stormReader struct {
	name string
	mu   sync.Mutex
	seen []mfa.Event
}

func (r *stormReader) add(page events.Page) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range page.Events {
		r.seen = append(r.seen, e.Event)
	}
	return nil
}

func (r *stormReader) poll(ctx context.Context, s *events.Service, q events.Query) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		page, err := s.List(ctx, q)
		if err == nil {
			r.add(page)
			if n := len(page.Events); n > 0 {
				q.After = page.Events[n-1].ID // as a client does
			}
		}
		<-tick.C
	}
}

func (r *stormReader) follow(ctx context.Context, s *events.Service, q events.Query) {
	for ctx.Err() == nil {
		_ = s.Follow(ctx, q, func(page events.Page) error { // an error is an outage, or the end
			q.After = page.Last
			return r.add(page)
		})
	}
}

// await waits until the reader has seen an event.
func (r *stormReader) await(t *testing.T, mark string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); <-tick.C {
		r.mu.Lock()
		n := len(r.seen)
		found := n > 0 && markOf(&r.seen[n-1]) == mark
		r.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("%s has not seen the last event after a minute", r.name)
}

// check compares the events that a reader has seen with all events, and with the
// acknowledged ones.
func (r *stormReader) check(t *testing.T, all []mfa.Event, acknowledged *sync.Map) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	numbers := make(map[mfa.FactorID]int)
	seen := make(map[string]bool)
	var last mfa.EventID
	for i := range r.seen {
		e := &r.seen[i]
		if e.ID.Compare(last) <= 0 {
			t.Errorf("%s: %s comes after %s", r.name, e.ID, last)
		}
		last = e.ID
		numbers[e.Factor]++
		if e.Request != fmt.Sprint(numbers[e.Factor]) {
			t.Fatalf("%s: event %s of %s comes in place %d of that factor", r.name, e.Request, e.Factor, numbers[e.Factor])
		}
		seen[markOf(e)] = true
	}
	acknowledged.Range(func(mark, _ any) bool {
		if !seen[mark.(string)] {
			t.Errorf("%s has not seen the acknowledged event %s", r.name, mark)
		}
		return true
	})
	if len(r.seen) != len(all) {
		t.Errorf("%s has seen %d events; want all %d", r.name, len(r.seen), len(all))
	}
}
