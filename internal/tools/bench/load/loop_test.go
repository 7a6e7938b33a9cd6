package load_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/bare"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

func clients(t *testing.T, n int) []*load.Client {
	t.Helper()
	s := httptest.NewServer(bare.Handler())
	t.Cleanup(s.Close)
	all, err := load.Clients(strings.TrimPrefix(s.URL, "http://"), "sk_live_key", "me", n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { load.CloseAll(all) })
	return all
}

func TestScheduleDoesNotDrift(t *testing.T) {
	start := time.Unix(0, 0)
	for _, tc := range []struct {
		rate float64
		i    int
		want time.Duration
	}{
		{1000, 0, 0},
		{1000, 1, time.Millisecond},
		{1000, 3_600_000, time.Hour},
		{3, 3, time.Second},
		{3, 3_000_000, 1_000_000 * time.Second},
	} {
		if got := load.Schedule(start, tc.rate, tc.i).Sub(start); got-tc.want > time.Microsecond || tc.want-got > time.Microsecond {
			t.Errorf("at %v a second arrival %d is due after %v; want %v", tc.rate, tc.i, got, tc.want)
		}
	}
}

// While one flow takes long, others go on arriving and wait for it. Each of them
// counts from when it arrived.
func TestOpenLoopCountsTheWaitBehindASlowFlow(t *testing.T) {
	first := true
	slow := func(*load.Client) error {
		if first {
			first = false
			<-time.After(150 * time.Millisecond)
		}
		return nil
	}
	w := load.Window{Length: 200 * time.Millisecond}
	r, err := load.Open(t.Context(), clients(t, 1), slow, 1000, 1000, w)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Latency.Count(); n != 200 || r.Unsent != 0 {
		t.Errorf("%d of 200 arrivals were counted, %d not sent", n, r.Unsent)
	}
	if p50 := r.Latency.Quantile(0.5); p50 < 40*time.Millisecond {
		t.Errorf("half of them waited at most %v behind a flow of 150 ms", p50)
	}
	if r.Latency.Max() < 150*time.Millisecond {
		t.Errorf("the longest took %v", r.Latency.Max())
	}
}

func TestClosedLoopDoesNot(t *testing.T) {
	first := true
	slow := func(*load.Client) error {
		if first {
			first = false
			<-time.After(50 * time.Millisecond)
		}
		return nil
	}
	r, err := load.Closed(t.Context(), clients(t, 1), slow, load.Window{Length: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if p50 := r.Latency.Quantile(0.5); p50 > 5*time.Millisecond {
		t.Errorf("half of the flows took %v or more; only one was slow", p50)
	}
}

func TestExcessArrivalsAreNotSent(t *testing.T) {
	release := make(chan struct{})
	var began atomic.Int64
	stuck := func(*load.Client) error {
		began.Add(1)
		<-release
		return nil
	}
	w := load.Window{Length: 100 * time.Millisecond, End: func() { close(release) }}
	r, err := load.Open(t.Context(), clients(t, 3), stuck, 1000, 0, w)
	if err != nil {
		t.Fatal(err)
	}
	if n := int(began.Load()); n < 3 || n > 50 || n+r.Unsent != 100 {
		t.Errorf("%d of 100 arrivals were begun by 3 clients, and %d not sent; want all of the others", n, r.Unsent)
	}
}

func TestOnlyTheWindowCounts(t *testing.T) {
	w := load.Window{Warm: 100 * time.Millisecond, Length: 100 * time.Millisecond}
	var calls, early atomic.Int64
	start := time.Now()
	quick := func(*load.Client) error {
		<-time.After(time.Millisecond)
		calls.Add(1)
		if time.Since(start) < w.Warm { // the load began after start
			early.Add(1)
		}
		return nil
	}
	r, err := load.Closed(t.Context(), clients(t, 4), quick, w)
	if err != nil {
		t.Fatal(err)
	}
	if e, all := int(early.Load()), int(calls.Load()); e == 0 || r.Done == 0 || r.Done+e > all {
		t.Errorf("%d flows done of %d, of which %d had ended before the window", r.Done, all, e)
	}
	if want := float64(r.Done) * 10; r.PerSecond() != want {
		t.Errorf("PerSecond = %v; want %v", r.PerSecond(), want)
	}
}

func TestRefusalsAreCountedApart(t *testing.T) {
	var n atomic.Int64
	half := func(*load.Client) error {
		<-time.After(time.Millisecond)
		if n.Add(1)%2 == 0 {
			return load.ErrRefused
		}
		return nil
	}
	r, err := load.Closed(t.Context(), clients(t, 1), half, load.Window{Length: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Done - r.Refused; r.Done == 0 || d < -1 || d > 1 || r.Latency.Count() < uint64(r.Done) || r.Latency.Count() > uint64(r.Done)+1 {
		t.Errorf("%d done, %d refused, %d latencies; want as many refused as done, without latencies", r.Done, r.Refused, r.Latency.Count())
	}
}

func TestFirstErrorEndsTheLoad(t *testing.T) {
	broken := errors.New("broken")
	var n atomic.Int64
	fails := func(*load.Client) error {
		if n.Add(1) == 10 {
			return broken
		}
		return nil
	}
	start := time.Now()
	w := load.Window{Length: time.Hour}
	if _, err := load.Closed(t.Context(), clients(t, 4), fails, w); !errors.Is(err, broken) {
		t.Errorf("Closed = %v; want %v", err, broken)
	}
	n.Store(0)
	if _, err := load.Open(t.Context(), clients(t, 4), fails, 1000, 10, w); !errors.Is(err, broken) {
		t.Errorf("Open = %v; want %v", err, broken)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("that took %v", took)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	flow := func(*load.Client) error {
		if n.Add(1) == 10 {
			cancel()
		}
		return nil
	}
	if _, err := load.Closed(ctx, clients(t, 2), flow, load.Window{Length: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("Closed = %v; want %v", err, context.Canceled)
	}
}

func TestClientsNeedAServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	addr := strings.TrimPrefix(s.URL, "http://")
	s.Close()
	if _, err := load.Clients(addr, "", "me", 2); err == nil {
		t.Error("clients connected to nobody")
	}
}
