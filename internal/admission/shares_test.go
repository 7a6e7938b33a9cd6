package admission_test

import (
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/admission"
)

// fill takes places for key until it gets no more, and returns their number.
func fill(s *admission.Shares[string], key string) (n int) {
	for s.Enter(key) {
		n++
	}
	return n
}

func TestOneKeyMayHaveTheWholeLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 8, 9, 64, 4096, 16384} {
		s := admission.NewShares[string](limit)
		if n := fill(s, "a"); n != limit {
			t.Errorf("a limit of %d: one key gets %d", limit, n)
		}
		if !s.Enter("b") {
			t.Errorf("a limit of %d: another key gets nothing", limit)
		}
	}
}

func TestUpToTheLimitNoKeyIsRefused(t *testing.T) {
	const limit = 4096
	s := admission.NewShares[string](limit)
	for i := range limit {
		key := "small"
		if i < limit-limit/8 {
			key = "large"
		}
		if !s.Enter(key) {
			t.Fatalf("%s is refused with %d in progress", key, i)
		}
	}
}

// The greedy keys take places in turns, until none of them gets another one.
func TestGreedyKeysLeavePlaces(t *testing.T) {
	const limit = 4096
	for _, tc := range []struct{ greedy, left int }{{1, 400}, {2, 200}, {5, 80}, {20, 20}} {
		s := admission.NewShares[string](limit)
		for some := true; some; {
			some = false
			for i := range tc.greedy {
				if s.Enter(string(rune('A' + i))) {
					some = true
				}
			}
		}
		if n := fill(s, "other"); n < tc.left {
			t.Errorf("%d greedy keys leave %d places; want %d or more", tc.greedy, n, tc.left)
		}
	}
}

func TestPlacesComeBack(t *testing.T) {
	const limit = 64
	s := admission.NewShares[string](limit)
	for range 3 {
		var all sync.WaitGroup
		for _, key := range []string{"a", "b", "c"} {
			all.Go(func() {
				for range 1000 {
					if s.Enter(key) {
						s.Leave(key)
					}
				}
			})
		}
		all.Wait()
		n := fill(s, "a")
		if n != limit {
			t.Fatalf("one key gets %d; want %d", n, limit)
		}
		for range n {
			s.Leave("a")
		}
	}
}
