package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/openapitest"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// An api calls the HTTP API with one API key.
type api struct {
	t      testing.TB
	url    string
	key    string
	client *http.Client

	undocumented bool // whether replies may come from the previous release, which openapi.yaml does not describe
}

func newAPI(t testing.TB, url, key string) *api {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &api{t: t, url: url, key: key, client: &http.Client{Transport: transport, Timeout: patience}}
}

// An answer is a reply that was received in full.
type answer struct {
	status int
	header http.Header
	body   []byte
	entity
}

// An entity has the keys of all answers of the API.
type entity struct {
	ID        string
	Type      string
	Code      string // of a challenge, or of an error
	Message   string
	ExpiresAt string `json:"expires_at"`
	Valid     bool
	Receipt   string
	TOTP      struct {
		Secret string
		URI    string
	}
	SMS struct {
		Status      string
		ResendsLeft int `json:"resends_left"`
	}
	Challenge struct{ ID string }
	Data      []struct{ ID string }
	Messages  []message
}

func readEntity(body []byte) (e entity, err error) {
	err = json.Unmarshal(body, &e)
	return e, err
}

// A message is a message in the inbox.
type message struct {
	To     string
	Text   string
	Code   string
	SentAt string `json:"sent_at"`
}

// A tornError reports an answer that began and did not end.
type tornError struct{ cause error }

func (e *tornError) Error() string { return "answer torn: " + e.cause.Error() }

// send makes a request. It sends the header Idempotency-Key unless key is "".
func (a *api) send(ctx context.Context, method, path, body, key string) (answer, error) {
	var began atomic.Bool // set by a goroutine of the transport, which may outlive the request
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { began.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("Accept", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		if began.Load() {
			err = &tornError{err}
		}
		return answer{}, err
	}
	defer resp.Body.Close()
	got := answer{status: resp.StatusCode, header: resp.Header}
	if got.body, err = io.ReadAll(resp.Body); err != nil {
		return answer{}, &tornError{err}
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if got.entity, err = readEntity(got.body); err != nil {
			return answer{}, fmt.Errorf("%s %s: %w in %q", method, path, err, got.body)
		}
	}
	if !a.undocumented {
		a.asDocumented(req, body, got)
	}
	logcapture.Secret(a.t, got.TOTP.Secret)
	if got.status < 300 {
		logcapture.Secret(a.t, got.Code)
	}
	for _, m := range got.Messages {
		logcapture.Secret(a.t, m.To, m.Code)
	}
	return got, nil
}

// asDocumented compares a reply with openapi.yaml.
func (a *api) asDocumented(req *http.Request, body string, got answer) {
	document, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		a.t.Error(err)
		return
	}
	header := got.header.Clone()
	if id, ok := header["X-Request-Id"]; ok { // net/http's spelling; that of the wire is checked elsewhere
		delete(header, "X-Request-Id")
		header["x-request-id"] = id
	}
	err = document.CheckReply(openapitest.Exchange{
		Method: req.Method, Target: req.URL.RequestURI(), RequestHeader: req.Header, RequestBody: []byte(body),
		Status: got.status, Header: header, Body: got.body,
	})
	if err != nil {
		a.t.Errorf("%s %s was answered %d, and openapi.yaml knows better: %v", req.Method, req.URL.Path, got.status, err)
	}
}

// want makes a request and fails the test unless the status is the expected one.
func (a *api) want(status int, method, path, body string) answer {
	a.t.Helper()
	got, err := a.send(a.t.Context(), method, path, body, "")
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	if got.status != status {
		a.t.Fatalf("%s %s = %d %s%s; want %d", method, path, got.status, got.Code, got.Message, status)
	}
	return got
}

func (a *api) enroll(body string) answer {
	a.t.Helper()
	return a.want(http.StatusCreated, "POST", "/auth/factors/enroll", body)
}

func (a *api) enrollTOTP() answer {
	a.t.Helper()
	return a.enroll(`{"type":"totp","totp_issuer":"Example","totp_user":"you@example.com"}`)
}

func (a *api) challenge(factor string) answer {
	a.t.Helper()
	return a.want(http.StatusCreated, "POST", "/auth/factors/"+factor+"/challenge", "")
}

// verify submits a code that the server must evaluate, and reports whether it was
// right.
func (a *api) verify(challenge, code string) bool {
	a.t.Helper()
	return a.want(http.StatusCreated, "POST", verifyPath(challenge), codeBody(code)).Valid
}

// refused submits a code that the server must refuse to evaluate, and returns the
// reason.
func (a *api) refused(status int, challenge, code string) string {
	a.t.Helper()
	return a.want(status, "POST", verifyPath(challenge), codeBody(code)).Code
}

// inbox returns the messages to a phone number, newest first.
func (a *api) inbox(query string) []message {
	a.t.Helper()
	return a.want(http.StatusOK, "GET", "/dev/inbox"+query, "").Messages
}

func verifyPath(challenge string) string { return "/auth/challenges/" + challenge + "/verify" }

func codeBody(code string) string { return fmt.Sprintf(`{"code":%q}`, code) }

// wrong can never be a valid code: it has five digits.
const wrong = "12345"

// codeAt returns the code of a TOTP secret, in the form of the API, at a time step.
func codeAt(t testing.TB, secret string, step int64) string {
	t.Helper()
	key, err := totp.ParseSecret(secret)
	if err != nil {
		t.Errorf("secret: %v", err)
	}
	code := totp.Code(key, step)
	logcapture.Secret(t, code)
	return code
}

// codeNow returns the code that an authenticator app shows now.
func codeNow(t testing.TB, secret string) string {
	t.Helper()
	return codeAt(t, secret, totp.Step(time.Now()))
}

// poll calls done until it returns true. It does not sleep between calls, because
// each call is a round trip to the server.
func poll(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}
