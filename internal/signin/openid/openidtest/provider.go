// Package openidtest is an identity provider for tests: a real HTTP server with real keys.
package openidtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// The client that the Provider knows.
const (
	ClientID = "countersign"
	Secret   = "the secret of the client"
)

// A Provider signs one person in, without asking.
type Provider struct {
	URL string
	Now func() time.Time

	mu     sync.Mutex
	claims map[string]any // of the next token, in addition to the usual ones
	header map[string]any
	key    *rsa.PrivateKey // signs the next token
	sign   func(text []byte) []byte
	codes  map[string]url.Values // the queries of the visits by their codes
	own    *rsa.PrivateKey
	iss    bool
}

// New starts a provider.
func New(t testing.TB) *Provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{Now: time.Now, key: key, own: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	return p
}

// Claim sets a claim of the next tokens; nil removes it.
func (p *Provider) Claim(name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.claims == nil {
		p.claims = map[string]any{}
	}
	p.claims[name] = value
}

// Sign changes how the next tokens are signed: their header, and the signature of a text.
func (p *Provider) Sign(header map[string]any, sign func(text []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.header, p.sign = header, sign
}

// SendIssuer makes answers name their issuer (RFC 9207).
func (p *Provider) SendIssuer() { p.iss = true }

// Reset forgets all that Claim and Sign have set.
func (p *Provider) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims, p.header, p.sign = nil, nil, nil
}

// PublicKey returns the modulus of the key.
func (p *Provider) PublicKey() []byte { return p.own.N.Bytes() }

func (p *Provider) describe(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "HS256", "none"},
		"authorization_response_iss_parameter_supported": p.iss,
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one",
		"n": encode(p.own.N.Bytes()), "e": encode(big.NewInt(int64(p.own.E)).Bytes()),
	}}})
}

// authorize sends the browser back with a code.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		http.Error(w, "wrong request", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = q
	p.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if p.iss {
		back.Set("iss", p.URL)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	p.mu.Lock()
	defer p.mu.Unlock()
	visit, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	verifier := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if unescaped, err := url.QueryUnescape(secret); err == nil {
		secret = unescaped
	}
	if !ok || id != ClientID || secret != Secret || encode(verifier[:]) != visit.Get("code_challenge") || r.PostFormValue("redirect_uri") != visit.Get("redirect_uri") {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	now := p.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": ClientID, "sub": "7", "nonce": visit.Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"preferred_username": "grace", "email": "grace@example.com", "groups": []string{"support-team", "everyone"},
	}
	if visit.Get("max_age") != "" {
		claims["auth_time"] = now.Unix()
	}
	maps.Copy(claims, p.claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "id_token": p.signed(claims)})
}

func (p *Provider) signed(claims map[string]any) string {
	header := map[string]any{"alg": "RS256", "kid": "one", "typ": "JWT"}
	if p.header != nil {
		header = p.header
	}
	h, _ := json.Marshal(header) // texts and numbers
	c, _ := json.Marshal(claims)
	text := encode(h) + "." + encode(c)
	sign := p.sign
	if sign == nil {
		sign = func(text []byte) []byte {
			digest := sha256.Sum256(text)
			signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, digest[:])
			if err != nil {
				panic(err)
			}
			return signature
		}
	}
	return text + "." + encode(sign([]byte(text)))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error means that the client has gone
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
