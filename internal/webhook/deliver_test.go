package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/webhook"
	"github.com/countersign-mfa/countersign/internal/webhook/post"
)

func TestEventsAreDeliveredSignedAndInOrder(t *testing.T) {
	w := newFixture(t)
	w.happen(0, 3) // before the endpoint
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL + "/hook?source=countersign")
	for i := range 5 {
		w.happen(100+i, 1)
		w.pass()
	}
	headers, body := r.headers[0], r.bodies[0]
	if got, want := r.got(), numbers(100, 5); !slices.Equal(got, want) {
		t.Errorf("delivered %v; want %v", got, want)
	}
	at := w.clock.Now()
	id := headers.Get("webhook-id")
	if !strings.HasPrefix(id, "event_") || !strings.Contains(body, id) {
		t.Errorf("webhook-id is %q; the body is %s", id, body)
	}
	standard, err := webhook.SignStandard(d.Current.Reveal(), id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"WorkOS-Signature":  webhook.Sign(d.Current.Reveal(), at, []byte(body)),
		"webhook-timestamp": strconv.FormatInt(at.Unix(), 10),
		"webhook-signature": standard,
		"Content-Type":      "application/json",
		"User-Agent":        "Countersign",
	} {
		if got := headers.Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	if n := w.waiting(d.ID); n != 0 {
		t.Errorf("%d deliveries wait", n)
	}
	attempts := w.attempts(d)
	if a := attempts[0]; len(attempts) != 5 || a.Outcome != webhook.Delivered || a.Status != 200 || a.Number != 1 || !a.NextAt.IsZero() {
		t.Errorf("the last of %d attempts is %+v", len(attempts), a)
	}
	if e := w.stored(d.ID); !e.LastSuccess.Equal(at) || !e.FailingSince.IsZero() || e.LeasedBy != [16]byte{} {
		t.Errorf("the endpoint is %+v", e)
	}
}

func TestAnEndpointGetsOnlyItsTypesOfItsEnvironment(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	w.endpoint(r.URL)
	other := newReceiver(t, nil)
	w.endpointOf(mfa.Caller{Environment: sandbox}, other.URL) // its creation is an event of another type
	w.happen(1, 2)
	w.happenIn(sandbox.ID, 7, 1)
	w.pass()
	if got := sorted(r.got()); !slices.Equal(got, numbers(1, 2)) {
		t.Errorf("production got %v", got)
	}
	if got := other.got(); !slices.Equal(got, numbers(7, 1)) {
		t.Errorf("the sandbox got %v", got)
	}
}

// TestOutcomes has a receiver of each kind with its documented outcome.
func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handle  func(http.ResponseWriter, *http.Request)
		outcome webhook.Outcome
		status  int
		answer  string
	}{
		{"succeeds", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }, webhook.Delivered, 204, ""},
		{"answers at length", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, strings.Repeat("x", 100_000)) },
			webhook.Delivered, 200, strings.Repeat("x", webhook.MaxAnswer)},
		{"fails", func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", 500) }, webhook.Refused, 500, "no\n"},
		{"refuses the request", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(400) }, webhook.Refused, 400, ""},
		{"redirects", func(rw http.ResponseWriter, req *http.Request) {
			http.Redirect(rw, req, "/elsewhere", http.StatusTemporaryRedirect)
		}, webhook.Redirected, 307, ""},
		{"is gone", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(410) }, webhook.EndpointIsGone, 410, ""},
		{"hangs", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }, webhook.TimedOut, 0, ""},
		{"hangs in the answer", func(rw http.ResponseWriter, req *http.Request) {
			rw.WriteHeader(200)
			rw.(http.Flusher).Flush()
			<-req.Context().Done()
		}, webhook.TimedOut, 0, ""},
		{"closes before the answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, webhook.NotConnected, 0, ""},
		{"closes in the answer", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "10")
			rw.WriteHeader(200)
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, webhook.NotConnected, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t)
			if tc.outcome == webhook.TimedOut {
				w.dispatch = w.dispatcher(w.store, post.Options{Allow: webhook.Loopback}, 200*time.Millisecond)
			}
			r := newReceiver(t, tc.handle)
			d := w.endpoint(r.URL)
			w.happen(1, 1)
			w.pass()
			attempts := w.attempts(d)
			if len(attempts) != 1 {
				t.Fatalf("%d attempts; want 1", len(attempts))
			}
			a := attempts[0]
			if tc.name == "redirects" {
				tc.answer = a.Text // net/http adds a text with a link
			}
			if a.Outcome != tc.outcome || a.Status != tc.status || a.Text != tc.answer {
				t.Errorf("the attempt is %s, %d, %.80q; want %s, %d, %.80q", a.Outcome, a.Status, a.Text, tc.outcome, tc.status, tc.answer)
			}
			e, waiting := w.stored(d.ID), w.waiting(d.ID)
			switch tc.outcome {
			case webhook.Delivered:
				if waiting != 0 || e.Failures != 0 || !a.NextAt.IsZero() {
					t.Errorf("%d deliveries wait; the endpoint is %+v", waiting, e)
				}
			case webhook.EndpointIsGone:
				if e.Status != webhook.Disabled || e.DisabledFor != webhook.Gone || waiting != 0 {
					t.Errorf("%d deliveries wait; the endpoint is %+v", waiting, e)
				}
			default:
				if waiting != 1 || e.Failures != 1 || !e.FailingSince.Equal(w.clock.Now()) || a.NextAt.IsZero() {
					t.Errorf("%d deliveries wait; the endpoint is %+v, the attempt %+v", waiting, e, a)
				}
			}
			if got := w.seen(); !slices.Equal(got, []webhook.Outcome{tc.outcome}) {
				t.Errorf("observed %v", got)
			}
		})
	}
}

