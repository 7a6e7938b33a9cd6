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
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/leak"
)

// A gateway is what stands behind a provider of the type webhook: it checks each
// message as docs/delivery/webhook.md says, and answers with a status.
type gateway struct {
	secret string
	status int

	mu       sync.Mutex
	messages []gatewayMessage
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
		g.messages = append(g.messages, m)
		g.mu.Unlock()
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

// TestMessagesGoOutByTheProvidersOfTheFile sends by the second of two gateways,
// since the first does not take the message.
func TestMessagesGoOutByTheProvidersOfTheFile(t *testing.T) {
	t.Parallel()
	const number = "+16073517112"
	dir := t.TempDir()
	down := &gateway{secret: strings.Repeat("first ", 8), status: http.StatusServiceUnavailable}
	up := &gateway{secret: strings.Repeat("second ", 8), status: http.StatusAccepted}
	leak.Secret(t, number, down.secret, up.secret)
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
	leak.Secret(t, code)
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

	// A sandbox has no phones.
	sandbox := p.apiAs(createKey(t, dir, "staging"))
	tested := sandbox.enroll(`{"type":"sms","phone_number":"` + number + `"}`)
	sandbox.want(http.StatusServiceUnavailable, "POST", "/auth/factors/"+tested.ID+"/challenge", "")
	p.stop()
	if log := p.log.String(); !strings.Contains(log, "message not accepted") || !strings.Contains(log, "provider=first") {
		t.Error("the log does not tell which provider did not take the message")
	}
}

func TestAWrongProviderFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, file, want string }{
		{"no provider", "", "there is no provider"},
		{"an unknown key", "provider: []", "field provider not found"},
		{"an unknown type", "providers: [{name: a, type: pigeon}]", `there is no type "pigeon"`},
		{"an unknown setting", "providers: [{name: a, type: webhook, uri: x}]", "there is no setting uri; there are "},
		{"no name", "providers: [{type: webhook}]", "provider 1: name is missing"},
		{"what the provider lacks", "providers: [{name: a, type: twilio}]", "account_sid"},
		{"a secret twice", "providers: [{name: a, type: webhook, secret: x, secret_file: y}]", "exclude one another"},
		{"a secret that is not there", "providers: [{name: a, type: webhook, secret_file: nowhere}]", "nowhere"},
		{"receipts", "providers: [{name: a, type: webhook, callback_url: https://x}]", "receipts are not taken in"},
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
