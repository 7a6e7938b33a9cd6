package console_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A fixture is the console over a real store.
type fixture struct {
	t        *testing.T
	console  *console.Console
	parts    console.Parts
	store    *sqlite.Store
	service  *mfa.Service
	operator *operator.Service
	webhooks *webhook.Service
	events   *events.Service
	counter  *stats.Counter
	clock    *mfatest.Clock
	carrier  *mfatest.Carrier
	sandbox  mfa.Environment
	who      console.Operator // sends all requests; without a name, no operator is signed in
}

// admin is an operator who may do everything, and has just used a passkey.
var admin = console.Operator{Name: "ada", Role: access.RoleAdmin, FreshUntil: time.Unix(1<<40, 0)}

func newFixture(t *testing.T, opts console.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: mfatest.NewClock(mfatest.Start), carrier: &mfatest.Carrier{Secrets: t}, who: admin}
	log := slog.New(slog.NewJSONHandler(logcapture.Log(t, t.Name()), nil))
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(sqlitetest.Path(t), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	if f.service, err = mfa.NewService(store, keys, f.carrier, mfa.Options{Now: f.clock.Now, Logger: log, Sandbox: f.carrier, RecoveryIterations: 2, SMS: delivery.Rules{Countries: []string{"US"}}}); err != nil {
		t.Fatal(err)
	}
	if f.counter, err = stats.NewCounter(store, store, stats.Options{
		Environments: func(context.Context) ([]mfa.EnvironmentID, error) { return []mfa.EnvironmentID{1}, nil }, Logger: log, Now: f.clock.Now,
	}); err != nil {
		t.Fatal(err)
	}
	f.operator = operator.NewService(store, store, operator.Options{
		Keys:    func(context.Context) (*secret.Keyset, error) { return keys, nil },
		Remover: func(context.Context) (operator.Remover, error) { return f.service, nil }, Now: f.clock.Now,
		Tester:     func(context.Context) (operator.Tester, error) { return f.service, nil },
		Statistics: stats.NewReader(store, store, stats.Prices{}, f.clock.Now),
	})
	f.webhooks = webhook.NewService(store, keys, webhook.Options{Allow: webhook.Loopback, Now: f.clock.Now})
	f.events = events.NewService(store, events.Options{Keys: f.service.Keys, Logger: log, Poll: 5 * time.Millisecond, Now: f.clock.Now})
	if f.sandbox, err = f.operator.CreateEnvironment(t.Context(), operator.By{Operator: "ada"}, "Acme Test", false); err != nil {
		t.Fatal(err)
	}
	identify := func(*http.Request) (console.Operator, error) {
		if f.who.Name == "" {
			return console.Operator{}, console.ErrSignedOut
		}
		return f.who, nil
	}
	opts.Now, opts.Logger = f.clock.Now, log
	f.store, f.parts = store, console.Parts{
		Operator: f.operator, Events: f.events, Webhooks: f.webhooks, Identify: identify, System: func(context.Context) []console.Section {
			return []console.Section{{Name: "This node", Facts: []console.Fact{{Name: "Version", Value: "1.2.3"}}}}
		},
		Nodes: func(ctx context.Context) ([]nodes.Node, string, error) {
			all, err := store.Nodes(ctx, nodes.Most)
			return all, "node_this", err
		},
	}
	if f.console, err = console.New(f.parts, opts); err != nil {
		t.Fatal(err)
	}
	return f
}

// send sends a request with further headers, each a name and a value.
func (f *fixture) send(method, target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.console.ServeHTTP(w, r)
	return w
}

func (f *fixture) get(target string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.send(http.MethodGet, target, nil, headers...)
}

func (f *fixture) post(target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.send(http.MethodPost, target, form, headers...)
}

// page returns the HTML of a page and fails the test unless it was found.
func (f *fixture) page(target string) string {
	f.t.Helper()
	w := f.get(target)
	if w.Code != http.StatusOK {
		f.t.Fatalf("GET %s = %d: %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}
