package httpapi_test

import (
	"context"
	"errors"
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
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/totp"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

const (
	adasPhone = "+16073517112"

	// wrong is never a valid code: it has five digits.
	wrong = "12345"
)

// A fixture is the API over a real store, on a real listener, with a clock that only
// tests advance and a carrier that keeps the messages. Every test also checks each reply
// against openapi.yaml.
type fixture struct {
	t       testing.TB
	url     string
	api     http.Handler // without the listener
	key     string       // an API key of the sandbox; all requests have it
	sandbox mfa.Environment
	store   *sqlite.Store
	access  *access.Service
	service *mfa.Service
	keyset  *secret.Keyset
	clock   *mfatest.Clock
	carrier *mfatest.Carrier
	client  *http.Client
}

// A setup has the options of a fixture.
type setup struct {
	api httpapi.Options
	mfa mfa.Options
	log io.Writer // also receives the log

	withoutSandbox bool // sandboxes send only to test numbers
}

func newFixture(t testing.TB, s setup) *fixture {
	t.Helper()
	w := &fixture{
		t:     t,
		clock: mfatest.NewClock(mfatest.Start),
		carrier: &mfatest.Carrier{Secrets: t, Accept: func(m delivery.Message) delivery.Accepted {
			return delivery.Accepted{Provider: "carrier", ID: m.Challenge.String()}
		}},
	}
	out := logcapture.Log(t, t.Name())
	if s.log != nil {
		out = io.MultiWriter(out, s.log)
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))

	keyset, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	w.keyset = keyset
	if w.store, err = sqlite.Open(sqlitetest.Path(t), log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	s.mfa.Logger, s.mfa.Now = log, w.clock.Now
	s.mfa.RecoveryIterations = 2 // a real number takes seconds
	if !s.withoutSandbox {
		s.mfa.Sandbox = w.carrier
	}
	if w.service, err = mfa.NewService(w.store, keyset, w.carrier, s.mfa); err != nil {
		t.Fatal(err)
	}
	w.access = access.NewService(w.store, w.clock.Now)
	w.sandbox = w.environment("Acme Test", false)
	w.key, _ = w.newKey(w.sandbox)

	s.api.Webhooks = webhook.NewService(w.store, keyset, webhook.Options{Now: w.clock.Now})
	s.api.Logger, s.api.Now, s.api.OpenAPI = log, w.clock.Now, document(t).Text
	happened := events.NewService(w.store, events.Options{Keys: w.service.Keys, Logger: log, Poll: 5 * time.Millisecond, Retention: s.mfa.EventRetention, Now: w.clock.Now})
	api, err := httpapi.New(w.service, w.access, happened, s.api)
	if err != nil {
		t.Fatal(err)
	}
	w.api = api
	server := httptest.NewUnstartedServer(checked(t, api))
	server.Listener = api.Listener(server.Listener)
	server.Config.DisableGeneralOptionsHandler = true
	server.Start()
	t.Cleanup(server.Close)
	w.url = server.URL
	w.client = &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

// on returns the same fixture for a subtest.
func (w *fixture) on(t testing.TB) *fixture {
	c := *w
	c.t = t
	return &c
}

func (w *fixture) environment(name string, production bool) mfa.Environment {
	w.t.Helper()
	env, err := w.access.CreateEnvironment(context.Background(), mfa.Caller{}, name, production)
	if err != nil {
		w.t.Fatal(err)
	}
	return env
}

// set changes a setting of the sandbox. Requests use it at once.
func (w *fixture) set(name, text string) {
	w.t.Helper()
	if _, err := w.access.ChangeSettings(context.Background(), mfa.Caller{Environment: w.sandbox}, map[string]string{name: text}); err != nil {
		w.t.Fatal(err)
	}
	w.access.Forget()
}

func (w *fixture) newKey(env mfa.Environment) (string, access.KeyID) {
	w.t.Helper()
	key, about, err := w.access.CreateKey(context.Background(), mfa.Caller{Environment: env}, access.KeyParams{})
	if err != nil {
		w.t.Fatal(err)
	}
	logcapture.Secret(w.t, key.Reveal())
	return key.Reveal(), about.ID
}

// newScopedKey returns a key with the given scopes.
func (w *fixture) newScopedKey(env mfa.Environment, scopes ...access.Scope) string {
	w.t.Helper()
	key, _, err := w.access.CreateKey(context.Background(), mfa.Caller{Environment: env}, access.KeyParams{Scopes: access.ScopesOf(scopes...)})
	if err != nil {
		w.t.Fatal(err)
	}
	logcapture.Secret(w.t, key.Reveal())
	return key.Reveal()
}

// do sends a request as a client library would: with the sandbox's key, and with a
// Content-Type if there is a body. Each of headers is a line "Name: value" that replaces
// this header. A line without a value removes it.
func (w *fixture) do(method, path, body string, headers ...string) reply {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Errorf("%s %s: %v", method, path, err)
		return reply{t: w.t}
	}
	r.Header.Set("Authorization", "Bearer "+w.key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Del(name)
		if value = strings.TrimPrefix(value, " "); value != "" {
			r.Header.Set(name, value)
		}
	}
	return w.send(r)
}

func (w *fixture) send(r *http.Request) reply {
	w.t.Helper()
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		return reply{t: w.t}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Errorf("%s %s: read the reply: %v", r.Method, r.URL.Path, err)
	}
	return newReply(w.t, resp.StatusCode, resp.Header, string(text))
}

