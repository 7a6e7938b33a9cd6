package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Window is when to count: from Warm after the begin, for Length.
type Window struct {
	Warm, Length time.Duration
	Begin, End   func() // called when counting begins and ends; nil: nothing is
}

// A Result is what a load came to within its window.
type Result struct {
	Done    int           // flows that ended, with right answers
	Refused int           // flows that the server refused
	Unsent  int           // arrivals that found no client free
	Length  time.Duration // of the window
	Latency Histogram     // of the flows due within the window
}

// PerSecond returns how many flows were done in a second.
func (r *Result) PerSecond() float64 { return float64(r.Done) / r.Length.Seconds() }

// Closed lets every client carry out flow after flow. The first wrong answer ends
// it with an error.
func Closed(ctx context.Context, clients []*Client, flow Flow, w Window) (*Result, error) {
	return run(ctx, clients, w, func(s *span, c *Client, tally *Result) error {
		for {
			due := time.Now()
			if due.After(s.end) || s.over() {
				return nil
			}
			if err := s.one(c, flow, due, tally); err != nil {
				return err
			}
		}
	})
}

// Open starts flows at a steady rate per second, independent of earlier flows. An
// arrival that finds every client busy waits, and its latency counts from its
// arrival. If queue arrivals wait already, it is not sent.
func Open(ctx context.Context, clients []*Client, flow Flow, rate float64, queue int, w Window) (*Result, error) {
	arrivals := make(chan time.Time, queue)
	unsent := 0
	paced := make(chan struct{})
	r, err := run(ctx, clients, w, func(s *span, c *Client, tally *Result) error {
		s.pace.Do(func() {
			go func() {
				defer close(paced)
				defer close(arrivals)
				unsent = s.arrive(rate, arrivals)
			}()
		})
		for due := range arrivals {
			if s.over() {
				continue // someone has failed
			}
			if err := s.one(c, flow, due, tally); err != nil {
				return err
			}
		}
		return nil
	})
	<-paced
	if r != nil {
		r.Unsent = unsent
	}
	return r, err
}

// A span is one run of a load.
type span struct {
	start, begin, end time.Time
	pace              sync.Once
	stop              context.Context // ends early if a client fails
}

func (s *span) over() bool { return s.stop.Err() != nil }

// one carries out one flow that was due to begin then, and counts it.
func (s *span) one(c *Client, flow Flow, due time.Time, tally *Result) error {
	err := flow(c)
	refused := errors.Is(err, ErrRefused)
	if err != nil && !refused {
		return err
	}
	now := time.Now()
	switch within := !now.Before(s.begin) && now.Before(s.end); {
	case within && refused:
		tally.Refused++
	case within:
		tally.Done++
	}
	if !refused && !due.Before(s.begin) && due.Before(s.end) {
		tally.Latency.Record(now.Sub(due))
	}
	return nil
}

// arrive announces the arrivals of a span and returns how many of its window
// could not be.
func (s *span) arrive(rate float64, arrivals chan<- time.Time) (unsent int) {
	sleep, done := sleeper()
	defer done()
	for i := 0; ; i++ {
		due := schedule(s.start, rate, i)
		if !due.Before(s.end) || s.over() {
			return unsent
		}
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			sleep(wait)
		}
		select {
		case arrivals <- due:
		default:
			if !due.Before(s.begin) {
				unsent++
			}
		}
	}
}

// schedule returns the due time of arrival i, from 0. It does not depend on earlier
// arrivals, so no delay moves it.
func schedule(start time.Time, rate float64, i int) time.Time {
	return start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
}

// grace is how long answers are waited for after the end of a window.
const grace = 30 * time.Second

// run lets work drive each client, and joins their results.
func run(ctx context.Context, clients []*Client, w Window, work func(s *span, c *Client, tally *Result) error) (*Result, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	s := &span{start: start, begin: start.Add(w.Warm), end: start.Add(w.Warm + w.Length), stop: stop}
	marked := make(chan struct{})
	go func() {
		defer close(marked)
		for _, mark := range []struct {
			at   time.Time
			call func()
		}{{s.begin, w.Begin}, {s.end, w.End}} {
			select {
			case <-time.After(time.Until(mark.at)):
			case <-stop.Done():
				return
			}
			if mark.call != nil {
				mark.call()
			}
		}
	}()
	tallies := make([]Result, len(clients))
	err := each(clients, func(i int, c *Client) error {
		c.conn.SetDeadline(s.end.Add(grace))
		err := work(s, c, &tallies[i])
		if err != nil {
			cancel()
		}
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
	}
	<-marked
	if err != nil {
		return nil, err
	}
	total := &Result{Length: w.Length}
	for i := range tallies {
		total.Done += tallies[i].Done
		total.Refused += tallies[i].Refused
		total.Latency.Add(&tallies[i].Latency)
	}
	return total, nil
}

// each runs work on every client at once and returns the first error.
func each(clients []*Client, work func(int, *Client) error) error {
	var wait sync.WaitGroup
	errs := make(chan error, len(clients))
	for i, c := range clients {
		wait.Go(func() { errs <- work(i, c) })
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Clients connects n clients; close them with CloseAll.
func Clients(addr, key, name string, n int) ([]*Client, error) {
	clients := make([]*Client, 0, n)
	for i := range n {
		c, err := NewClient(addr, key, fmt.Sprintf("%s-%d", name, i))
		if err != nil {
			CloseAll(clients)
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// CloseAll closes all clients.
func CloseAll(clients []*Client) {
	for _, c := range clients {
		c.Close()
	}
}
