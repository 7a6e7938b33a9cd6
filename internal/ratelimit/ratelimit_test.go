package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/ratelimit"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func limiter(t testing.TB, perMinute int) *ratelimit.Limiter[string] {
	t.Helper()
	l, err := ratelimit.New[string](perMinute)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// take asks n times at now and returns how often it was allowed.
func take(l *ratelimit.Limiter[string], key string, now time.Time, n int) (allowed int) {
	for range n {
		if _, ok := l.Allow(key, now); ok {
			allowed++
		}
	}
	return allowed
}

func TestLimitCannotBeSwitchedOff(t *testing.T) {
	for _, perMinute := range []int{0, -1, -6000, int(time.Minute) + 1} {
		if l, err := ratelimit.New[string](perMinute); err == nil || l != nil {
			t.Errorf("New(%d) = %v, %v; want an error", perMinute, l, err)
		}
	}
}

func TestBucketHoldsTheLimitAndRefillsEvenly(t *testing.T) {
	for _, tc := range []struct {
		name      string
		perMinute int
		after     time.Duration
		want      int // allowed after that long, starting from an empty bucket
	}{
		{"at once", 60, 0, 0},
		{"just before a token", 60, time.Second - 1, 0},
		{"one token", 60, time.Second, 1},
		{"half a minute", 60, 30 * time.Second, 30},
		{"a minute", 60, time.Minute, 60},
		{"an hour", 60, time.Hour, 60},
		{"default limit, 10 ms", 6000, 10 * time.Millisecond, 1},
		{"default limit, 1 s", 6000, time.Second, 100},
		{"one a minute", 1, time.Minute - 1, 0},
		{"one a minute, later", 1, time.Minute, 1},
		{"uneven", 7, time.Minute, 6}, // intervals are rounded up to a nanosecond
		{"uneven, later", 7, time.Minute + 10, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := limiter(t, tc.perMinute)
			if got := take(l, "k", noon, tc.perMinute+10); got != tc.perMinute {
				t.Fatalf("a full bucket allowed %d; want %d", got, tc.perMinute)
			}
			if got := take(l, "k", noon.Add(tc.after), tc.perMinute+10); got != tc.want {
				t.Errorf("after %v it allowed %d; want %d", tc.after, got, tc.want)
			}
		})
	}
}

func TestRetryAfterIsWhenATokenComes(t *testing.T) {
	l := limiter(t, 60)
	take(l, "k", noon, 60)
	now := noon.Add(300 * time.Millisecond)
	wait, ok := l.Allow("k", now)
	if ok || wait != 700*time.Millisecond {
		t.Fatalf("Allow = %v, %t; want 700ms, false", wait, ok)
	}
	if _, ok := l.Allow("k", now.Add(wait-1)); ok {
		t.Error("allowed before the wait was over")
	}
	if wait, ok := l.Allow("k", now.Add(wait)); !ok || wait != 0 {
		t.Errorf("after the wait: %v, %t; want 0, true", wait, ok)
	}
}

func TestSeconds(t *testing.T) {
	for _, tc := range []struct {
		wait time.Duration
		want int
	}{
		{-time.Second, 1}, {0, 1}, {1, 1}, {time.Second, 1}, {time.Second + 1, 2}, {59500 * time.Millisecond, 60},
	} {
		if got := ratelimit.Seconds(tc.wait); got != tc.want {
			t.Errorf("Seconds(%v) = %d; want %d", tc.wait, got, tc.want)
		}
	}
}

func TestKeysDoNotShareBuckets(t *testing.T) {
	l := limiter(t, 3)
	take(l, "a", noon, 5)
	if got := take(l, "b", noon, 5); got != 3 {
		t.Errorf("another key was allowed %d; want 3", got)
	}
}

// TestNeverMoreThanPromised asks at random times and holds every span between two
// of them against the promise.
func TestNeverMoreThanPromised(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		perMinute := 1 + rnd.IntN(90)
		pause := time.Duration(1 + rnd.Int64N(int64(4*time.Minute)/int64(perMinute)))
		l := limiter(t, perMinute)
		interval := time.Minute / time.Duration(perMinute)
		var allowed []time.Time
		for latest, asked := noon, 0; asked < 600; asked++ {
			latest = latest.Add(time.Duration(rnd.Int64N(int64(2 * pause))))
			if rnd.IntN(100) == 0 {
				latest = latest.Add(time.Duration(rnd.Int64N(int64(3 * time.Minute))))
			}
			now := latest
			if rnd.IntN(4) == 0 { // a second caller, which is late
				l.Allow("another", latest)
				now = latest.Add(-time.Duration(rnd.Int64N(int64(time.Second))))
			}
			if wait, ok := l.Allow("k", now); ok {
				allowed = append(allowed, latest)
			} else if wait <= 0 || wait > interval+1 {
				t.Fatalf("seed %d: wait of %v; want 0 to %v", seed, wait, interval)
			}
		}
		for i, from := range allowed {
			for j, to := range allowed[i:] {
				if most := perMinute + int(to.Sub(from)/interval); j+1 > most {
					t.Fatalf("seed %d: %d allowed in %v; want at most %d", seed, j+1, to.Sub(from), most)
				}
			}
		}
	}
}

