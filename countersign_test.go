package countersign_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// A phone is a Sender that remembers its messages.
type phone struct {
	mu    sync.Mutex
	to    string
	text  string
	fails bool // from now on
}

func (p *phone) Send(_ context.Context, to, text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails {
		return errors.New("no signal")
	}
	p.to, p.text = to, text
	return nil
}

// last returns the newest message.
func (p *phone) last() (to, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.to, p.text
}

// A program embeds Countersign next to its own page.
type program struct {
	t   *testing.T
	srv *countersign.Server
	url string
	key string
}

func newProgram(t *testing.T, opts countersign.Options) *program {
	t.Helper()
	if opts.Store == "" {
		opts.Store = "sqlite:" + filepath.Join(t.TempDir(), "mfa.db")
	}
	opts.Logger = slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil))
	srv, err := countersign.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) })
	mux.Handle("/", srv)
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		web.Close()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &program{t: t, srv: srv, url: web.URL}
	p.key = p.createKey("production", true)
	return p
}

func (p *program) createKey(environment string, production bool) string {
	p.t.Helper()
	key, err := p.srv.CreateAPIKey(p.t.Context(), environment, production)
	if err != nil {
		p.t.Fatal(err)
	}
	logcapture.Secret(p.t, key)
	return key
}

// An answer holds what the API said.
type answer struct {
	ID      string
	Code    string
	Valid   bool
	Message string
	TOTP    struct{ Secret, Issuer string }
}

// post makes a request that must be answered with a status.
func (p *program) post(status int, path, body string) (got answer) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || resp.StatusCode != status {
		p.t.Fatalf("POST %s = %d %+v (%v); want %d", path, resp.StatusCode, got, err, status)
	}
	logcapture.Secret(p.t, got.TOTP.Secret)
	return got
}

func TestAnotherProgramServesTheAPI(t *testing.T) {
	p := newProgram(t, countersign.Options{})
	for path, want := range map[string]int{
		"/hello":          http.StatusOK,
		"/healthz":        http.StatusOK,
		"/readyz":         http.StatusOK,
		"/openapi.yaml":   http.StatusOK,
		"/auth/factors/x": http.StatusUnauthorized,
		"/dev/inbox":      http.StatusNotFound,
	} {
		resp, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s = %d; want %d", path, resp.StatusCode, want)
		}
	}
	if !strings.HasPrefix(p.key, "sk_live_") {
		t.Error("the key of a production environment is not sk_live_…")
	}

	enrolled := p.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"totp","totp_user":"you@example.com"}`)
	if enrolled.TOTP.Issuer != "production" {
		t.Errorf("the issuer is %q; want the name of the environment", enrolled.TOTP.Issuer)
	}
	made := p.post(http.StatusCreated, "/auth/factors/"+enrolled.ID+"/challenge", "")
	secret, err := totp.ParseSecret(enrolled.TOTP.Secret)
	if err != nil {
		t.Fatal(err)
	}
	code := totp.Code(secret, totp.Step(time.Now()))
	logcapture.Secret(t, code)
	if !p.post(http.StatusCreated, "/auth/challenges/"+made.ID+"/verify", `{"code":"`+code+`"}`).Valid {
		t.Error("the right code is not valid")
	}
}

func TestAProgramDeliversMessagesItself(t *testing.T) {
	const number = "+16073517112"
	logcapture.Secret(t, number)
	var his phone
	p := newProgram(t, countersign.Options{Sender: &his, SMSCountries: []string{"US"}})
	enrolled := p.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"sms","phone_number":"`+number+`"}`)
	made := p.post(http.StatusCreated, "/auth/factors/"+enrolled.ID+"/challenge", "")
	to, text := his.last()
	code := regexp.MustCompile(`\d{6}`).FindString(text)
	logcapture.Secret(t, code)
	if to != number || text != "Your verification code is: "+code {
		t.Errorf("to %q went %q", to, text)
	}
	if !p.post(http.StatusCreated, "/auth/challenges/"+made.ID+"/verify", `{"code":"`+code+`"}`).Valid {
		t.Error("the code of the message is not valid")
	}
}

