package storetest

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func cancelledBeforeIsNotStored(t *testing.T, s mfa.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	factors := make([]*mfa.Factor, 512)
	for i := range factors {
		factors[i] = NewFactor(NewUser())
	}
	for i, err := range together(len(factors), func(i int) error {
		return s.Update(ctx, mfa.Read{Bucket: factors[i].ID.Bucket()}, Writing(mfa.InsertFactor{Factor: factors[i]}))
	}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Update = %v; want %v", err, context.Canceled)
		}
		same(t, view(t, s, readFactor(factors[i].ID)).Factor, nil)
	}
}

// cancelledIsStoredOrFails cancels Updates at different stages: it lets other
// goroutines run for a while before each cancellation. Then it checks the result of
// each Update.
func cancelledIsStoredOrFails(t *testing.T, s mfa.Store) {
	const rounds, callers = 30, 16
	failed := 0
	for round := range rounds {
		var factors [callers]*mfa.Factor
		for i := range factors {
			factors[i] = NewFactor(NewUser())
		}
		errs := together(callers, func(i int) error {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for range i * round {
					runtime.Gosched()
				}
				cancel()
			}()
			return s.Update(ctx, readFactor(factors[i].ID), Writing(mfa.InsertFactor{Factor: factors[i]}))
		})
		for i, err := range errs {
			stored := view(t, s, readFactor(factors[i].ID)).Factor != nil
			switch {
			case stored && err != nil:
				t.Errorf("failed but stored: %v", err)
			case !stored && err == nil:
				t.Error("neither failed nor stored")
			case err != nil && !errors.Is(err, context.Canceled):
				t.Errorf("Update = %v; want %v", err, context.Canceled)
			}
			if err != nil {
				failed++
			}
		}
	}
	t.Logf("%d of %d Updates were cancelled in time", failed, rounds*callers)
}

// cancelledReadFails cancels more concurrent reads than a store has connections, at
// different stages. Later reads must work.
func cancelledReadFails(t *testing.T, s mfa.Store) {
	f := storeFactor(t, s, NewUser())
	q := mfa.FactorQuery{User: mfa.UserKey{Environment: f.Environment, ID: f.User}, Limit: 1}
	reads := map[string]func(context.Context) error{
		"View":         func(ctx context.Context) error { _, err := s.View(ctx, readFactor(f.ID)); return err },
		"Factors":      func(ctx context.Context) error { _, err := s.Factors(ctx, q); return err },
		"FactorsAfter": func(ctx context.Context) error { _, err := s.FactorsAfter(ctx, mfa.FactorID{}, 1); return err },
		"Counters":     func(ctx context.Context) error { _, err := s.Counters(ctx, 1); return err },
		"ReadEvents": func(ctx context.Context) error {
			_, err := s.(events.Log).ReadEvents(ctx, events.Query{Environment: 1, Limit: 1})
			return err
		},
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if err := read(cancelled); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled before: %v; want %v", err, context.Canceled)
			}
			for _, err := range together(256, func(i int) error {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					for range i / 4 {
						runtime.Gosched()
					}
					cancel()
				}()
				return read(ctx)
			}) {
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled on its way: %v; want %v", err, context.Canceled)
				}
			}
			for _, err := range together(64, func(int) error { return read(t.Context()) }) {
				if err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
	same(t, view(t, s, readFactor(f.ID)).Factor, f)
}