func TestAddressesAreCheckedWhenTheyAreDialled(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A resolver that has the address of this machine for every name, and no server behind it.
	names := newNameServer(t, [4]byte{127, 0, 0, 1})
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", names)
	}}
	none := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server")
	}}
	for _, tc := range []struct {
		name, url string
		opts      post.Options
		outcome   webhook.Outcome
	}{
		{"a name of a public address that leads here", "http://hooks.example.com:" + port, post.Options{Resolver: resolver}, webhook.NotPermitted},
		{"the same name if the operator allows the address", "http://hooks.example.com:" + port, post.Options{Resolver: resolver, Allow: webhook.Loopback}, webhook.Delivered},
		{"localhost", "http://localhost:" + port, post.Options{}, webhook.NotPermitted},
		{"an address", r.URL, post.Options{}, webhook.NotPermitted},
		{"an address as a number", "http://2130706433:" + port, post.Options{}, ""},
		{"an unknown name", "http://hooks.example.com:" + port, post.Options{Resolver: none}, webhook.NotResolved},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", r.URL) // is not used
			w := newFixture(t)
			w.dispatch = w.dispatcher(w.store, tc.opts, 5*time.Second)
			d := w.endpoint(tc.url)
			w.happen(1, 1)
			w.pass()
			a := w.attempts(d)[0]
			if tc.outcome == "" && a.Outcome != webhook.NotPermitted && a.Outcome != webhook.NotResolved || tc.outcome != "" && a.Outcome != tc.outcome {
				t.Errorf("the outcome is %s; want %s", a.Outcome, tc.outcome)
			}
			if got := r.got(); (len(got) > 0) != (tc.outcome == webhook.Delivered) {
				t.Errorf("the receiver got %v", got)
			}
		})
	}
}

func TestTLSIsVerified(t *testing.T) {
	r := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(r.Close)
	for _, tc := range []struct {
		name    string
		opts    post.Options
		outcome webhook.Outcome
	}{
		{"unknown authority", post.Options{Allow: webhook.Loopback}, webhook.TLSFailed},
		{"known authority", post.Options{Allow: webhook.Loopback, TLS: r.Client().Transport.(*http.Transport).TLSClientConfig}, webhook.Delivered},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t)
			w.dispatch = w.dispatcher(w.store, tc.opts, 5*time.Second)
			d := w.endpoint(r.URL)
			w.happen(1, 1)
			w.pass()
			if a := w.attempts(d)[0]; a.Outcome != tc.outcome {
				t.Errorf("the outcome is %s; want %s", a.Outcome, tc.outcome)
			}
		})
	}
}

