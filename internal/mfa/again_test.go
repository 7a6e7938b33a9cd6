package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// hesitant is a Store that runs every decision twice, as after a conflict.
type hesitant struct{ mfa.Store }

func (s *hesitant) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	rows, err := s.View(ctx, r)
	if err != nil {
		return err
	}
	fn(&mfa.Tx{Rows: rows})
	return s.Store.Update(ctx, r, fn)
}

// A decision that runs twice stores the same rows as one that runs once.
func TestDecisionsBearRepeating(t *testing.T) {
	story := func(again bool) (told []string) {
		w := newFixture(t, mfa.Options{})
		rules := delivery.Rules{Daily: 6, Pumping: delivery.Pumping{Sends: 2}}
		w.Service = w.serviceOver(w.store, mfa.Options{SMS: rules})
		if again {
			w.Service = w.serviceOver(&hesitant{w.store}, mfa.Options{SMS: rules})
		}
		sent := 0
		w.carrier.Accept = func(m delivery.Message) delivery.Accepted {
			sent++
			id := fmt.Sprint("m", sent)
			w.receive("gateway", id, delivery.Sent, "") // before the answer
			return delivery.Accepted{Provider: "gateway", ID: id}
		}
		step := func(c mfa.IssuedChallenge, err error) mfa.ChallengeID {
			w.clock.Advance(time.Minute)
			told = append(told, fmt.Sprint(outcome(err), " ", len(c.Messages)))
			return c.ID
		}
		c := step(w.sendIn(production, w.phone(production, german(0))))
		step(w.Resend(t.Context(), production, c, nil))
		w.carrier.Lost = errCarrier
		step(w.Resend(t.Context(), production, c, onceKey[mfa.IssuedChallenge]("k", "r")))
		step(w.sendIn(production, w.phone(production, adasPhone)))
		w.carrier.Lost = nil
		step(w.Resend(t.Context(), production, c, onceKey[mfa.IssuedChallenge]("k", "r")))
		w.receive("gateway", "m2", delivery.Delivered, "")
		c = step(w.sendIn(production, w.phone(production, german(1))))
		w.clock.Advance(3 * time.Minute)
		_, err := w.sendIn(production, w.phone(production, german(2)))
		if !errors.Is(err, delivery.ErrPrefixPaused) {
			t.Errorf("Challenge = %v; want %v", err, delivery.ErrPrefixPaused)
		}
		v, err := w.Verify(t.Context(), production, c, mfa.VerifyParams{Code: w.carrier.Last().Code.Reveal()}, nil)
		told = append(told, fmt.Sprint(v.Valid, err))
		if released, err := w.releasePrefix(production, "+491512"); !released || err != nil {
			t.Errorf("ReleasePrefix = %v, %v", released, err)
		}
		step(w.sendIn(production, w.phone(production, german(3))))
		step(w.sendIn(production, w.phone(production, adasPhone)))
		step(w.sendIn(production, w.phone(production, german(4))))
		for _, of := range []string{"all", "abroad", "US", "DE", "+491512", "+160735"} {
			told = append(told, of+": "+w.counter(of))
		}
		counts := make(map[mfa.EventType]int)
		all := storetest.Events(t, w.store)
		for _, e := range all {
			counts[e.Type]++
		}
		return append(told, fmt.Sprint(counts, w.carrier.Sent()))
	}
	once, twice := story(false), story(true)
	for i := range once {
		if once[i] != twice[i] {
			t.Errorf("step %d: %s; want %s", i, twice[i], once[i])
		}
	}
}