// TestNeverLessThanPromised compares the Limiter with a simple token bucket.
func TestNeverLessThanPromised(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		perMinute := []int{1, 2, 3, 4, 5, 6, 10, 60, 100}[rnd.IntN(9)] // divide a minute
		interval := time.Minute / time.Duration(perMinute)
		l := limiter(t, perMinute)
		now, tokens := noon, time.Duration(perMinute)*interval // in time, to stay exact
		for asked := range 600 {
			pause := time.Duration(rnd.Int64N(int64(2 * interval)))
			if rnd.IntN(50) == 0 {
				pause = time.Duration(rnd.Int64N(int64(3 * time.Minute)))
			}
			now = now.Add(pause)
			tokens = min(tokens+pause, time.Duration(perMinute)*interval)
			want := tokens >= interval
			if want {
				tokens -= interval
			}
			if wait, ok := l.Allow("k", now); ok != want || !ok && wait != interval-tokens {
				t.Fatalf("seed %d, request %d: Allow = %v, %t; want %t", seed, asked, wait, ok, want)
			}
		}
	}
}

func TestFullBucketsAreForgotten(t *testing.T) {
	l := limiter(t, 60)
	now, most := noon, 0
	for i := range 100_000 {
		now = now.Add(10 * time.Millisecond) // 6,000 new keys a minute
		l.Allow(fmt.Sprint("key ", i), now)
		if i%1000 == 0 {
			most = max(most, l.Len())
		}
	}
	if most < 6000 || most > 12_000 {
		t.Errorf("at most %d buckets were held; want those of one to two minutes, 6000 to 12000", most)
	}
	l.Allow("k", now.Add(2*time.Minute))
	if got := l.Len(); got != 1 {
		t.Errorf("after a pause %d buckets are held; want 1", got)
	}
}

func TestBucketsInUseAreKept(t *testing.T) {
	l := limiter(t, 60)
	now := noon
	take(l, "k", now, 60)
	for second := range 600 {
		now = now.Add(time.Second)
		l.Allow(fmt.Sprint("key ", second), now)
		if got := take(l, "k", now, 10); got != 1 {
			t.Fatalf("second %d: allowed %d; want 1", second, got)
		}
	}
}

func TestClockSetBackIsHarmless(t *testing.T) {
	for _, back := range []time.Duration{time.Millisecond, time.Second, 30 * time.Second, time.Minute, time.Hour, 1000 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			l := limiter(t, 60)
			take(l, "empty", noon.Add(-time.Second), 60)
			take(l, "empty", noon, 60)
			take(l, "half", noon, 30)
			now := noon.Add(-back)
			if got := take(l, "empty", now, 10); got != 0 {
				t.Errorf("an empty bucket allowed %d", got)
			}
			for _, key := range []string{"empty", "half"} {
				if wait, ok := l.Allow(key, now); !ok && wait > time.Second {
					t.Errorf("%s: wait of %v; want at most a second", key, wait)
				}
			}
			if got := take(l, "new", now, 100); got != 60 {
				t.Errorf("a new key was allowed %d; want 60", got)
			}
			now = now.Add(10 * time.Second)
			if got := take(l, "empty", now, 100); got < 9 || got > 10 {
				t.Errorf("ten seconds later it allowed %d; want 10, or 9 where less than a second was lost", got)
			}
			now = now.Add(10 * time.Minute)
			for _, key := range []string{"empty", "half", "new"} {
				if got := take(l, key, now, 100); got != 60 {
					t.Errorf("%s: ten minutes later it allowed %d; want 60", key, got)
				}
			}
			if got := l.Len(); got != 3 {
				t.Errorf("%d buckets are held; want 3", got)
			}
		})
	}
}

func TestConcurrentCallersShareOneBucket(t *testing.T) {
	l := limiter(t, 1000)
	var allowed atomic.Int64
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for i := range 1000 {
				allowed.Add(int64(take(l, "k", noon, 1)))
				l.Allow(fmt.Sprint(caller, i), noon)
			}
			l.Len()
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 1000 {
		t.Errorf("8 callers were allowed %d; want 1000", got)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := limiter(b, 6000)
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Millisecond)
		l.Allow("api_key_01FZ4WMXXA09XF6NK1XMKNWB3M", now)
	}
}

func BenchmarkDeny(b *testing.B) {
	l := limiter(b, 6000)
	take(l, "api_key_01FZ4WMXXA09XF6NK1XMKNWB3M", noon, 6000)
	b.ReportAllocs()
	for b.Loop() {
		l.Allow("api_key_01FZ4WMXXA09XF6NK1XMKNWB3M", noon)
	}
}

func BenchmarkAllowManyKeys(b *testing.B) {
	l := limiter(b, 6000)
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("api_key_%026d", i)
	}
	now, i := noon, 0
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Microsecond)
		l.Allow(keys[i%len(keys)], now)
		i++
	}
}

func BenchmarkAllowParallel(b *testing.B) {
	l := limiter(b, 6000)
	var caller atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		key := fmt.Sprint("api_key_01FZ4WMXXA09XF6NK1XMKNWB3M", caller.Add(1))
		for pb.Next() {
			l.Allow(key, time.Now())
		}
	})
}
