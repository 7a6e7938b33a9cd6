package webhook

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// settle stores the outcome of a chunk. It returns false if the lease was lost, the endpoint
// disabled or deleted, or the lease given up because the run is over.
func (r *run) settle(ctx context.Context, items []*item, from source, at mfa.EventID, over bool) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	now := r.d.now()
	writes, at := r.writes(items, from, at, now)
	progress, replay := r.e.Progress, r.e.Replay
	switch from {
	case fromCursor:
		progress.Cursor = later(progress.Cursor, at)
	case fromReplay:
		if replay.After = at; !isAfter(replay.End, at) {
			replay = Replay{}
		}
	}
	var stored Endpoint
	err = r.d.store.UpdateEndpoint(ctx, r.e.ID, func(tx *Tx) error {
		held = false
		e := tx.Endpoint
		if e == nil || e.LeasedBy != r.lease {
			return nil // another run continues where the last write left off
		}
		tx.Put, tx.Ended, tx.Attempts = writes.Put, writes.Ended, writes.Attempts
		unchanged := e.UpdatedAt.Equal(r.e.UpdatedAt)
		if unchanged {
			e.Progress = progress
		} else { // the attempts say nothing about the endpoint as it is now
			e.Cursor = later(e.Cursor, progress.Cursor)
		}
		if from == fromReplay && e.Replay == r.e.Replay {
			e.Replay = replay
		}
		if e.Status == Enabled && r.disable != "" && unchanged {
			e.disable(r.disable)
			tx.record(mfa.Caller{Environment: mfa.Environment{ID: e.Environment}}, now, e.ID, mfa.EndpointDisabled, r.disable)
			tx.Reschedule = &Reschedule{From: Waiting, To: Paused, NextAt: now}
		} else if r.revived {
			tx.Reschedule = &Reschedule{From: Waiting, To: Waiting, NextAt: now}
		}
		if e.Status == Disabled {
			for i := range tx.Put {
				if tx.Put[i].State == Waiting {
					tx.Put[i].State = Paused
				}
			}
		}
		held = e.Status == Enabled && !over
		e.LeasedUntil = now.Add(leaseFor)
		if !held {
			e.LeasedBy, e.LeasedUntil = [16]byte{}, time.Time{}
		}
		stored = *e
		return nil
	})
	if err == nil && stored.ID != (EndpointID{}) {
		r.e = &stored
	}
	return held, err
}

// writes returns the rows for a chunk, and the position that the cursor may move to. Items
// after the last one that was tried are not skipped: they stay behind the position.
func (r *run) writes(items []*item, from source, at mfa.EventID, now time.Time) (tx Tx, _ mfa.EventID) {
	last := -1
	for i, it := range items {
		if it.tried || it.missing {
			last = i
		}
	}
	if from != fromDeliveries && last < len(items)-1 {
		if at = before(items[last+1].event.ID); last >= 0 {
			at = items[last].event.ID
		}
		items = items[:last+1]
	}
	for _, it := range items {
		if it.tried {
			tx.Attempts = append(tx.Attempts, it.attempt)
		}
		dl := Delivery{
			Endpoint: r.e.ID, Event: it.event.ID, EventAt: it.event.At, State: Waiting, Attempts: it.attempts,
			NextAt: it.nextAt, ExpiresAt: now.Add(keepDelivery),
		}
		switch {
		case it.missing, it.tried && it.attempt.Outcome == Delivered:
			if it.stored || from == fromReplay {
				tx.Ended = append(tx.Ended, it.event.ID)
			}
			continue
		case it.tried && it.nextAt.IsZero():
			dl.State, dl.NextAt = Failed, now
		case !it.tried && !it.stored:
			dl.NextAt = now
			fallthrough
		case !it.tried:
			if r.holdAll.After(dl.NextAt) {
				dl.NextAt = r.holdAll
			}
		}
		tx.Put = append(tx.Put, dl)
	}
	return tx, at
}
