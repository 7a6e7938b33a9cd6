package webhook_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/webhook"
	"github.com/countersign-mfa/countersign/internal/webhook/post"
)

var (
	sandbox    = mfa.Environment{ID: 1, Name: "Acme Test"}
	production = mfa.Environment{ID: 2, Name: "Acme", Production: true}
)

// A fixture is a Service and a Dispatcher over a real store, with a clock that only tests
// advance.
type fixture struct {
	*webhook.Service
	t        testing.TB
	path     string
	store    *sqlite.Store
	keys     *secret.Keyset
	clock    *mfatest.Clock
	log      *slog.Logger
	events   *events.Service
	dispatch *webhook.Dispatcher
	by       mfa.Caller // in production

	mu       sync.Mutex
	outcomes []webhook.Outcome
}

// newFixture returns a fixture whose endpoints may be on this machine.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	w := &fixture{t: t, path: sqlitetest.Path(t), clock: mfatest.NewClock(mfatest.Start)}
	w.by = mfa.Caller{Environment: production, Key: "key_0123456789abcdef", Request: "request-1"}
	w.log = slog.New(slog.NewJSONHandler(logcapture.Log(t, t.Name()), nil))
	var err error
	if w.keys, err = secret.NewKeyset(); err != nil {
		t.Fatal(err)
	}
	if w.store, err = sqlite.Open(w.path, w.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	w.events = events.NewService(w.store, events.Options{Poll: 5 * time.Millisecond})
	w.Service = webhook.NewService(w.store, w.keys, webhook.Options{Allow: webhook.Loopback, PlainHTTP: true, Now: w.clock.Now})
	w.dispatch = w.dispatcher(w.store, post.Options{Allow: webhook.Loopback}, 15*time.Second)
	return w
}

// dispatcher returns one more Dispatcher, as on another node.
func (w *fixture) dispatcher(store *sqlite.Store, opts post.Options, timeout time.Duration) *webhook.Dispatcher {
	opts.Now = w.clock.Now
	s := webhook.NewService(store, w.keys, webhook.Options{Now: w.clock.Now})
	return webhook.NewDispatcher(s, store, w.events, post.New(opts), webhook.DispatcherOptions{
		Append: func(b []byte, e events.Event) []byte {
			return fmt.Appendf(b, `{"id":%q,"event":%q,"reason":%q}`, e.ID, e.Type, e.Reason)
		},
		Observe: func(o webhook.Outcome) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.outcomes = append(w.outcomes, o)
		},
		Logger: w.log, Now: w.clock.Now, Timeout: timeout,
	})
}

// seen returns the outcomes of all attempts since the last call.
func (w *fixture) seen() []webhook.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.outcomes
	w.outcomes = nil
	return all
}

// endpoint creates an endpoint of production for failed challenges.
func (w *fixture) endpoint(url string) webhook.Details {
	w.t.Helper()
	return w.endpointOf(w.by, url)
}

func (w *fixture) endpointOf(by mfa.Caller, url string) webhook.Details {
	w.t.Helper()
	d, err := w.Create(context.Background(), by, webhook.Params{URL: url, Events: []string{string(mfa.ChallengeFailed)}})
	if err != nil {
		w.t.Fatal(err)
	}
	logcapture.Secret(w.t, d.Current.Reveal())
	return d
}

// happen appends n events of failed challenges to production. Each has another user.
// Their reasons are counted on from first.
func (w *fixture) happen(first, n int) {
	w.t.Helper()
	w.happenIn(production.ID, first, n)
}

