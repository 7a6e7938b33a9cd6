package postgres_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func BenchmarkInsertChallenge(b *testing.B) {
	s := open(b, postgres.Options{})
	factors := population(b, s, 10_000)
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			run(b, callers, func(n int64) error {
				_, err := insertChallenge(b.Context(), s, factors[n%int64(len(factors))])
				return err
			})
		})
	}
}

// BenchmarkFlow creates a challenge and verifies it, which takes two durable commits.
func BenchmarkFlow(b *testing.B) {
	url := migrated(b)
	factors := population(b, openAt(b, url, postgres.Options{}), 10_000)
	for _, group := range []int{1, 64} {
		for _, writers := range []int{1, 2, 4} {
			s := openAt(b, url, postgres.Options{Group: group, Writers: writers})
			b.Run(fmt.Sprintf("callers=64/group=%d/writers=%d", group, writers), func(b *testing.B) {
				run(b, 64, func(n int64) error {
					c, err := insertChallenge(b.Context(), s, factors[n%int64(len(factors))])
					if err != nil {
						return err
					}
					return verify(b.Context(), s, c)
				})
			})
		}
	}
}

// population stores n factors.
func population(b *testing.B, s *postgres.Store, n int) []*mfa.Factor {
	b.Helper()
	factors := make([]*mfa.Factor, n)
	writes := make([]mfa.Write, n)
	for i := range factors {
		factors[i] = storetest.NewFactor(storetest.NewUser())
		writes[i] = mfa.InsertFactor{Factor: factors[i]}
	}
	if err := s.Update(b.Context(), mfa.Read{}, storetest.Writing(writes...)); err != nil {
		b.Fatal(err)
	}
	return factors
}

// run calls fn from several callers at the same time with a growing number, and also
// reports the longest call.
func run(b *testing.B, callers int, fn func(n int64) error) {
	b.Helper()
	var n, longest atomic.Int64
	timed := func() {
		start := time.Now()
		if err := fn(n.Add(1)); err != nil {
			b.Error(err)
		}
		took := int64(time.Since(start))
		for old := longest.Load(); took > old && !longest.CompareAndSwap(old, took); old = longest.Load() {
		}
	}
	b.ReportAllocs()
	if callers == 1 {
		for b.Loop() {
			timed()
		}
	} else {
		b.ResetTimer()
		b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				timed()
			}
		})
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(longest.Load())/1e6, "longest-ms")
}

func insertChallenge(ctx context.Context, s *postgres.Store, f *mfa.Factor) (*mfa.Challenge, error) {
	c := storetest.NewChallenge(f)
	err := s.Update(ctx, readFactor(f.ID), storetest.Writing(
		mfa.InsertChallenge{Challenge: c}, mfa.AppendEvent{Event: storetest.NewEvent(f)}))
	return c, err
}

func verify(ctx context.Context, s *postgres.Store, c *mfa.Challenge) error {
	return s.Update(ctx, readChallenge(c.ID), func(tx *mfa.Tx) error {
		if err := tx.Challenge.Attempt(true, 5, c.CreatedAt); err != nil {
			return err
		}
		tx.Factor.LastStep++
		tx.Writes = []mfa.Write{
			tx.Challenge.Update(), tx.Factor.Update(),
			mfa.AppendEvent{Event: storetest.NewEvent(tx.Factor)},
		}
		return nil
	})
}
