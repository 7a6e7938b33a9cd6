package operatorapi_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/openapitest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A fixture is the operator API over a real store, with two environments, a factor, a
// challenge and a webhook endpoint in each.
type fixture struct {
	t       testing.TB
	url     string
	api     *operatorapi.API
	clock   *mfatest.Clock
	store   *sqlite.Store
	service *mfa.Service
	access  *access.Service
	signIn  *signin.Service
	carrier *mfatest.Carrier
	key     string // operator:write, all environments

	acme, other place

	production mfa.Environment
}

// A place is what a fixture has in one environment.
type place struct {
	env               mfa.Environment
	factor, challenge string
	endpoint          string
	apiKey            access.Key
}

const (
	consoleURL = "https://console.example.com/console"

	limit   = 200
	adaUser = "ada@example.com"
	grace   = "grace" // an operator of the console
)

func newFixture(t testing.TB) *fixture {
	t.Helper()
	w := &fixture{t: t, clock: mfatest.NewClock(mfatest.Start), carrier: &mfatest.Carrier{Secrets: t}}
	keys, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if w.store, err = sqlite.Open(sqlitetest.Path(t), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	limits := mfa.Limits{FactorFailures: 3, UserFailures: 4}
	if w.service, err = mfa.NewService(w.store, keys, w.carrier, mfa.Options{Now: w.clock.Now, Limits: limits, SMS: delivery.Rules{Countries: []string{"US"}}}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(logcapture.Log(t, "operatorapi"), nil))
	w.access = access.NewService(w.store, w.clock.Now)
	w.signIn = signin.NewService(w.store, nil, signin.Options{Now: w.clock.Now})
	hooks := webhook.NewService(w.store, keys, webhook.Options{Now: w.clock.Now})
	w.api, err = operatorapi.New(operatorapi.Parts{
		Keys: w.access,
		Operator: operator.NewService(w.store, w.store, operator.Options{
			Keys: func(context.Context) (*secret.Keyset, error) { return keys, nil }, Remover: func(context.Context) (operator.Remover, error) { return w.service, nil },
			Tester: func(context.Context) (operator.Tester, error) { return w.service, nil }, Limits: limits, Now: w.clock.Now,
			Statistics: stats.NewReader(w.store, w.store, stats.Prices{}, w.clock.Now),
		}),
		Events: events.NewService(w.store, events.Options{Keys: w.service.Keys, Logger: log, Now: w.clock.Now}), Webhooks: hooks, SignIn: w.signIn, Nodes: w.store,
	}, operatorapi.Options{RateLimit: limit, Logger: log, Now: w.clock.Now, ConsoleURL: consoleURL})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.checked(w.api))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.key, _ = w.newKey(mfa.Environment{}, access.ScopeOperatorWrite)
	if w.production, err = w.access.CreateEnvironment(t.Context(), mfa.Caller{}, "Production", true); err != nil {
		t.Fatal(err)
	}
	l, err := w.signIn.CreateLink(t.Context(), operator.By{Operator: "root"}, grace, access.RoleSupport)
	if err != nil {
		t.Fatal(err)
	}
	logcapture.Secret(t, l.Token.Reveal())
	node := nodes.Node{ID: "node_1", Name: "web-1", Address: ":8080", Version: "1.2.3", Key: "5f0d9c21", Keyset: "aaaa", StartedAt: mfatest.Start, SeenAt: mfatest.Start}
	if err := w.store.PutNode(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	for p, name := range map[*place]string{&w.acme: "Acme", &w.other: "Other"} {
		if p.env, err = w.access.CreateEnvironment(t.Context(), mfa.Caller{}, name, false); err != nil {
			t.Fatal(err)
		}
		_, p.apiKey = w.newKey(p.env, access.ScopeAPI)
		by := mfa.Caller{Environment: p.env}
		f, err := w.service.Enroll(t.Context(), by, mfa.EnrollParams{Type: mfa.GenericOTP, User: adaUser}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.service.Challenge(t.Context(), by, f.ID, mfa.ChallengeParams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := hooks.Create(t.Context(), by, webhook.Params{URL: "https://example.com/" + name, Events: []string{"factor.locked"}})
		if err != nil {
			t.Fatal(err)
		}
		logcapture.Secret(t, d.Current.Reveal())
		p.factor, p.challenge, p.endpoint = f.ID.String(), c.ID.String(), d.ID.String()
	}
	return w
}

// checked wraps h and compares every reply with openapi.yaml.
func (w *fixture) checked(h http.Handler) http.Handler {
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(content)))
		sent := httptest.NewRecorder()
		h.ServeHTTP(sent, r)
		x := openapitest.Exchange{
			Method: r.Method, Target: r.URL.RequestURI(), RequestHeader: r.Header, RequestBody: content,
			Status: sent.Code, Header: sent.Header(), Body: sent.Body.Bytes(),
		}
		if err := d.CheckReply(x); err != nil {
			w.t.Errorf("%s %s: %d %.2000s\nis not as openapi.yaml says: %v", r.Method, r.URL, sent.Code, sent.Body, err)
		}
		if sent.Code < 300 {
			if err := d.CheckRequest(x); err != nil {
				w.t.Errorf("%s %s is accepted with %s, which openapi.yaml does not allow: %v", r.Method, r.URL, content, err)
			}
		}
		for name, values := range sent.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(sent.Code)
		rw.Write(sent.Body.Bytes())
	})
}

func (w *fixture) newKey(env mfa.Environment, scopes ...access.Scope) (string, access.Key) {
	w.t.Helper()
	text, k, err := w.access.CreateKey(context.Background(), mfa.Caller{Environment: env}, access.KeyParams{Scopes: access.ScopesOf(scopes...)})
	if err != nil {
		w.t.Fatal(err)
	}
	logcapture.Secret(w.t, text.Reveal())
	return text.Reveal(), k
}

// A reply is an answer of the API.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   string
}

// do sends a request with the key of the fixture. Each of headers is a line "Name: value".
func (w *fixture) do(method, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+operatorapi.Prefix+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.key)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{w.t, method + " " + path, resp.StatusCode, resp.Header, string(text)}
}

func (r reply) is(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: %d %s; want %d", r.what, r.status, r.body, status)
	}
	return r
}

// says checks a status and an error code.
func (r reply) says(status int, code string) reply {
	r.t.Helper()
	if r.is(status); r.text("code") != code {
		r.t.Errorf("%s: %s; want the code %s", r.what, r.body, code)
	}
	return r
}

// at returns the value of a key.
func (r reply) at(name string) any {
	r.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		r.t.Fatalf("%s: %s: %v", r.what, r.body, err)
	}
	return v[name]
}

func (r reply) text(name string) string {
	r.t.Helper()
	text, _ := r.at(name).(string)
	return text
}