func TestAMessageThatIsNotDeliveredIsNotACode(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts countersign.Options
	}{
		{"by a sender that fails", countersign.Options{Sender: &phone{fails: true}, SMSCountries: []string{"US"}}},
		{"without a sender", countersign.Options{SMSCountries: []string{"US"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newProgram(t, tc.opts)
			enrolled := p.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"sms","phone_number":"+16073517112"}`)
			refused := p.post(http.StatusServiceUnavailable, "/auth/factors/"+enrolled.ID+"/challenge", "")
			if refused.Code != "sms_delivery_failed" || refused.ID != "" {
				t.Errorf("a challenge whose message was not delivered is answered %+v", refused)
			}
		})
	}
}

func TestARefusedRecipientIsNotRetried(t *testing.T) {
	p := newProgram(t, countersign.Options{Sender: refusing{}, SMSCountries: []string{"US"}})
	enrolled := p.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"sms","phone_number":"+16073517112"}`)
	if got := p.post(http.StatusUnprocessableEntity, "/auth/factors/"+enrolled.ID+"/challenge", ""); got.Code != "sms_recipient_refused" {
		t.Errorf("the code is %q; want sms_recipient_refused", got.Code)
	}
}

// refusing is a Sender to numbers that opted out.
type refusing struct{}

func (refusing) Send(context.Context, string, string) error {
	return fmt.Errorf("opted out: %w", countersign.ErrRecipientRefused)
}

func TestOptionsAreHeeded(t *testing.T) {
	p := newProgram(t, countersign.Options{TOTPIssuer: "Example", RateLimit: 1})
	if got := p.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"totp","totp_user":"you"}`); got.TOTP.Issuer != "Example" {
		t.Errorf("the issuer is %q", got.TOTP.Issuer)
	}
	p.post(http.StatusTooManyRequests, "/auth/factors/enroll", `{"type":"generic_otp"}`)
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	store := "sqlite:" + filepath.Join(t.TempDir(), "mfa.db")
	for name, opts := range map[string]countersign.Options{
		"no store":            {},
		"an unknown store":    {Store: "mfa.db"},
		"an unknown keyset":   {Store: store, Keyset: "nonsense"},
		"an hour to verify":   {Store: store, ChallengeTTL: time.Hour},
		"less than no time":   {Store: store, ChallengeTTL: -1},
		"less than no limit":  {Store: store, RateLimit: -1},
		"a keyset not there":  {Store: store, Keyset: "file:" + filepath.Join(t.TempDir(), "none")},
		"a variable not set":  {Store: store, Keyset: "env:NO_SUCH_KEYSET"},
		"a command not there": {Store: store, Keyset: "exec:/no/such/command"},
	} {
		t.Run(name, func(t *testing.T) {
			if srv, err := countersign.New(t.Context(), opts); err == nil {
				t.Error("New took it", srv.Close())
			}
		})
	}
}

func TestCreateAPIKey(t *testing.T) {
	p := newProgram(t, countersign.Options{})
	first, second := p.createKey("staging", false), p.createKey("staging", false)
	if first == second || !strings.HasPrefix(first, "sk_test_") {
		t.Error("two keys of a sandbox are not two of sk_test_…")
	}
	for _, tc := range []struct {
		name        string
		environment string
		production  bool
	}{
		{"a sandbox as production", "staging", true},
		{"production as a sandbox", "production", false},
		{"no name", "", false},
		{"a name that is none", "../production", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if key, err := p.srv.CreateAPIKey(t.Context(), tc.environment, tc.production); err == nil || key != "" {
				t.Errorf("CreateAPIKey(%q, %t) made a key", tc.environment, tc.production)
			}
		})
	}
}

// TestAServerKeepsItsStore opens a store again, as after a restart.
func TestAServerKeepsItsStore(t *testing.T) {
	store := "sqlite:" + filepath.Join(t.TempDir(), "mfa.db")
	first := newProgram(t, countersign.Options{Store: store})
	enrolled := first.post(http.StatusCreated, "/auth/factors/enroll", `{"type":"generic_otp"}`)
	if err := first.srv.Close(); err != nil {
		t.Fatal(err)
	}
	second := newProgram(t, countersign.Options{Store: store})
	second.post(http.StatusCreated, "/auth/factors/"+enrolled.ID+"/challenge", "")
	second.key = first.key
	second.post(http.StatusCreated, "/auth/factors/"+enrolled.ID+"/challenge", "")
}

func TestTheDescriptionIsThere(t *testing.T) {
	if !bytes.HasPrefix(countersign.OpenAPI, []byte("openapi: 3.")) {
		t.Errorf("OpenAPI begins with %.40q", countersign.OpenAPI)
	}
}

func TestTheDescriptionHasTheVersionOfTheModule(t *testing.T) {
	m := regexp.MustCompile(`(?m)^  version: (.+)$`).FindSubmatch(countersign.OpenAPI)
	if m == nil || string(m[1]) != countersign.Version {
		t.Errorf("openapi.yaml has version %q; countersign.Version is %q", m, countersign.Version)
	}
}
