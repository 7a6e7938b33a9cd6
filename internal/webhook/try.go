package webhook

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// isDown reports whether so many attempts failed in a row that the endpoint itself seems to
// be down.
func (r *run) isDown() bool { return r.e.Failures >= downAfter }

// send tries items, and reports whether there is an outcome to store. Each lane sends its
// items one after another; after a failed attempt there is only one lane.
func (r *run) send(ctx context.Context, items []*item) bool {
	// Attempts in progress may end when the process ends, but not take long.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()

	n := lanes
	if r.e.Failures > 0 {
		n = 1
	}
	byLane := make([][]*item, n)
	for _, it := range items {
		if !it.missing {
			lane := int(it.event.ID.Bucket()) % n
			byLane[lane] = append(byLane[lane], it)
		}
	}
	r.stopped, r.revived, r.holdAll = false, false, time.Time{}
	start := wallclock.Start()
	var all sync.WaitGroup
	for _, lane := range byLane {
		if len(lane) == 0 {
			continue
		}
		all.Go(func() {
			for _, it := range lane {
				if ctx.Err() != nil || r.isStopped() || start.Elapsed() > chunkFor {
					return
				}
				if goOn := r.try(sending, it); !goOn {
					return
				}
			}
		})
	}
	all.Wait()
	return len(items) == 0 || slices.ContainsFunc(items, func(it *item) bool { return it.tried || it.missing })
}

func (r *run) isStopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// try makes one attempt and reports whether the lane goes on.
func (r *run) try(ctx context.Context, it *item) bool {
	secrets, err := r.e.secrets(r.d.service.keys.Load(), r.d.now())
	if err != nil {
		return r.giveUp(err)
	}
	at, began := r.d.now(), wallclock.Start()
	id := it.event.ID.String()
	body := r.d.opts.Append(nil, it.event)
	headers, err := secrets.Headers(id, at, body)
	if err != nil {
		return r.giveUp(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.d.opts.Timeout)
	answer := r.d.sender.Send(ctx, Request{URL: r.e.URL, Headers: headers, Body: body})
	stopped := ctx.Err() == context.Canceled
	cancel()
	if stopped && answer.Fault != "" {
		return false // the process ends: the attempt does not count
	}
	a := &it.attempt
	*a = Attempt{
		Endpoint: r.e.ID, Event: it.event.ID, Type: it.event.Type, Number: it.attempts + 1,
		At: at, Took: began.Elapsed().Truncate(time.Millisecond), Status: answer.Status, Outcome: answer.outcome(),
	}
	if a.ID, err = r.d.ids.Next(at, r.e.ID.Bucket()); err == nil && len(answer.Body) > 0 {
		a.Answer, err = r.d.service.keys.Load().Seal(answer.Body[:min(len(answer.Body), MaxAnswer)], a.associated())
	}
	jitter, drawErr := fraction(r.d.opts.Rand)
	if err != nil || drawErr != nil {
		return r.giveUp(fmt.Errorf("record an attempt: %w, %w", err, drawErr))
	}
	r.d.opts.Observe(a.Outcome)
	return r.judge(it, answer.RetryAfter, jitter)
}

// giveUp ends the chunk because of a fault of this node.
func (r *run) giveUp(err error) bool {
	r.d.opts.Logger.Error("deliver to a webhook endpoint", "endpoint", r.e.ID.String(), "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	return false
}

// judge decides the next step after an attempt, and reports whether the lane continues.
func (r *run) judge(it *item, retryAfter time.Duration, jitter float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.d.now()
	it.tried, it.attempts, it.nextAt = true, it.attempts+1, time.Time{}
	if it.attempt.Outcome == Delivered {
		r.revived = r.revived || r.isDown()
		r.e.Failures, r.e.FailingSince, r.e.HoldUntil, r.e.LastSuccess = 0, time.Time{}, time.Time{}, now
		it.attempt.ExpiresAt = now.Add(keepDelivered)
		return true
	}
	r.e.Failures++
	if r.e.FailingSince.IsZero() {
		r.e.FailingSince = it.attempt.At
	}
	it.attempt.ExpiresAt = now.Add(keepFailed)
	pause, again := wait(r.e.Sandbox, it.attempts, jitter)
	if again {
		pause = max(pause, min(retryAfter, maxRetryAfter))
		it.nextAt = now.Add(pause)
		it.attempt.NextAt = it.nextAt
	}
	if it.attempt.Outcome == EndpointIsGone {
		r.disable = Gone
	} else if now.Sub(r.e.FailingSince) >= disableAfter {
		r.disable = Failing
	}
	var hold time.Duration
	switch {
	case r.disable != "":
		r.stopped = true
	case retryAfter > 0:
		hold, r.stopped = min(retryAfter, maxHold), true
	case r.isDown():
		hold, r.stopped = min(cmp.Or(pause, probeEvery), probeEvery), true
	case it.attempts == 1:
		hold = pause // a restart of the receiver takes seconds: keep the order
	}
	if until := now.Add(hold); hold > 0 && until.After(r.e.HoldUntil) {
		r.e.HoldUntil, r.holdAll = until, until
	}
	return hold == 0 && !r.stopped
}
