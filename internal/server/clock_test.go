package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

// postgresConfig returns the configuration of a server over an empty database.
func postgresConfig(t *testing.T) config.Config {
	t.Helper()
	cfg := configIn(t.TempDir())
	cfg.Store = pgtest.Shared(t).Database(t)
	path := filepath.Join(t.TempDir(), "keyset")
	if _, err := secret.CreateKeysetFile(path); err != nil {
		t.Fatal(err)
	}
	cfg.Keyset = "file:" + path
	return cfg
}

// A skewed clock is ahead of that of the machine.
type skewed struct{ by atomic.Int64 }

func (s *skewed) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

func (s *skewed) set(by time.Duration) { s.by.Store(int64(by)) }

func newSkewed(t *testing.T, cfg config.Config, by time.Duration) (*server.Server, *skewed, error) {
	t.Helper()
	var c skewed
	c.set(by)
	parts := parts(t)
	parts.Now = c.now
	s, err := server.New(t.Context(), cfg, parts)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, &c, err
}

func TestANodeWithAWrongClockDoesNotStart(t *testing.T) {
	cfg := postgresConfig(t)
	for _, tc := range []struct {
		skew, limit time.Duration
		want        string // "": it starts
	}{
		{0, 2 * time.Second, ""},
		{time.Second, 2 * time.Second, ""},
		{-time.Second, 2 * time.Second, ""},
		{3 * time.Second, 2 * time.Second, "ahead of that of the database"},
		{-3 * time.Second, 2 * time.Second, "behind that of the database"},
		{25 * time.Hour, 2 * time.Second, "ahead of that of the database"},
		{3 * time.Second, 10 * time.Second, ""},
	} {
		cfg.MaxClockSkew = tc.limit
		s, _, err := newSkewed(t, cfg, tc.skew)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("skew %v, max_clock_skew %v: New = %v; want %q", tc.skew, tc.limit, err, tc.want)
		}
		if err == nil {
			s.Close()
		}
	}
}

// post sends a request to the API of a server.
func post(s *server.Server, key, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	s.ServeHTTP(w, r)
	return w
}

// sandboxKey returns an API key of a new sandbox.
func sandboxKey(t *testing.T, s *server.Server) string {
	t.Helper()
	env, err := s.Access().CreateEnvironment(t.Context(), mfa.Caller{}, "sandbox", false)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := s.Access().CreateKey(t.Context(), mfa.Caller{Environment: env}, access.KeyParams{})
	if err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}

const enrollment = `{"type":"generic_otp"}`

// TestAWrongClockStopsANode moves the clock of a running node.
func TestAWrongClockStopsANode(t *testing.T) {
	cfg := postgresConfig(t)
	cfg.EventRetention = time.Hour
	s, clock, err := newSkewed(t, cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	key := sandboxKey(t, s)
	if w := post(s, key, "/auth/factors/enroll", enrollment); w.Code != http.StatusCreated {
		t.Fatalf("enroll: %d %s", w.Code, w.Body)
	}
	for _, skew := range []time.Duration{402 * 24 * time.Hour, -3 * time.Second} {
		clock.set(skew)
		s.CheckClock(t.Context())
		if got := status(s, "/readyz"); got != http.StatusServiceUnavailable {
			t.Errorf("skew %v: readyz = %d; want 503", skew, got)
		}
		if w := post(s, key, "/auth/factors/enroll", enrollment); w.Code != http.StatusServiceUnavailable {
			t.Errorf("skew %v: enroll = %d; want 503", skew, w.Code)
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		clock.set(0)
		s.CheckClock(t.Context())
		if got := status(s, "/readyz"); got != http.StatusOK {
			t.Errorf("after a skew of %v: readyz = %d; want 200", skew, got)
		}
	}
	// Between two comparisons a wrong clock is not noticed, and still erases nothing.
	clock.set(402 * 24 * time.Hour)
	if err := s.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.CountEvents(t); n != 3 { // of the environment, its key and the factor
		t.Errorf("%d events are left; want 3", n)
	}
}

// A slowClock answers late, with the time at which the question or the answer left.
type slowClock struct {
	to, from time.Duration
}

func (c slowClock) Clock(context.Context) (time.Time, error) {
	time.Sleep(c.to)
	at := time.Now()
	time.Sleep(c.from)
	return at, nil
}

func TestASlowRoundTripIsNoSkew(t *testing.T) {
	for _, tc := range []struct {
		path slowClock
		skew time.Duration
		want bool
	}{
		{slowClock{3 * time.Second, 0}, 0, false},
		{slowClock{0, 3 * time.Second}, 0, false},
		{slowClock{100 * time.Millisecond, 100 * time.Millisecond}, 3 * time.Second, true},
		{slowClock{100 * time.Millisecond, 100 * time.Millisecond}, -3 * time.Second, true},
		{slowClock{0, 0}, 2 * time.Second, false},
		{slowClock{0, 0}, 2*time.Second + time.Millisecond, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			now := func() time.Time { return time.Now().Add(tc.skew) }
			if wrong, err := server.ClockIsWrong(t.Context(), tc.path, now, 2*time.Second); err != nil || wrong != tc.want {
				t.Errorf("%+v: wrong = %t, %v; want %t", tc, wrong, err, tc.want)
			}
		})
	}
}

func TestAClockBehindTheNewestRowStopsTheStart(t *testing.T) {
	cfg := configIn(t.TempDir())
	s, _, err := newSkewed(t, cfg, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if w := post(s, sandboxKey(t, s), "/auth/factors/enroll", enrollment); w.Code != http.StatusCreated {
		t.Fatalf("enroll: %d %s", w.Code, w.Body)
	}
	s.Close()
	for _, tc := range []struct {
		skew, limit time.Duration
		want        string
	}{
		{0, 2 * time.Second, "behind the newest row"},
		{58 * time.Minute, 2 * time.Second, "behind the newest row"},
		{time.Hour - 50*time.Second, 2 * time.Second, ""},
		{2 * time.Hour, 2 * time.Second, ""},
		{0, 2 * time.Hour, ""},
	} {
		cfg.MaxClockSkew = tc.limit
		s, _, err := newSkewed(t, cfg, tc.skew)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("skew %v, max_clock_skew %v: New = %v; want %q", tc.skew, tc.limit, err, tc.want)
		}
		if err == nil {
			s.Close()
		}
	}
}
