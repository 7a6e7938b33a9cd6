package operator_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// onceRequest returns a request with an idempotency key.
func onceRequest(t *testing.T, key, body string) *idempotency.Request[[]byte] {
	t.Helper()
	scope := idempotency.Scope{APIKey: "key_1", Method: "POST", Path: "/x", Body: []byte(body), TargetInBody: true}
	r, err := idempotency.New(key, scope, func(answer []byte, _ error) []byte { return answer })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnInterruptedRequestIsNeverCarriedOutTwice(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	runs := 0
	func() { // the process ends after the effect
		defer func() { _ = recover() }()
		_, _, _ = o.Once(t.Context(), onceRequest(t, "k", "{}"), func() ([]byte, bool) { runs++; panic("killed") })
	}()
	again := func() error {
		_, _, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), func() ([]byte, bool) { runs++; return []byte("done"), true })
		return err
	}
	if err := again(); !errors.Is(err, operator.ErrInterrupted) || runs != 1 {
		t.Errorf("a retry = %v after %d runs; want %v after one", err, runs, operator.ErrInterrupted)
	}
	w.clock.Advance(24 * time.Hour)
	if err := again(); err != nil || runs != 2 {
		t.Errorf("after a day = %v after %d runs", err, runs)
	}
}

func TestAFailedRequestIsCarriedOutAgainIfItChangedNothing(t *testing.T) {
	for _, changed := range []bool{false, true} {
		w := newFixture(t, mfa.Options{})
		o := w.operator(operator.Options{Keys: w.keyset})
		runs := 0
		run := func() ([]byte, bool) { runs++; return nil, changed }
		if _, _, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), run); err != nil {
			t.Fatal(err)
		}
		_, _, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), run)
		if again := runs == 2; again == changed || errors.Is(err, operator.ErrInterrupted) != changed {
			t.Errorf("changed %v: a retry = %v after %d runs", changed, err, runs)
		}
	}
}

func TestOfRacingRequestsWithOneKeyOneIsCarriedOut(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	var mu sync.Mutex
	var all sync.WaitGroup
	runs := 0
	for range 16 {
		all.Go(func() {
			answer, _, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), func() ([]byte, bool) {
				mu.Lock()
				defer mu.Unlock()
				runs++
				return []byte("done"), true
			})
			if err != nil && !errors.Is(err, operator.ErrInterrupted) || err == nil && string(answer) != "done" {
				t.Errorf("Once = %q, %v", answer, err)
			}
		})
	}
	all.Wait()
	if runs != 1 {
		t.Errorf("the request was carried out %d times", runs)
	}
	if answer, replayed, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), nil); err != nil || !replayed || string(answer) != "done" {
		t.Errorf("a retry = %q, %v, %v", answer, replayed, err)
	}
	if _, _, err := o.Once(t.Context(), onceRequest(t, "k", `{"x":1}`), nil); !errors.Is(err, idempotency.ErrKeyReused) {
		t.Errorf("another request = %v; want %v", err, idempotency.ErrKeyReused)
	}
}

func TestAnAnswerThatIsNotRecordedLeavesTheKeyFree(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	for range 2 {
		if answer, replayed, err := o.Once(t.Context(), onceRequest(t, "k", "{}"), func() ([]byte, bool) { return nil, false }); answer != nil || replayed || err != nil {
			t.Errorf("Once = %q, %v, %v", answer, replayed, err)
		}
	}
}
