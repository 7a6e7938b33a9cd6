package main

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

const (
	stormers = 32 // connections that try recovery codes: on two processors, as many as may wait
	sets     = 8  // users with recovery codes, each good for fewer than 100 wrong ones
)

// measureRecovery measures flow without and with a storm of wrong recovery codes, each of which costs
// the server a slow hash.
func (b *bench) measureRecovery(ctx context.Context) error {
	for _, s := range b.stores() {
		storm, err := b.newStorm(s)
		if err != nil {
			return err
		}
		for round := range b.opts.rounds {
			b.say("recovery codes on %s, round %d of %d", s.name, round+1, b.opts.rounds)
			if _, err := b.closed(ctx, s, "flow, no storm", "flow", round); err != nil {
				return err
			}
			if err := b.inStorm(ctx, s, storm, round); err != nil {
				return err
			}
		}
		r := &b.results
		r.figure("recovery codes a second", s.name, "", r.of("recovery codes", s.name, perSecond)...)
		r.figure("flow in a storm of recovery codes", s.name, "", over(r.of("flow, storm", s.name, perSecond), r.of("flow, no storm", s.name, perSecond))...)
		r.figure("p99 of flow in the storm", s.name, "ms", r.of("flow, storm", s.name, p99)...)
	}
	return nil
}

// newStorm creates recovery codes on a server, and returns the flow that tries wrong ones.
func (b *bench) newStorm(s *process) (load.Flow, error) {
	name := b.clientName()
	c, err := load.NewClient(s.addr, s.key, name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var users []load.Factor
	for i := range sets {
		b.say("recovery codes of user %d of %d on %s", i+1, sets, s.name)
		user := fmt.Sprintf("storm-%s-%d", name, i)
		if err := c.NewRecovery(user); err != nil {
			return nil, err
		}
		users = append(users, load.Factor{User: user})
	}
	return load.RecoverWrong(load.NewFactors(users)), nil
}

// inStorm measures flow while other connections try recovery codes, and both in the same window.
func (b *bench) inStorm(ctx context.Context, s *process, storm load.Flow, round int) error {
	clients, err := load.Clients(s.addr, s.key, b.clientName(), stormers)
	if err != nil {
		return err
	}
	defer load.CloseAll(clients)
	type outcome struct {
		result *load.Result
		err    error
	}
	stormed := make(chan outcome, 1)
	go func() {
		r, err := load.Closed(ctx, clients, storm, b.usual())
		stormed <- outcome{r, err}
	}()
	_, err = b.closed(ctx, s, "flow, storm", "flow", round)
	got := <-stormed
	if err != nil {
		return err
	}
	if got.err != nil {
		return fmt.Errorf("recovery codes on %s: %w", s.name, got.err)
	}
	r := got.result
	b.results.Flows = append(b.results.Flows, Measurement{
		Flow: "recovery codes", Server: s.name, Round: round, PerSecond: r.PerSecond(),
		P50: ms(r.Latency.Quantile(0.5)), P99: ms(r.Latency.Quantile(0.99)), Max: ms(r.Latency.Max()), Refused: r.Refused,
	})
	return nil
}