func (w *fixture) post(path, body string, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodPost, path, body, headers...)
}

func (w *fixture) get(path string, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodGet, path, "", headers...)
}

func (w *fixture) delete(path string, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodDelete, path, "", headers...)
}

// enroll returns the id of a new factor.
func (w *fixture) enroll(body string) string {
	w.t.Helper()
	return w.post("/auth/factors/enroll", body).is(http.StatusCreated).text("id")
}

// generic, phone and app return the id of a new factor of their type.
func (w *fixture) generic() string { w.t.Helper(); return w.enroll(`{"type":"generic_otp"}`) }

func (w *fixture) phone() string {
	w.t.Helper()
	return w.enroll(`{"type":"sms","phone_number":"` + adasPhone + `"}`)
}

// app returns the id of a new totp factor, and its secret.
func (w *fixture) app() (id, secret string) {
	w.t.Helper()
	r := w.post("/auth/factors/enroll", `{"type":"totp","totp_issuer":"Foo Corp","totp_user":"ada@foo-corp.com"}`).is(http.StatusCreated)
	return r.text("id"), r.text("totp.secret")
}

// challenge returns the reply to a new challenge of a factor.
func (w *fixture) challenge(factor string) reply {
	w.t.Helper()
	return w.post("/auth/factors/"+factor+"/challenge", `{}`).is(http.StatusCreated)
}

// verify tries a code.
func (w *fixture) verify(challenge, code string) reply {
	w.t.Helper()
	return w.post("/auth/challenges/"+challenge+"/verify", `{"code":"`+code+`"}`)
}

// totpCode returns the code that an authenticator app shows now.
func (w *fixture) totpCode(secret string) string {
	w.t.Helper()
	key, err := totp.ParseSecret(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	code := totp.Code(key, totp.Step(w.clock.Now()))
	logcapture.Secret(w.t, code)
	return code
}

// endpoint creates a webhook endpoint for failed challenges.
func (w *fixture) endpoint(url string) reply {
	w.t.Helper()
	r := w.post("/webhook_endpoints", `{"endpoint_url":"`+url+`","events":["authentication.mfa_failed"]}`).is(http.StatusCreated)
	logcapture.Secret(w.t, r.text("secret"))
	return r
}

// factors counts all factors of the store.
func (w *fixture) factors() int {
	w.t.Helper()
	all, err := w.store.FactorsAfter(context.Background(), mfa.FactorID{}, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// events counts the events of a type.
func (w *fixture) events(kind mfa.EventType) int {
	w.t.Helper()
	all := storetest.Events(w.t, w.store)
	n := 0
	for _, e := range all {
		if e.Type == kind {
			n++
		}
	}
	return n
}

var errCarrier = errors.New("no network")
