package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// hooks is a receiver of webhooks that checks each signature and counts the deliveries of
// each event.
type hooks struct {
	*httptest.Server
	t      testing.TB
	secret string

	mu    sync.Mutex
	times map[string]int // by the id of the event
	total int
	stall chan struct{} // if not nil, deliveries wait for it before they are answered
	busy  int           // deliveries that wait
}

func newHooks(t testing.TB) *hooks {
	h := &hooks{t: t, times: make(map[string]int)}
	h.Server = httptest.NewServer(http.HandlerFunc(h.receive))
	t.Cleanup(h.Close)
	return h
}

// subscribe creates an endpoint for wrong codes.
func (h *hooks) subscribe(a *api) {
	h.t.Helper()
	got := a.want(http.StatusCreated, "POST", "/webhook_endpoints", `{"endpoint_url":"`+h.URL+`/hook","events":["authentication.mfa_failed"]}`)
	var e struct{ Secret string }
	if err := json.Unmarshal(got.body, &e); err != nil {
		h.t.Fatal(err)
	}
	logcapture.Secret(h.t, e.Secret)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = e.Secret
}

func (h *hooks) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node was killed
	}
	h.mu.Lock()
	secret, stall := h.secret, h.stall
	h.mu.Unlock()
	header := r.Header.Get("WorkOS-Signature")
	text, _, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",")
	ms, err := strconv.ParseInt(text, 10, 64)
	var event struct{ ID, Event string }
	switch jsonErr := json.Unmarshal(body, &event); {
	case err != nil || header != webhook.Sign(secret, time.UnixMilli(ms), body):
		h.t.Errorf("the signature %q is wrong", header)
	case jsonErr != nil || event.ID != r.Header.Get("webhook-id") || event.Event != "authentication.mfa_failed":
		h.t.Errorf("%s has the id %q (%v)", body, r.Header.Get("webhook-id"), jsonErr)
	}
	h.mu.Lock()
	h.times[event.ID]++
	h.total++
	h.busy++
	h.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-r.Context().Done():
		}
	}
	h.mu.Lock()
	h.busy--
	h.mu.Unlock()
}

// hold makes deliveries wait until the returned function is called.
func (h *hooks) hold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	stall := make(chan struct{})
	h.stall = stall
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stall = nil
		close(stall)
	}
}

func (h *hooks) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy
}

// has reports whether every one of these events has arrived.
func (h *hooks) has(ids []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if h.times[id] == 0 {
			return false
		}
	}
	return true
}

// fail tries n wrong codes.
func fail(a *api, n int) {
	a.t.Helper()
	factor := a.enroll(`{"type":"generic_otp"}`).ID
	for range n {
		a.verify(a.challenge(factor).ID, wrong)
	}
}

// failures lists the ids of all events of wrong codes.
func failures(a *api) (ids []string) {
	a.t.Helper()
	for after := ""; ; {
		page := a.want(http.StatusOK, "GET", "/events?limit=100&events=authentication.mfa_failed&after="+after, "")
		if len(page.Data) == 0 {
			return ids
		}
		for _, e := range page.Data {
			ids = append(ids, e.ID)
		}
		after = ids[len(ids)-1]
	}
}

// awaitAll waits until every event of a wrong code has arrived.
func (h *hooks) awaitAll(a *api, want int) {
	h.t.Helper()
	poll(h.t, "all events of wrong codes", func() bool { return len(failures(a)) == want })
	ids := failures(a)
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); !h.has(ids); <-tick.C {
		if time.Now().After(deadline) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.t.Fatalf("%d of %d events have arrived", len(h.times), len(ids))
		}
	}
}

// TestWebhooksSurviveAKill kills the server while its deliveries are not answered yet.
func TestWebhooksSurviveAKill(t *testing.T) {
	t.Parallel()
	h, dir := newHooks(t), t.TempDir()
	p := dev(t, dir, unlocking...)
	h.subscribe(p.api())
	fail(p.api(), 3)
	h.awaitAll(p.api(), 3)
	h.hold()
	fail(p.api(), 5)
	poll(t, "a delivery that is not answered", func() bool { return h.waiting() > 0 })
	p.kill()
	h.mu.Lock()
	h.stall = nil
	h.mu.Unlock()

	p = dev(t, dir, unlocking...)
	fail(p.api(), 2)
	h.awaitAll(p.api(), 10)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total > 2*10 {
		t.Errorf("%d deliveries of 10 events", h.total)
	}
}

// TestAnotherNodeContinuesToDeliver kills one node after the other while events happen.
func TestAnotherNodeContinuesToDeliver(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	f := newFleet(t, pgtest.Shared(t).Database(t), 3, append(unlocking, "--webhook-allow", "127.0.0.0/8")...)
	h.subscribe(f.api)
	want := 0
	more := func(n int) {
		fail(f.api, n)
		want += n
	}
	more(5)
	h.awaitAll(f.api, want)
	for i := range f.nodes {
		release := h.hold()
		more(5)
		poll(t, "a delivery that is not answered", func() bool { return h.waiting() > 0 })
		f.nodes[i].kill()
		release()
		f.nodes[i] = f.launch()
		f.nodes[i].awaitServing()
		f.balancer.add(address(f.nodes[i]))
		more(5)
		h.awaitAll(f.api, want)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total > 2*want {
		t.Errorf("%d deliveries of %d events", h.total, want)
	}
	t.Logf("%d deliveries of %d events", h.total, want)
}

// TestANodeCanLeaveWebhooksToOthers starts a node that delivers nothing and then one that
// does.
func TestANodeCanLeaveWebhooksToOthers(t *testing.T) {
	t.Parallel()
	h, dir := newHooks(t), t.TempDir()
	p := dev(t, dir, append(unlocking, "--webhooks", "off")...)
	h.subscribe(p.api())
	fail(p.api(), 2)
	if code := p.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if n := h.total; n != 0 {
		t.Errorf("%d deliveries", n)
	}
	p = dev(t, dir, unlocking...)
	h.awaitAll(p.api(), 2)
	if got := p.api().want(http.StatusOK, "GET", "/webhook_endpoints", ""); !bytes.Contains(got.body, []byte(h.URL)) {
		t.Errorf("the endpoints are %s", got.body)
	}
}
