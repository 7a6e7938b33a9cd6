package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// A gateway is the server behind a provider of the type webhook. It checks each
// message according to docs/delivery/webhook.md, and answers with a status.
type gateway struct {
	secret  string
	status  int
	refuses string // the number that it refuses for good

	mu       sync.Mutex
	messages []gatewayMessage
	parents  []string // the header traceparent of each message
}

type gatewayMessage struct {
	ID       string `json:"id"`
	To       string `json:"to"`
	Text     string `json:"text"`
	ValidFor int    `json:"valid_for"`
}

func (g *gateway) start(t *testing.T) (url string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		stamp, signature, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Countersign-Signature"), "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte(g.secret))
		io.WriteString(mac, stamp+"."+string(body))
		var m gatewayMessage
		if hex.EncodeToString(mac.Sum(nil)) != signature || json.Unmarshal(body, &m) != nil {
			t.Errorf("the gateway was posted %q, signed %q", body, r.Header.Get("Countersign-Signature"))
		}
		g.mu.Lock()
		g.messages, g.parents = append(g.messages, m), append(g.parents, r.Header.Get("traceparent"))
		g.mu.Unlock()
		if m.To == g.refuses {
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"refused":true,"reason":"opted_out"}`)
			return
		}
		w.WriteHeader(g.status)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func (g *gateway) got() []gatewayMessage {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.messages
}

// TestMessagesGoOutByTheProvidersOfTheFile sends through the second of two gateways,
// because the first refuses the message.
func TestMessagesGoOutByTheProvidersOfTheFile(t *testing.T) {
	t.Parallel()
	const number = "+16073517112"
	dir := t.TempDir()
	down := &gateway{secret: strings.Repeat("first ", 8), status: http.StatusServiceUnavailable}
	up := &gateway{secret: strings.Repeat("second ", 8), status: http.StatusAccepted, refuses: "+16073517113"}
	logcapture.Secret(t, number, up.refuses, down.secret, up.secret)
	write(t, filepath.Join(dir, "down-secret"), down.secret+"\n")
	file := filepath.Join(dir, "sms.yaml")
	write(t, file, `
providers:
  - { name: first, type: webhook, url: "`+down.start(t)+`", secret_file: down-secret }
  - { name: second, type: webhook, url: "`+up.start(t)+`", secret: "`+up.secret+`" }
routes:
  - prefix: "+1"
    choices: [{ provider: first }, { provider: second, priority: 1 }]
