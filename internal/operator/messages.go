package operator

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A MessageCount says how many messages were sent to a group of phone numbers, and how many
// challenges of theirs were verified.
type MessageCount struct {
	Of          string        // a prefix, "+491512"; a country, "DE"; "all" or "abroad"
	Period      time.Duration // up to now
	Sent        int
	Verified    int
	PausedUntil time.Time // a prefix gets no messages before; zero: not paused
	Reference   string    // the name of a prefix in events
}

// MessageCounts lists the recent messages of an environment by group. It needs the keyset.
func (s *Service) MessageCounts(ctx context.Context, env mfa.Environment) ([]MessageCount, error) {
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return nil, err
	}
	counters, err := s.store.Counters(ctx, env.ID)
	if err != nil {
		return nil, err
	}
	now, window := s.now(), s.rulesOf(env).Pumping.Period()
	var counts []MessageCount
	for _, t := range counters {
		if err := t.Open(keys); err != nil {
			return nil, err
		}
		if !t.Expire(window, now) {
			continue
		}
		c := MessageCount{Of: t.Of, Period: 24 * time.Hour, PausedUntil: t.PausedUntil, Reference: t.Of}
		c.Sent, c.Verified = t.Sum()
		if t.IsPrefix() {
			c.Period, c.Reference = window, t.Reference()
		}
		counts = append(counts, c)
	}
	slices.SortFunc(counts, func(a, b MessageCount) int { return cmp.Compare(a.Of, b.Of) })
	return counts, nil
}

func (s *Service) rulesOf(env mfa.Environment) delivery.Rules {
	if rules, ok := s.opts.SMSOf[env.Name]; ok {
		return rules
	}
	return s.opts.SMS
}

// ReleasePrefix ends the pause of a prefix, "+491512", and deletes its counts. It reports
// whether the prefix was paused. It needs the keyset.
func (s *Service) ReleasePrefix(ctx context.Context, by By, env mfa.Environment, prefix string) (bool, error) {
	if err := by.Check(); err != nil {
		return false, err
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return false, err
	}
	key, now := delivery.NewCounterKey(keys, env.ID, prefix), s.now()
	released := false
	err = s.store.Update(ctx, mfa.Read{Bucket: key.Bucket(), Counters: []delivery.CounterKey{key}}, func(tx *mfa.Tx) error {
		t := tx.Counters[0]
		if released = t != nil && t.Release(now); !released {
			return nil
		}
		event := mfa.Event{Type: mfa.PrefixReleased, Reason: key.Reference()}
		if by.Reason != "" {
			event.Reason += ": " + by.Reason
		}
		tx.Writes = append(tx.Writes, mfa.PutCounter{Counter: t}, s.event(by, env.ID, key.Bucket(), event))
		return nil
	})
	return released, err
}
