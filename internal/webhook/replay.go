package webhook

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Range says which events are sent again.
type Range struct {
	From       time.Time
	To         time.Time // zero: until now
	OnlyFailed bool      // only events whose attempts all failed
}

// text returns r as events have it: the interval of ISO 8601, with "only_failed" after a comma.
func (r Range) text() string {
	const form = "2006-01-02T15:04:05.000Z"
	text := r.From.UTC().Format(form) + "/" + r.To.UTC().Format(form)
	if r.OnlyFailed {
		text += ",only_failed"
	}
	return text
}

// StartReplay sends past events again that an endpoint is subscribed to, in the background.
// It returns mfa.ErrNotFound, a *mfa.InvalidError, ErrReplaying or ErrDisabled.
func (s *Service) StartReplay(ctx context.Context, by mfa.Caller, id EndpointID, r Range) (Range, error) {
	now := s.now()
	if r.To.IsZero() {
		r.To = now
	}
	switch {
	case r.From.IsZero():
		return r, invalid("from", "required", "from is required")
	case r.From.After(now):
		return r, invalid("from", "out_of_range", "from must not be in the future")
	case !r.From.Before(r.To):
		return r, invalid("to", "out_of_range", "to must be after from")
	}
	_, err := s.change(ctx, by, id, func(tx *Tx, e *Endpoint, now time.Time) (bool, error) {
		switch {
		case e.Status == Disabled:
			return false, ErrDisabled
		case !r.OnlyFailed && !e.Replay.IsZero():
			return false, ErrReplaying
		case r.OnlyFailed:
			tx.Reschedule = &Reschedule{From: Failed, To: Waiting, Since: r.From, Until: r.To, NextAt: now, Again: true}
		default:
			e.Replay = Replay{Since: r.From, Until: r.To, End: e.Cursor}
		}
		tx.record(by, now, id, mfa.EndpointReplayed, r.text())
		return true, nil
	})
	return r, err
}