`)
	store := storeIn(t, dir)
	p := serve(t, "--store", store, "--sms", file, "--sms-countries", "us", "--sms-countries", "DE")
	succeed(t, "environment", "create", "production", "--production", "--store", store)
	p.key = createKey(t, dir, "production")
	api := p.api()

	factor := api.enroll(`{"type":"sms","phone_number":"` + number + `"}`)
	challenge := api.want(http.StatusCreated, "POST", "/auth/factors/"+factor.ID+"/challenge", "")
	if len(down.got()) != 1 || len(up.got()) != 1 {
		t.Fatalf("the gateways got %d and %d messages; want one each", len(down.got()), len(up.got()))
	}
	m := up.got()[0]
	code := m.Text[len(m.Text)-6:]
	logcapture.Secret(t, code)
	if m.To != number || m.Text != "Your verification code is: "+code || m.ValidFor != 600 || !strings.HasSuffix(challenge.ID, m.ID) {
		t.Errorf("the gateway was posted %+v", m)
	}
	if !api.verify(challenge.ID, code) {
		t.Error("the code of the message is not valid")
	}

	for number, want := range map[string]struct {
		status int
		code   string
	}{
		"+33612345678":   {http.StatusForbidden, "sms_country_not_allowed"},
		"+19002345678":   {http.StatusForbidden, "sms_number_type_not_allowed"},
		"+4915123456789": {http.StatusServiceUnavailable, "sms_delivery_failed"}, // it has no route
	} {
		factor := api.enroll(`{"type":"sms","phone_number":"` + number + `"}`)
		if got := api.want(want.status, "POST", "/auth/factors/"+factor.ID+"/challenge", ""); got.Code != want.code {
			t.Errorf("%s: %s; want %s", number, got.Code, want.code)
		}
	}
	if len(down.got()) != 1 || len(up.got()) != 1 {
		t.Error("a message that was refused went out")
	}

	// The gateway refuses a number permanently: clients do not retry after the
	// answer.
	optedOut := api.enroll(`{"type":"sms","phone_number":"` + up.refuses + `"}`)
	if got := api.want(http.StatusUnprocessableEntity, "POST", "/auth/factors/"+optedOut.ID+"/challenge", ""); got.Code != "sms_recipient_refused" {
		t.Errorf("a number that opted out: %s; want sms_recipient_refused", got.Code)
	}

	// A sandbox sends to no real phone.
	sandbox := p.apiAs(createKey(t, dir, "staging"))
	tested := sandbox.enroll(`{"type":"sms","phone_number":"` + number + `"}`)
	if got := sandbox.want(http.StatusForbidden, "POST", "/auth/factors/"+tested.ID+"/challenge", ""); got.Code != "sms_sandbox_number_not_allowed" {
		t.Errorf("a sandbox: %s", got.Code)
	}
	if fictional := sandbox.enroll(`{"type":"sms","phone_number":"+15005550006"}`); !sandbox.verify(sandbox.challenge(fictional.ID).ID, "123456") {
		t.Error("the code of a test number is not valid")
	}
	p.stop()
	if log := p.log.String(); !strings.Contains(log, "message not accepted") || !strings.Contains(log, "provider=first") || !strings.Contains(log, "took_ms=") {
		t.Error("the log does not name the provider that did not accept the message, and the time in milliseconds")
	}
}

// report posts the delivery status of a message to the server.
func (g *gateway) report(t *testing.T, url, id, state, reason string) int {
	t.Helper()
	body := `{"id":"` + id + `","state":"` + state + `","reason":"` + reason + `"}`
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(g.secret))
	io.WriteString(mac, stamp+"."+body)
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Countersign-Signature", "t="+stamp+",v1="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestAMessageIsFollowedToThePhone sends a German message that does not arrive, and
// sends it again through another gateway, which delivers it.
func TestAMessageIsFollowedToThePhone(t *testing.T) {
	t.Parallel()
	const number = "+4915123456789"
	dir := t.TempDir()
	first := &gateway{secret: strings.Repeat("first ", 8), status: http.StatusAccepted}
	second := &gateway{secret: strings.Repeat("second ", 8), status: http.StatusAccepted}
	logcapture.Secret(t, number, first.secret, second.secret)
	file := filepath.Join(dir, "sms.yaml")
	write(t, file, `
providers:
  - { name: first, type: webhook, url: "`+first.start(t)+`", secret: "`+first.secret+`" }
  - { name: second, type: webhook, url: "`+second.start(t)+`", secret: "`+second.secret+`" }
environments:
  production:
    countries: [DE]
    daily: 3
    texts: { de: "Ihr Code: {{code}}", default: "Your code: {{code}}" }
    origin: example.com