func (w *fixture) happenIn(env mfa.EnvironmentID, first, n int) {
	w.t.Helper()
	const most = 500 // in a transaction
	for i := 0; i < n; i += most {
		var writes []mfa.Write
		for k := i; k < min(n, i+most); k++ {
			e := mfa.Event{At: w.clock.Now(), Environment: env, Type: mfa.ChallengeFailed, Reason: fmt.Sprint(first + k)}
			e.ID[15] = byte(k)
			writes = append(writes, mfa.AppendEvent{Event: e})
		}
		if err := w.store.Update(context.Background(), mfa.Read{}, storetest.Writing(writes...)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// fill appends n events as happenIn does, but with one statement past the store, which takes
// much less time.
func (w *fixture) fill(env mfa.EnvironmentID, n int) {
	w.t.Helper()
	db, err := sqlite3.Open(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	// The two halves of an id, with the first bit of each inverted, and 24 bits for the counter.
	epoch := w.clock.Now().UnixMilli() + 1
	high := epoch<<16 ^ -1<<63
	if err := db.Exec(fmt.Sprintf(`PRAGMA busy_timeout = 10000;
		WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO events (environment, hi, lo, type, reason, at) SELECT %d, %d, (i << 40) + i %% 1024 + (-9223372036854775807 - 1), '%s', i, 0 FROM n`,
		n-1, env, high, mfa.ChallengeFailed)); err != nil {
		w.t.Fatal(err)
	}
	w.clock.Advance(2 * time.Millisecond) // later events come after these
}

// pass lets the dispatcher do everything that is due now.
func (w *fixture) pass() {
	w.t.Helper()
	if err := w.dispatch.Pass(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// after advances the clock and lets the dispatcher run.
func (w *fixture) after(d time.Duration) {
	w.t.Helper()
	w.clock.Advance(d)
	w.pass()
}

// now returns an endpoint as it is stored.
func (w *fixture) stored(id webhook.EndpointID) *webhook.Endpoint {
	w.t.Helper()
	e, err := w.store.Endpoint(w.t.Context(), id)
	if err != nil || e == nil {
		w.t.Fatalf("read %s: %v, %v", id, e, err)
	}
	return e
}

// waiting counts the deliveries that wait.
func (w *fixture) waiting(id webhook.EndpointID) int {
	w.t.Helper()
	n, err := w.store.WaitingDeliveries(w.t.Context(), id, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// failed counts the deliveries whose attempts all failed.
func (w *fixture) failed(id webhook.EndpointID) (n int) {
	w.t.Helper()
	rows, _, err := w.store.Export(w.t.Context(), "webhook_deliveries", "", 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range rows {
		if r.Delivery.Endpoint == id && r.Delivery.State == webhook.Failed {
			n++
		}
	}
	return n
}

// attempts lists the last attempts, newest first.
func (w *fixture) attempts(d webhook.Details) []webhook.AttemptDetails {
	w.t.Helper()
	page, err := w.Attempts(w.t.Context(), d.Environment, d.ID, webhook.AttemptID{}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Attempts
}

// recorded lists the types and reasons of the events about endpoints.
func (w *fixture) recorded(env mfa.EnvironmentID) (all []mfa.Event) {
	w.t.Helper()
	q := events.Query{Environment: env, Limit: 1000, Types: []mfa.EventType{
		mfa.EndpointCreated, mfa.EndpointUpdated, mfa.EndpointDeleted, mfa.EndpointDisabled, mfa.EndpointSecretRotated, mfa.EndpointReplayed,
	}}
	for {
		page, err := w.events.List(w.t.Context(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, e.Event)
		}
		if !page.More {
			return all
		}
		q.After = page.Last
	}
}

// A receiver is an HTTP server that keeps the deliveries it gets.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	handle  func(http.ResponseWriter, *http.Request) // nil: 200
	headers []http.Header
	bodies  []string
	arrived chan struct{} // has an element for each delivery
}

func newReceiver(t testing.TB, handle func(http.ResponseWriter, *http.Request)) *receiver {
	r := &receiver{handle: handle, arrived: make(chan struct{}, 1<<20)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.headers, r.bodies = append(r.headers, req.Header), append(r.bodies, string(body))
		handle := r.handle
		r.mu.Unlock()
		if handle != nil {
			handle(rw, req)
		}
		r.arrived <- struct{}{}
	}))
	t.Cleanup(r.Close)
	return r
}

// answer makes the receiver answer with a status from now on.
func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handle = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
}

// got returns the reasons of the events that have arrived since the last call.
func (r *receiver) got() (reasons []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		var id, typ, reason string
		if _, err := fmt.Sscanf(body, `{"id":%q,"event":%q,"reason":%q}`, &id, &typ, &reason); err != nil {
			reason = err.Error()
		}
		reasons = append(reasons, reason)
	}
	r.headers, r.bodies = nil, nil
	return reasons
}

// sorted returns the reasons in their order as numbers.
func sorted(reasons []string) []string {
	slices.SortFunc(reasons, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	return reasons
}

// numbers returns the reasons first, first+1 and so on.
func numbers(first, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(first+i))
	}
	return all
}
