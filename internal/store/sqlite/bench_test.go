package sqlite_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// population stores n factors.
func population(b *testing.B, s *sqlite.Store, n int) []*mfa.Factor {
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

// run calls fn from that many concurrent callers with an increasing number. It reports
// the longest call in addition to the usual figures.
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
		b.SetParallelism(callers) // multiplied by GOMAXPROCS
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				timed()
			}
		})
	}
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(longest.Load())/1e6, "longest-ms")
}

func insertChallenge(ctx context.Context, s *sqlite.Store, f *mfa.Factor) (*mfa.Challenge, error) {
	c := storetest.NewChallenge(f)
	err := s.Update(ctx, readFactor(f.ID), storetest.Writing(
		mfa.InsertChallenge{Challenge: c}, mfa.AppendEvent{Event: storetest.NewEvent(f)}))
	return c, err
}

func verify(ctx context.Context, s *sqlite.Store, c *mfa.Challenge) error {
	return s.Update(ctx, mfa.Read{Bucket: c.ID.Bucket(), Challenge: c.ID}, func(tx *mfa.Tx) error {
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

func BenchmarkStore(b *testing.B) {
	s := open(b, newPath(b))
	factors := population(b, s, 10_000)
	of := func(n int64) *mfa.Factor { return factors[n%int64(len(factors))] }
	for _, callers := range []int{1, 32} { // 32 on two processors are 64 callers
		name := func(what string) string { return fmt.Sprintf("%s/callers=%d", what, callers) }
		b.Run(name("InsertChallenge"), func(b *testing.B) {
			run(b, callers, func(n int64) error {
				_, err := insertChallenge(b.Context(), s, of(n))
				return err
			})
		})
		b.Run(name("Flow"), func(b *testing.B) {
			run(b, callers, func(n int64) error {
				c, err := insertChallenge(b.Context(), s, of(n))
				if err != nil {
					return err
				}
				return verify(b.Context(), s, c)
			})
		})
		b.Run(name("View"), func(b *testing.B) {
			run(b, callers, func(n int64) error {
				_, err := s.View(b.Context(), readFactor(of(n).ID))
				return err
			})
		})
	}
}