// TestAnEventIsSentBySchedule follows one event through all attempts. Attempts are not sent
// earlier than 80 % of the documented wait, and are sent at 120 % of it.
func TestAnEventIsSentBySchedule(t *testing.T) {
	for _, tc := range []struct {
		by    mfa.Caller
		waits []time.Duration
	}{
		{mfa.Caller{Environment: production}, []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
			5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}},
		{mfa.Caller{Environment: sandbox}, []time.Duration{5 * time.Second, 8 * time.Minute}},
	} {
		t.Run(tc.by.Name, func(t *testing.T) {
			w := newFixture(t)
			r := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
			d := w.endpointOf(tc.by, r.URL)
			w.happenIn(tc.by.ID, 1, 1)
			w.pass()
			for i, wait := range tc.waits {
				if got := r.got(); len(got) != 1 {
					t.Fatalf("attempt %d was sent %d times", i+1, len(got))
				}
				w.after(wait*8/10 - time.Millisecond)
				if got := r.got(); len(got) != 0 {
					t.Fatalf("attempt %d was sent early", i+2)
				}
				w.after(wait*4/10 + time.Millisecond)
			}
			if got := r.got(); len(got) != 1 {
				t.Fatalf("the last attempt was sent %d times", len(got))
			}
			w.after(100 * time.Hour)
			if got := r.got(); len(got) != 0 || w.waiting(d.ID) != 0 {
				t.Errorf("after the last attempt the event was sent %d times; %d deliveries wait", len(got), w.waiting(d.ID))
			}
			if n := w.failed(d.ID); n != 1 {
				t.Errorf("%d deliveries have failed; want 1", n)
			}
			if a := w.attempts(d); len(a) != len(tc.waits)+1 || a[0].Number != len(tc.waits)+1 || !a[0].NextAt.IsZero() {
				t.Errorf("%d attempts are recorded, the last as %+v", len(a), a[0])
			}
		})
	}
}

func TestAShortFailureKeepsTheOrder(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(503) })
	d := w.endpoint(r.URL)
	w.happen(1, 1)
	w.pass()
	r.got()
	w.happen(2, 3)
	w.after(time.Second)
	if got := r.got(); len(got) != 0 {
		t.Errorf("%v was sent before the first event was tried again", got)
	}
	r.answer(200)
	w.after(6 * time.Second)
	if got := r.got(); len(got) != 4 || got[0] != "1" || w.waiting(d.ID) != 0 {
		t.Errorf("sent %v; want 1 first, and then the others", got)
	}
}

func TestOneEventThatFailsDoesNotStopTheOthers(t *testing.T) {
	w := newFixture(t)
	var r *receiver
	r = newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if strings.Contains(r.bodies[len(r.bodies)-1], `"reason":"1"`) {
			rw.WriteHeader(500)
		}
	})
	d := w.endpoint(r.URL)
	w.happen(1, 1)
	w.pass()
	w.happen(2, 9)
	w.after(6 * time.Second)
	if got := sorted(r.got()); !slices.Equal(got, append([]string{"1"}, numbers(1, 10)...)) {
		t.Errorf("sent %v", got)
	}
	if n := w.waiting(d.ID); n != 1 {
		t.Errorf("%d deliveries wait; want 1", n)
	}
	w.after(6 * time.Minute)
	if got := r.got(); !slices.Equal(got, []string{"1"}) {
		t.Errorf("sent %v; want the third attempt of 1", got)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		wait, hold  time.Duration
	}{
		{"seconds", "120", 2 * time.Minute, 2 * time.Minute},
		{"a date", mfatest.Start.Add(10 * time.Minute).Format(http.TimeFormat), 10 * time.Minute, 10 * time.Minute},
		{"longer than all waits", "864000", 24 * time.Hour, time.Hour},
		{"shorter than the schedule", "1", 5 * time.Second, time.Second},
		{"a date in the past", "Mon, 02 Jan 2006 15:04:05 GMT", 5 * time.Second, 5 * time.Second},
		{"unreadable", "soon", 5 * time.Second, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t)
			r := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Retry-After", tc.value)
				rw.WriteHeader(429)
			})
			d := w.endpoint(r.URL)
			w.happen(1, 2)
			w.pass()
			near := func(what string, at time.Time, want time.Duration) {
				t.Helper()
				if got := at.Sub(w.clock.Now()); got < want*79/100 || got > want*121/100 {
					t.Errorf("%s after %v; want about %v", what, got, want)
				}
			}
			attempts := w.attempts(d)
			near("the event is sent again", attempts[len(attempts)-1].NextAt, tc.wait)
			near("other events are sent", w.stored(d.ID).HoldUntil, tc.hold)
		})
	}
}

