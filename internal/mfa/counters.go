package mfa

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// countVerified counts a verified challenge of a production environment in the counters of
// its first message; to is its recipient before the code was checked.
func (s *Service) countVerified(ctx context.Context, env Environment, to recipient, c *Challenge) {
	k := s.policy.Keys(s.keys.Load(), env.Tenant(), to.phone)
	r := Read{Bucket: k.Bucket, Counters: k.Counters}
	err := s.store.Update(context.WithoutCancel(ctx), r, func(tx *Tx) error {
		tx.change(s.policy.CountVerified(tx.Counters, to.source, c.CreatedAt), journal{})
		return nil
	})
	if err != nil {
		// The code was right and is spent. The share of verified codes of the prefix is now a little too low.
		s.opts.Logger.Warn("count a verified message", "challenge", c.ID.String(), "error", err)
	}
}

// change puts the changes of a delivery.Policy into tx.
func (tx *Tx) change(c delivery.Changes, events journal) {
	for _, counter := range c.Counters {
		tx.put(PutCounter{counter})
	}
	for _, n := range c.Notices {
		events.append(tx, Event{Type: noticeEvents[n.Kind], Reason: n.Reason})
	}
	if c.Phone != nil {
		tx.put(PutPhone{c.Phone})
	}
}

// noticeEvents has the types of the events of notices.
var noticeEvents = map[delivery.NoticeKind]EventType{
	delivery.PrefixPaused:      PrefixPaused,
	delivery.PrefixReleased:    PrefixReleased,
	delivery.DailyLimitReached: DailyLimitReached,
}

// DailyMessagesUsed returns the largest used share of the daily limits on messages of an environment:
// 1 if messages are refused.
func (s *Service) DailyMessagesUsed(ctx context.Context, env Environment) (float64, error) {
	keys := s.policy.DailyKeys(s.keys.Load(), env.ID)
	rows, err := s.store.View(ctx, Read{Bucket: keys[0].Bucket(), Counters: keys})
	if err != nil {
		return 0, err
	}
	return s.policy.DailyUse(env.Tenant(), rows.Counters, s.now()), nil
}

// SealCounters seals the names of all counters under the newest key, and reports whether an
// older release left some unsealed. Call it before messages are sent: the limits do not
// count unsealed counters. A node of that release may still be counting.
func (s *Service) SealCounters(ctx context.Context) (plain bool, err error) {
	if s.opts.Environments == nil {
		return false, nil
	}
	environments, err := s.opts.Environments(ctx)
	if err != nil {
		return false, err
	}
	for _, env := range environments {
		all, err := s.store.Counters(ctx, env)
		if err != nil {
			return plain, err
		}
		for i := range all {
			c := &all[i]
			if c.Sealed != nil && !s.keys.Load().Stale(c.Sealed) {
				continue
			}
			plain = plain || c.Sealed == nil
			if err := c.Open(s.keys.Load()); err != nil {
				return plain, err
			}
			if err := s.sealCounter(ctx, c.CounterKey); err != nil {
				return plain, err
			}
		}
	}
	return plain, nil
}

// sealCounter seals the name of a counter again, or renames a counter with a plain name to
// its keyed hash.
func (s *Service) sealCounter(ctx context.Context, stored delivery.CounterKey) error {
	keys := s.keys.Load()
	key := delivery.NewCounterKey(keys, stored.Environment, stored.Of)
	old := delivery.CounterKey{Environment: stored.Environment, Name: stored.Name}
	r := Read{Bucket: key.Bucket(), Counters: []delivery.CounterKey{key}}
	if old.Name != key.Name {
		r.Counters = append(r.Counters, old)
	}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		c := tx.Counters[0]
		if len(tx.Counters) == 2 && tx.Counters[1] != nil {
			if c == nil {
				c = &delivery.Counter{CounterKey: key}
			}
			c.Merge(tx.Counters[1])
			tx.put(DeleteCounter{old})
		}
		if c == nil {
			return nil // it has expired, or another node sealed it first
		}
		if err := c.Seal(keys); err != nil {
			return err
		}
		tx.put(PutCounter{c})
		return nil
	})
}