`)
	store := storeIn(t, dir)
	p := serve(t, "--store", store, "--sms", file, "--sms-spacing", "1ms")
	succeed(t, "environment", "create", "production", "--production", "--store", store)
	p.key = createKey(t, dir, "production")
	api := p.api()
	receipts := p.url + "/sms/receipts/"

	factor := api.enroll(`{"type":"sms","phone_number":"` + number + `"}`)
	c := api.challenge(factor.ID)
	m := first.got()[0]
	code := m.Text[len(m.Text)-6:]
	logcapture.Secret(t, code)
	if want := "Ihr Code: " + code + "\n\n@example.com #" + code; m.Text != want {
		t.Errorf("sent %q; want %q", m.Text, want)
	}
	status := func() string { return api.want(http.StatusOK, "GET", "/auth/challenges/"+c.ID, "").SMS.Status }
	for _, r := range []struct {
		by     *gateway
		to     string
		state  string
		answer int
		status string
	}{
		{first, "first", "sent", http.StatusOK, "sent"},
		{second, "first", "delivered", http.StatusForbidden, "sent"}, // signed by another
		{first, "third", "delivered", http.StatusNotFound, "sent"},
		{second, "second", "delivered", http.StatusOK, "sent"}, // it never had the message
		{first, "first", "undelivered", http.StatusOK, "undelivered"},
		{first, "first", "queued", http.StatusOK, "undelivered"},
	} {
		if got := r.by.report(t, receipts+r.to, m.ID, r.state, "absent"); got != r.answer {
			t.Errorf("%s to %s: answered %d; want %d", r.state, r.to, got, r.answer)
		}
		if got := status(); got != r.status {
			t.Errorf("after %s to %s the message is %s; want %s", r.state, r.to, got, r.status)
		}
	}

	again := api.want(http.StatusCreated, "POST", "/auth/challenges/"+c.ID+"/resend", "")
	if len(first.got()) != 1 || len(second.got()) != 1 || second.got()[0].Text != m.Text || again.SMS.ResendsLeft != 2 {
		t.Fatalf("the gateways got %d and %d messages, and %d resends are left", len(first.got()), len(second.got()), again.SMS.ResendsLeft)
	}
	second.report(t, receipts+"second", second.got()[0].ID, "delivered", "")
	if got := status(); got != "delivered" {
		t.Errorf("the second message is %s", got)
	}
	if !api.verify(c.ID, code) {
		t.Error("the code of both messages is not valid")
	}

	api.challenge(factor.ID)
	if got := api.want(http.StatusTooManyRequests, "POST", "/auth/factors/"+factor.ID+"/challenge", ""); got.Code != "sms_challenge_quota_reached" {
		t.Errorf("the fourth message of the day: %s", got.Code)
	}
	// The prefix counts only messages that were sent before a right code proved the
	// number.
	sent := succeed(t, "sms", "sent", "--env", "production", "--store", store)
	if !regexp.MustCompile(`(?m)^DE +24h +3 +1 `).MatchString(sent) || !regexp.MustCompile(`(?m)^\+491512 +1h +1 +1 `).MatchString(sent) {
		t.Errorf("sms sent says\n%s", sent)
	}
	wide := filepath.Join(dir, "wide.yaml")
	write(t, wide, "environments: { production: { countries: [DE], pumping: { window: 12h } } }\n")
	if sent := succeed(t, "sms", "sent", "--env", "production", "--sms", wide, "--store", store); !regexp.MustCompile(`(?m)^\+491512 +12h +1 +1 `).MatchString(sent) {
		t.Errorf("sms sent with a window of 12h says\n%s", sent)
	}
	if got := succeed(t, "sms", "release", "+491512", "--env", "production", "--store", store); !strings.Contains(got, "not paused") {
		t.Errorf("sms release says %q", got)
	}
	if got := succeed(t, "sms", "check", file); !regexp.MustCompile(`production +de +1 +GSM-7 +Ihr Code: 123456`).MatchString(got) {
		t.Errorf("sms check says\n%s", got)
	}
}

func TestAWrongProviderFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, file, want string }{
		{"no provider", "", "there is no provider"},
		{"an unknown key", "provider: []", "there is no setting provider"},
		{"an unknown type", "providers: [{name: a, type: pigeon}]", `there is no type "pigeon"`},
		{"an unknown setting", "providers: [{name: a, type: webhook, uri: x}]", "there is no setting uri; there are "},
		{"no name", "providers: [{type: webhook}]", "provider 1: name is missing"},
		{"what the provider lacks", "providers: [{name: a, type: twilio}]", "account_sid"},
		{"a secret twice", "providers: [{name: a, type: webhook, secret: x, secret_file: y}]", "exclude one another"},
		{"a secret that is not there", "providers: [{name: a, type: webhook, secret_file: nowhere}]", "nowhere"},
		{"a receipt's URL", "providers: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + ", callback_url: 'http://x/y'}]", "callback_url"},
		{"a receipt's URL of another", "providers: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + ", callback_url: 'https://x/sms/receipts/b'}]", "must end in /sms/receipts/a"},
		{"a limit of nothing", "daily: 0", "0 must be at least 1"},
		{"a home that gets nothing", "{countries: [US], home: FR, providers: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]}", "not among the countries US"},
		{"a text without its code", "texts: {de: hallo}\nproviders: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]", `template "de": must contain {{code}}`},
		{"an unknown setting of an environment", "environments: {a: {dayly: 1}}\nproviders: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]", "dayly"},
		{"a route to nobody", "providers: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]\nroutes: [{choices: [{provider: b}]}]", `no provider "b"`},
		{"no weight", "providers: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]\nroutes: [{choices: [{provider: a, weight: 0}]}]", "weight"},
		{"too long a budget", "budget: 20s\nproviders: [{name: a, type: webhook, url: https://x, secret: " + strings.Repeat("s", 32) + "}]", "budget"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "sms.yaml")
			write(t, file, tc.file)
			_, said, code := command(t, "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir), "--sms", file)
			if code == 0 || !strings.Contains(said, tc.want) {
				t.Errorf("exit code %d, and it said %q; want %q in it", code, said, tc.want)
			}
		})
	}
}
