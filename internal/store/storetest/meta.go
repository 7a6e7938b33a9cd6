package storetest

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// A MetaStore keeps named values.
type MetaStore interface {
	Meta(ctx context.Context, name string) ([]byte, error)
	PutMeta(ctx context.Context, name string, value []byte) error
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
	DeleteMeta(ctx context.Context, name string) error
}

// RunMeta tests every promise of stores about named values. open returns an empty
// store.
func RunMeta(t *testing.T, open func(*testing.T) MetaStore) {
	check := func(promise string, test func(*testing.T, MetaStore)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("a value is swapped only for the one that is stored", metaIsSwapped)
	check("of racing swaps one wins", racingSwaps)
}

func metaIsSwapped(t *testing.T, s MetaStore) {
	step := func(old, value string, want bool, stored string) {
		t.Helper()
		var was []byte
		if old != "" {
			was = []byte(old)
		}
		if got, err := s.SwapMeta(t.Context(), "name", was, []byte(value)); err != nil || got != want {
			t.Errorf("SwapMeta(%q, %q) = %t, %v; want %t", old, value, got, err, want)
		}
		if got, err := s.Meta(t.Context(), "name"); err != nil || string(got) != stored {
			t.Errorf("Meta = %q, %v; want %q", got, err, stored)
		}
	}
	step("a", "b", false, "")
	step("", "a", true, "a")
	step("", "b", false, "a")
	step("b", "c", false, "a")
	step("a", "b", true, "b")
	if err := s.DeleteMeta(t.Context(), "name"); err != nil {
		t.Fatal(err)
	}
	step("b", "c", false, "")
	step("", "d", true, "d")
}

func racingSwaps(t *testing.T, s MetaStore) {
	var old []byte
	for round := range byte(5) {
		var wins atomic.Int32
		var won atomic.Pointer[[]byte]
		start := make(chan struct{})
		var racers sync.WaitGroup
		for i := range byte(16) {
			racers.Go(func() {
				value := []byte{round, i}
				<-start
				swapped, err := s.SwapMeta(t.Context(), "name", old, value)
				if err != nil {
					t.Errorf("SwapMeta = %v", err)
				}
				if swapped {
					wins.Add(1)
					won.Store(&value)
				}
			})
		}
		close(start)
		racers.Wait()
		got, err := s.Meta(t.Context(), "name")
		if err != nil || wins.Load() != 1 || !bytes.Equal(got, *won.Load()) {
			t.Fatalf("round %d: %d racers won, and %x is stored (%v); want one, and its value", round, wins.Load(), got, err)
		}
		old = got
	}
}
