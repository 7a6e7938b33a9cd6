package openid_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/signin/openid"
	"github.com/countersign-mfa/countersign/internal/signin/openid/openidtest"
)

const redirect = "https://console.example.com/console/sign-in/provider/callback"

func config(p *openidtest.Provider) openid.Config {
	return openid.Config{
		Issuer: p.URL, ClientID: openidtest.ClientID, Secret: secret.NewString(openidtest.Secret), RedirectURL: redirect,
		Roles: []openid.Grant{{Group: "admins", Role: access.RoleAdmin}, {Group: "support-team", Role: access.RoleSupport}, {Group: "everyone", Role: access.RoleViewer}},
	}
}

func connect(t *testing.T, cfg openid.Config) *openid.Provider {
	t.Helper()
	client, err := openid.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var authorization = signin.Authorization{State: "the state", Nonce: "the nonce", Verifier: strings.Repeat("v", 43)}

// visit follows the address to the provider and returns the query with which the browser
// comes back.
func visit(t *testing.T, client *openid.Provider, a signin.Authorization) url.Values {
	t.Helper()
	address, err := client.Address(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	back, err := response.Location()
	if err != nil {
		t.Fatalf("%s answered %s: %v", address, response.Status, err)
	}
	if !strings.HasPrefix(back.String(), redirect+"?") {
		t.Errorf("the browser is sent to %s", back)
	}
	return back.Query()
}

func TestPersonIsIdentified(t *testing.T) {
	p := openidtest.New(t)
	for _, tc := range []struct {
		name   string
		claims map[string]any
		want   signin.Identity
	}{
		{"with two groups", nil, signin.Identity{Name: "grace", Role: access.RoleSupport}},
		{"with one group as text", map[string]any{"groups": "admins"}, signin.Identity{Name: "grace", Role: access.RoleAdmin}},
		{"with the highest group first", map[string]any{"groups": []string{"admins", "everyone"}}, signin.Identity{Name: "grace", Role: access.RoleAdmin}},
		{"with other groups", map[string]any{"groups": []string{"Admins", "admin"}}, signin.Identity{Name: "grace"}},
		{"without groups", map[string]any{"groups": nil}, signin.Identity{Name: "grace"}},
		{"with groups of another form", map[string]any{"groups": map[string]any{"admins": true}}, signin.Identity{Name: "grace"}},
		{"without a name", map[string]any{"preferred_username": nil}, signin.Identity{Name: "grace@example.com", Role: access.RoleSupport}},
		{"with a time", map[string]any{"auth_time": 1700000000}, signin.Identity{Name: "grace", Role: access.RoleSupport, AuthTime: time.Unix(1700000000, 0)}},
		{"with two audiences", map[string]any{"aud": []string{"other", openidtest.ClientID}, "azp": openidtest.ClientID}, signin.Identity{Name: "grace", Role: access.RoleSupport}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.Reset()
			for name, value := range tc.claims {
				p.Claim(name, value)
			}
			client := connect(t, config(p))
			who, err := client.Identity(t.Context(), authorization, visit(t, client, authorization))
			tc.want.Issuer, tc.want.Subject = p.URL, "7"
			if err != nil || who != tc.want {
				t.Errorf("Identity = %+v, %v; want %+v", who, err, tc.want)
			}
		})
	}
}

func TestConfirmationAsksThePersonAgain(t *testing.T) {
	p := openidtest.New(t)
	client := connect(t, config(p))
	again := authorization
	again.Confirm = true
	address, err := client.Address(t.Context(), again)
	if err != nil || !strings.Contains(address, "prompt=login") || !strings.Contains(address, "max_age=0") {
		t.Errorf("Address = %s, %v; want prompt=login and max_age=0", address, err)
	}
	if who, err := client.Identity(t.Context(), again, visit(t, client, again)); err != nil || time.Since(who.AuthTime) > time.Minute {
		t.Errorf("Identity = %+v, %v; want a time of just now", who, err)
	}
}

func TestRefusedTokens(t *testing.T) {
	p := openidtest.New(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func() { return func() { p.Claim(name, value) } }
	for _, tc := range []struct {
		name   string
		set    func()
		reason string
	}{
		{"with the nonce of another visit", claim("nonce", "another nonce"), "nonce"},
		{"without a nonce", claim("nonce", nil), "nonce"},
		{"that expired a second ago", claim("exp", time.Now().Add(-time.Second).Unix()), "token_refused"},
		{"that never expires", claim("exp", nil), "token_refused"},
		{"that is not yet valid", claim("nbf", time.Now().Add(time.Hour).Unix()), "token_refused"},
		{"for another audience", claim("aud", "another client"), "token_refused"},
		{"for two audiences", claim("aud", []string{openidtest.ClientID, "another client"}), "token_refused"},
		{"for another party", claim("azp", "another client"), "token_refused"},
		{"of another issuer", claim("iss", "https://evil.example"), "token_refused"},
		{"without a subject", claim("sub", nil), "token_refused"},
		{"with a name that is a number", claim("preferred_username", 7), "token_refused"},
		{"without a signature", func() { p.Sign(map[string]any{"alg": "none"}, func([]byte) []byte { return nil }) }, "token_refused"},
		{"signed with the public key as a secret", func() {
			p.Sign(map[string]any{"alg": "HS256", "kid": "one"}, func(text []byte) []byte {
				mac := hmac.New(sha256.New, p.PublicKey())
				mac.Write(text)
				return mac.Sum(nil)
			})
		}, "token_refused"},
		{"signed with the secret of the client", func() {
			p.Sign(map[string]any{"alg": "HS256", "kid": "one"}, func(text []byte) []byte {
				mac := hmac.New(sha256.New, []byte(openidtest.Secret))
				mac.Write(text)
				return mac.Sum(nil)
			})
		}, "token_refused"},
		{"signed with another key", func() {
			p.Sign(map[string]any{"alg": "RS256", "kid": "one"}, func(text []byte) []byte {
				digest := sha256.Sum256(text)
				signature, _ := rsa.SignPKCS1v15(rand.Reader, other, crypto.SHA256, digest[:])
				return signature
			})
		}, "token_refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.Reset()
			tc.set()
			client := connect(t, config(p))
			who, err := client.Identity(t.Context(), authorization, visit(t, client, authorization))
			wantReason(t, who, err, tc.reason)
		})
	}
}

func wantReason(t *testing.T, who signin.Identity, err error, reason string) {
	t.Helper()
	if failed, ok := errors.AsType[*signin.ProviderError](err); !ok || failed.Reason != reason || who != (signin.Identity{}) {
		t.Errorf("Identity = %+v, %v; want the reason %s", who, err, reason)
	}
	if err != nil && strings.Contains(err.Error(), openidtest.Secret) {
		t.Errorf("the error has the secret: %v", err)
	}
}

func TestRefusedAnswers(t *testing.T) {
	p := openidtest.New(t)
	client := connect(t, config(p))
	for name, tc := range map[string]struct {
		query  func(q url.Values)
		reason string
	}{
		"an error":          {func(q url.Values) { q.Set("error", "access_denied") }, "denied"},
		"no code":           {func(q url.Values) { q.Del("code") }, "no_code"},
		"an invented code":  {func(q url.Values) { q.Set("code", "x") }, "no_token"},
		"of another issuer": {func(q url.Values) { q.Set("iss", "https://evil.example") }, "mix_up"},
	} {
		q := visit(t, client, authorization)
		tc.query(q)
		who, err := client.Identity(t.Context(), authorization, q)
		t.Run(name, func(t *testing.T) { wantReason(t, who, err, tc.reason) })
	}
	q := visit(t, client, authorization)
	stolen := authorization
	stolen.Verifier = strings.Repeat("w", 43)
	who, err := client.Identity(t.Context(), stolen, q)
	wantReason(t, who, err, "no_token")
	if _, err := client.Identity(t.Context(), authorization, q); err == nil {
		t.Error("a code was used twice")
	}
}

// TestAnswerNamesItsIssuer: a provider that names itself in its answers does so in all.
func TestAnswerNamesItsIssuer(t *testing.T) {
	p := openidtest.New(t)
	p.SendIssuer()
	client := connect(t, config(p))
	q := visit(t, client, authorization)
	if _, err := client.Identity(t.Context(), authorization, q); err != nil {
		t.Errorf("Identity = %v", err)
	}
	q = visit(t, client, authorization)
	q.Del("iss")
	who, err := client.Identity(t.Context(), authorization, q)
	wantReason(t, who, err, "mix_up")
}

func TestProviderThatIsDown(t *testing.T) {
	p := openidtest.New(t)
	cfg := config(p)
	cfg.Issuer = p.URL + "/other"
	client := connect(t, cfg)
	_, err := client.Address(t.Context(), authorization)
	wantReason(t, signin.Identity{}, err, "unreachable")
}

func TestWrongSettings(t *testing.T) {
	p := openidtest.New(t)
	for name, change := range map[string]func(*openid.Config){
		"http":         func(c *openid.Config) { c.Issuer = "http://id.example.com" },
		"no issuer":    func(c *openid.Config) { c.Issuer = "" },
		"a query":      func(c *openid.Config) { c.Issuer = "https://id.example.com?x=1" },
		"no client id": func(c *openid.Config) { c.ClientID = "" },
		"no role":      func(c *openid.Config) { c.Roles = nil },
	} {
		cfg := config(p)
		change(&cfg)
		if _, err := openid.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