// TestADeadEndpointKeepsOnlyACursor lets far more events happen than may wait.
func TestADeadEndpointKeepsOnlyACursor(t *testing.T) {
	w := newFixture(t)
	dead := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	d := w.endpoint(dead.URL)
	w.happen(0, 3000)
	for range 100 {
		w.after(5 * time.Minute)
		if n := w.waiting(d.ID); n > webhook.MaxWaitingDown+webhook.Chunk {
			t.Fatalf("%d deliveries wait", n)
		}
	}
	sent := len(dead.got())
	if sent > 1000 {
		t.Errorf("%d attempts in 8 hours", sent)
	}
	dead.answer(200)
	for range 10 {
		w.after(20 * time.Minute)
	}
	got := sorted(dead.got())
	if got = slices.Compact(got); !slices.Equal(got, numbers(0, 3000)) {
		t.Errorf("%d of 3000 events arrived, %d wait", len(got), w.waiting(d.ID))
	}
}

func TestAnEndpointIsDisabledAfterFiveDays(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	d := w.endpoint(r.URL)
	days := 0
	for ; w.stored(d.ID).Status == webhook.Enabled && days < 10; days++ {
		for range 24 {
			w.happen(0, 1)
			w.after(time.Hour)
		}
	}
	if e := w.stored(d.ID); days != 6 && days != 5 || e.DisabledFor != webhook.Failing {
		t.Errorf("after %d days the endpoint is %s for %s", days, e.Status, e.DisabledFor)
	}
	all := w.recorded(production.ID)
	if last := all[len(all)-1]; last.Type != mfa.EndpointDisabled || last.Reason != d.ID.String()+":failing" || last.Caller != "" {
		t.Errorf("the last event is %+v", last)
	}
	r.got()
	w.happen(1, 1)
	w.after(time.Hour)
	if got := r.got(); len(got) != 0 || w.waiting(d.ID) != 0 {
		t.Errorf("a disabled endpoint got %v; %d deliveries wait", got, w.waiting(d.ID))
	}
	other := w.endpoint(r.URL + "/other")
	disabled := webhook.Disabled
	if _, err := w.Update(t.Context(), w.by, other.ID, webhook.Change{Status: &disabled}); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if n := w.dispatch.State().Disabled; n != 1 {
		t.Errorf("%d endpoints are disabled because they failed; want 1, because the other was disabled by request", n)
	}
	r.answer(200)
	enabled := webhook.Enabled
	if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{Status: &enabled}); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if got := r.got(); len(got) < days*24/2 || !slices.Contains(got, "1") {
		t.Errorf("after it was enabled again, %d events arrived: %v", len(got), got)
	}
}

// TestASuccessEndsTheFailure has a receiver that fails for four days, succeeds once, and fails
// again.
func TestASuccessEndsTheFailure(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL)
	for day := range 9 {
		r.answer(500)
		if day == 4 {
			r.answer(200)
		}
		for range 24 {
			w.happen(0, 1)
			w.after(time.Hour)
		}
	}
	if e := w.stored(d.ID); e.Status != webhook.Enabled {
		t.Errorf("the endpoint is disabled for %s", e.DisabledFor)
	}
}

func TestANewURLIsTriedAtOnce(t *testing.T) {
	w := newFixture(t)
	broken, working := newReceiver(t, nil), newReceiver(t, nil)
	broken.answer(http.StatusInternalServerError)
	d := w.endpoint(broken.URL)
	for i := range 8 {
		w.happen(i, 1)
		w.after(time.Minute)
	}
	if e := w.stored(d.ID); e.Failures < 5 || e.HoldUntil.IsZero() {
		t.Fatalf("%d failures, held until %v", e.Failures, e.HoldUntil)
	}
	if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{URL: &working.URL}); err != nil {
		t.Fatal(err)
	}
	w.pass()
	got := working.got()
	if slices.Sort(got); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5", "6", "7"}) {
		t.Errorf("the new URL got %q", got)
	}
}

// TestAnAttemptDoesNotUndoAChange changes the URL while the old one is about to answer that it
// is gone.
func TestAnAttemptDoesNotUndoAChange(t *testing.T) {
	w := newFixture(t)
	working := newReceiver(t, nil)
	var d webhook.Details
	old := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) {
		w.clock.Advance(time.Millisecond)
		if _, err := w.Update(context.Background(), w.by, d.ID, webhook.Change{URL: &working.URL}); err != nil {
			t.Error(err)
		}
		rw.WriteHeader(http.StatusGone)
	})
	d = w.endpoint(old.URL)
	w.happen(0, 1)
	w.pass()
	if e := w.stored(d.ID); e.Status != webhook.Enabled || e.Failures != 0 || !e.HoldUntil.IsZero() || e.URL != working.URL {
		t.Errorf("the endpoint is %s with %d failures, held until %v", e.Status, e.Failures, e.HoldUntil)
	}
	if w.after(10 * time.Second); !slices.Equal(working.got(), []string{"0"}) {
		t.Error("the event did not arrive at the new URL")
	}
}

