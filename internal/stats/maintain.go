package stats

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

const (
	lookEvery  = 10 * time.Second // for something to do
	sweepEvery = time.Hour
	sweepBatch = 500
	// walkAtLeast is how old the count of users may become on a node, even if it has counted no
	// event about a factor.
	walkAtLeast = time.Hour
	// walkLease is how long another node waits for a node that died during a walk. A walk
	// renews it.
	walkLease = time.Minute
	// A walk may keep the store busy for a fifth of its time, and for a twentieth of the time
	// between two walks.
	walkShare, restShare      = 5, 20
	shortestRest, longestRest = time.Minute, time.Hour
)

// maintain counts users and removes old rows until ctx ends. One node at a time does so.
func (c *Counter) maintain(ctx context.Context) {
	running := wallclock.Start()
	walked, swept := -walkAtLeast, -sweepEvery
	for wait(ctx, min(lookEvery, 2*c.opts.Poll)) == nil {
		now := running.Elapsed()
		if !c.isStale() && now-walked < walkAtLeast && now-swept < sweepEvery {
			continue
		}
		err := c.claim(ctx, walkLease)
		if errors.Is(err, errHeld) {
			continue
		}
		if err == nil && now-swept >= sweepEvery {
			if err = c.Sweep(ctx); err == nil {
				swept = now
			}
		}
		if err == nil {
			if err = c.Walk(ctx); err == nil {
				walked = now
			}
		}
		if err != nil && ctx.Err() == nil {
			c.opts.Logger.Warn("statistics: the count of users is interrupted; it begins again", "error", err)
			c.opts.Failed()
		}
	}
}

func (c *Counter) isStale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

// errHeld means that another node does the work, or that it is too early for it.
var errHeld = errors.New("the lease is held")

// claim takes the lease of the work that concerns all environments, or renews it.
func (c *Counter) claim(ctx context.Context, d time.Duration) error {
	return c.store.UpdateStatistics(ctx, everywhere, nil, func(tx *Tx) error {
		now, p := c.now(), &tx.Position
		if p.LeasedBy != c.id && now.Before(p.LeasedUntil) {
			return errHeld
		}
		p.LeasedBy, p.LeasedUntil = c.id, now.Add(d)
		return nil
	})
}

// rest keeps all nodes from another walk for a while.
func (c *Counter) rest(ctx context.Context, d time.Duration) error {
	return c.store.UpdateStatistics(ctx, everywhere, nil, func(tx *Tx) error {
		tx.Position.LeasedBy, tx.Position.LeasedUntil = [16]byte{}, c.now().Add(d)
		return nil
	})
}

// Sweep removes the rows whose retention has ended.
func (c *Counter) Sweep(ctx context.Context) error {
	all, err := c.opts.Environments(ctx)
	if err != nil {
		return err
	}
	for _, env := range all {
		for _, series := range []Series{Events, SMS, Prefixes, Holders} {
			for more := true; more; {
				if more, err = c.store.SweepStatistics(ctx, env, series, c.horizon(series), sweepBatch); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// The groups of the series of users. Their first number is the count; that of a time is in
// Unix milliseconds.
var (
	groupUsers     = groupOf("users", "", "")
	groupNone      = groupOf("none", "", "") // all factors are suspended
	groupOne       = groupOf("one", "", "")
	groupMore      = groupOf("more", "", "")
	groupResistant = groupOf("phishing_resistant", "", "")
	groupBegan     = groupOf("began", "", "")
	groupEnded     = groupOf("ended", "", "")
)

// Walk reads all factors, part by part with pauses, counts the users of each environment by
// their factors, and stores the counts. Each user is counted once, as of a moment during the
// walk.
func (c *Counter) Walk(ctx context.Context) error {
	all, err := c.opts.Environments(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.stale = false // a change from here on may be missing
	c.mu.Unlock()
	found := make(map[mfa.EnvironmentID]counts, len(all))
	for _, env := range all {
		found[env] = make(counts)
	}
	began, busy, claimed := c.now(), time.Duration(0), wallclock.Start()
	for part := range ids.Buckets {
		reading := wallclock.Start()
		holdings, err := c.store.Holdings(ctx, part)
		if err != nil {
			return err
		}
		countUsers(found, holdings)
		took := reading.Elapsed()
		busy += took
		if err := wait(ctx, (walkShare-1)*took); err != nil {
			return err
		}
		if claimed.Elapsed() > walkLease/3 {
			if err := c.claim(ctx, walkLease); err != nil {
				return err
			}
			claimed = wallclock.Start()
		}
	}
	ended := c.now()
	for _, env := range all {
		n := found[env]
		n.add(Holders, groupBegan, &numbers{began.UnixMilli()})
		n.add(Holders, groupEnded, &numbers{ended.UnixMilli()})
		err := c.store.UpdateStatistics(ctx, env, []Key{{Holders, HourOf(ended)}}, func(tx *Tx) error {
			tx.Rows[0].Counts = n.encode()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.rest(ctx, min(max(restShare*busy, shortestRest), longestRest))
}

// countUsers adds users to the counts of their environments. The factors of a user follow one
// another.
func countUsers(found map[mfa.EnvironmentID]counts, holdings []Holding) {
	for len(holdings) > 0 {
		n, first := 1, holdings[0]
		for n < len(holdings) && holdings[n].Environment == first.Environment && holdings[n].User == first.User {
			n++
		}
		if c := found[first.Environment]; c != nil { // otherwise the environment is newer than the walk
			countUser(c, holdings[:n])
		}
		holdings = holdings[n:]
	}
}

// countUser counts a user with these factors. Suspended factors do not count. Recovery codes
// count only as their type: they are for the loss of a factor.
func countUser(c counts, factors []Holding) {
	one := &numbers{1}
	usable, suspended, resistant := 0, 0, false
	types := make(map[mfa.FactorType]bool)
	for _, f := range factors {
		if f.Suspended {
			suspended++
			continue
		}
		types[f.Type] = true
		if f.Type.IsRecovery() {
			continue
		}
		usable++
		resistant = resistant || f.Type.IsPhishingResistant()
	}
	c.add(Holders, groupUsers, one)
	switch {
	case usable == 0 && suspended == 0: // only recovery codes
	case usable == 0:
		c.add(Holders, groupNone, one)
	case usable == 1:
		c.add(Holders, groupOne, one)
	default:
		c.add(Holders, groupMore, one)
	}
	if resistant {
		c.add(Holders, groupResistant, one)
	}
	for typ := range types {
		c.add(Holders, groupOf("type", string(typ), ""), one)
	}
}