func TestABacklogDoesNotDelayOtherEndpoints(t *testing.T) {
	const backlog = 200_000
	w := newFixture(t)
	var hanging atomic.Int32
	dead := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) {
		hanging.Add(1)
		<-req.Context().Done()
	})
	good := newReceiver(t, nil)
	d := w.endpoint(dead.URL)
	w.fill(production.ID, backlog)
	if page, err := w.events.List(t.Context(), events.Query{Environment: production.ID, After: w.stored(d.ID).Cursor, Limit: 1}); err != nil || len(page.Events) != 1 || page.Events[0].Type != mfa.ChallengeFailed {
		t.Fatalf("the backlog cannot be read: %+v, %v", page, err)
	}
	w.endpoint(good.URL) // begins after the backlog
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() { w.dispatch.Run(ctx); ended <- true }()
	for i := range 20 {
		w.happen(i, 1)
		select {
		case <-good.arrived:
		case <-time.After(10 * time.Second):
			t.Fatal("an event did not arrive at the other endpoint")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if n := hanging.Load(); n == 0 || n > 8 {
		t.Errorf("%d requests hang at the dead endpoint; want 1 to 8", n)
	}
	cancel()
	<-ended
	if n := w.waiting(d.ID); n > webhook.Chunk {
		t.Errorf("%d deliveries wait; want at most %d", n, webhook.Chunk)
	}
}

// TestTwoDispatchersDeliverEachEventOnce has two nodes that run at the same time.
func TestTwoDispatchersDeliverEachEventOnce(t *testing.T) {
	w := newFixture(t)
	var receivers []*receiver
	for i := range 4 {
		r := newReceiver(t, nil)
		receivers = append(receivers, r)
		w.endpoint(fmt.Sprintf("%s/%d", r.URL, i))
	}
	second := w.dispatcher(w.store, post.Options{Allow: webhook.Loopback}, 15*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	for _, d := range []*webhook.Dispatcher{w.dispatch, second} {
		go func() { d.Run(ctx); ended <- true }()
	}
	const rounds, each = 40, 5
	for i := range rounds {
		w.happen(i*each, each)
		for _, r := range receivers {
			for range each {
				select {
				case <-r.arrived:
				case <-time.After(10 * time.Second):
					t.Fatalf("round %d: an event did not arrive", i)
				}
			}
		}
	}
	cancel()
	<-ended
	<-ended
	for i, r := range receivers {
		if got := sorted(r.got()); !slices.Equal(got, numbers(0, rounds*each)) {
			t.Errorf("receiver %d got %d deliveries; want each of %d once", i, len(got), rounds*each)
		}
	}
}

// TestANodeThatStopsLosesNothing ends the lease of a node that was killed while it delivered.
func TestANodeThatStopsLosesNothing(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL)
	w.happen(1, 3)
	lease := webhook.Lease{By: [16]byte{1}, Now: w.clock.Now(), Until: w.clock.Now().Add(webhook.LeaseFor)}
	if e, err := w.store.ClaimEndpoint(t.Context(), d.ID, lease); e == nil || err != nil {
		t.Fatal(e, err)
	}
	w.pass()
	if got := r.got(); len(got) != 0 {
		t.Errorf("%v was sent while another node has the lease", got)
	}
	w.after(webhook.LeaseFor)
	if got := sorted(r.got()); !slices.Equal(got, numbers(1, 3)) {
		t.Errorf("after the lease %v was sent", got)
	}
}

func TestTheStateShowsHowLateDeliveriesAre(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.endpoint(r.URL)
	w.happen(1, 1)
	w.pass()
	w.happen(2, 1)
	w.clock.Advance(3 * time.Second) // the second attempt follows after 4 to 6 seconds
	if err := w.dispatch.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.dispatch.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := w.dispatch.State(), (webhook.State{Waiting: 1, Lag: 3 * time.Second}); got != want {
		t.Errorf("the state is %+v; want %+v", got, want)
	}
}
