// Package openid signs operators of the console in through an identity provider that speaks
// OpenID Connect: the authorization code flow with PKCE, state and nonce.
package openid

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Config describes the provider, and this program as its client.
type Config struct {
	Issuer      string // an https URL; http only on this machine
	ClientID    string
	Secret      secret.String // of the client
	RedirectURL string
	Scopes      []string // default openid, profile and email
	GroupClaim  string   // has the groups of a person; default "groups"
	Roles       []Grant

	Now func() time.Time // default time.Now
}

// A Grant gives a role to the members of a group.
type Grant struct {
	Group string
	Role  access.Role
}

// A Provider implements console.Provider. It is safe for concurrent use.
type Provider struct {
	cfg    Config
	issuer *url.URL
	client *http.Client

	mu    sync.Mutex // held while the provider is asked
	found atomic.Pointer[discovered]
}

// discovered is the description that the provider publishes.
type discovered struct {
	origin   string // of the page for signing in
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
	sendsIss bool // answers name their issuer (RFC 9207)
}

// New returns a Provider. It does not ask the provider for anything yet: the server starts
// also while the provider is down.
func New(cfg Config) (*Provider, error) {
	u, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the issuer %q is not a URL such as https://id.example.com", cfg.Issuer)
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return nil, fmt.Errorf("the issuer %q does not begin with https", cfg.Issuer)
	case cfg.ClientID == "":
		return nil, errors.New("the client id is missing")
	case len(cfg.Roles) == 0:
		return nil, errors.New("no group has a role, so no operator could sign in")
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{oidc.ScopeOpenID, "profile", "email"}
	}
	if !slices.Contains(cfg.Scopes, oidc.ScopeOpenID) {
		cfg.Scopes = append([]string{oidc.ScopeOpenID}, cfg.Scopes...)
	}
	if cfg.GroupClaim == "" {
		cfg.GroupClaim = "groups"
	}
	cfg.Now = wallclock.Or(cfg.Now)
	return &Provider{cfg: cfg, issuer: u, client: &http.Client{Timeout: 10 * time.Second}}, nil
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Name returns the host of the provider.
func (p *Provider) Name() string { return p.issuer.Host }

// Origin returns the origin of the page for signing in. It is taken to be that of the issuer
// until the provider has answered once; see Reach.
func (p *Provider) Origin() string {
	if d := p.found.Load(); d != nil {
		return d.origin
	}
	return originOf(p.issuer)
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// Reach asks the provider for its description, so the first operator does not wait.
func (p *Provider) Reach() error {
	_, err := p.discover()
	return err
}

// discover asks the provider once for its description.
func (p *Provider) discover() (*discovered, error) {
	if d := p.found.Load(); d != nil {
		return d, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.found.Load(); d != nil {
		return d, nil
	}
	// The keys are read with this context for as long as the process runs, so it has no
	// deadline; the client has one.
	described, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.cfg.Issuer)
	if err != nil {
		return nil, refuse("unreachable", err)
	}
	var further struct {
		SendsIss bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := described.Claims(&further); err != nil {
		return nil, refuse("unreachable", err)
	}
	page, err := url.Parse(described.Endpoint().AuthURL)
	if err != nil {
		return nil, refuse("unreachable", err)
	}
	d := &discovered{
		origin: originOf(page),
		oauth: oauth2.Config{
			ClientID: p.cfg.ClientID, ClientSecret: p.cfg.Secret.Reveal(), Endpoint: described.Endpoint(),
			RedirectURL: p.cfg.RedirectURL, Scopes: p.cfg.Scopes,
		},
		verifier: described.Verifier(&oidc.Config{ClientID: p.cfg.ClientID, Now: p.cfg.Now}),
		sendsIss: further.SendsIss,
	}
	p.found.Store(d)
	return d, nil
}

// Address returns the address to which the browser goes.
func (p *Provider) Address(_ context.Context, a signin.Authorization) (string, error) {
	d, err := p.discover()
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.Verifier), oidc.Nonce(a.Nonce)}
	if a.Confirm {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return d.oauth.AuthCodeURL(a.State, options...), nil
}

// Identity checks an answer of the provider: the query of the redirect URL. The caller has
// compared the state.
func (p *Provider) Identity(ctx context.Context, a signin.Authorization, query url.Values) (who signin.Identity, err error) {
	d, err := p.discover()
	if err != nil {
		return who, err
	}
	// An answer of another provider must not reach this one with its code (RFC 9207).
	if iss := query.Get("iss"); iss != p.cfg.Issuer && (iss != "" || d.sendsIss) {
		return who, refuse("mix_up", errors.New("the answer is of another issuer"))
	}
	if code := query.Get("error"); code != "" {
		return who, refuse("denied", fmt.Errorf("it answered %.64q", code))
	}
	if query.Get("code") == "" {
		return who, refuse("no_code", errors.New("its answer has no code"))
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := d.oauth.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return who, refuse("no_token", withoutBody(err))
	}
	text, ok := token.Extra("id_token").(string)
	if !ok {
		return who, refuse("no_token", errors.New("its answer has no id_token"))
	}
	id, err := d.verifier.Verify(ctx, text)
	if err != nil {
		return who, refuse("token_refused", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return who, refuse("nonce", errors.New("the token belongs to another visit"))
	}
	return p.identity(id)
}

// identity reads the claims of a token that was checked.
func (p *Provider) identity(id *oidc.IDToken) (who signin.Identity, err error) {
	var claims struct {
		Name     string          `json:"preferred_username"`
		Email    string          `json:"email"`
		AuthTime json.Number     `json:"auth_time"`
		Party    string          `json:"azp"`
		Groups   json.RawMessage `json:"-"`
	}
	all := map[string]json.RawMessage{}
	if err := errors.Join(id.Claims(&claims), id.Claims(&all)); err != nil {
		return who, refuse("token_refused", errors.New("its claims cannot be read"))
	}
	if claims.Party != "" && claims.Party != p.cfg.ClientID || len(id.Audience) > 1 && claims.Party == "" {
		return who, refuse("token_refused", errors.New("the token was made for another party"))
	}
	if id.Subject == "" {
		return who, refuse("token_refused", errors.New("the token has no subject"))
	}
	who = signin.Identity{Issuer: id.Issuer, Subject: id.Subject, Name: claims.Name, Role: p.roleOf(all[p.cfg.GroupClaim])}
	if who.Name == "" {
		who.Name = claims.Email
	}
	if at, err := claims.AuthTime.Int64(); err == nil && at > 0 {
		who.AuthTime = time.Unix(at, 0)
	}
	return who, nil
}

// roleOf returns the highest role of the groups in a claim, a text or a list of texts.
func (p *Provider) roleOf(claim json.RawMessage) (role access.Role) {
	var groups []string
	if json.Unmarshal(claim, &groups) != nil {
		var one string
		if json.Unmarshal(claim, &one) != nil {
			return ""
		}
		groups = []string{one}
	}
	for _, candidate := range access.Roles() {
		for _, g := range p.cfg.Roles {
			if g.Role == candidate && slices.Contains(groups, g.Group) {
				role = candidate
			}
		}
	}
	return role
}

func refuse(reason string, cause error) error {
	return &signin.ProviderError{Reason: reason, Cause: cause}
}

// withoutBody removes the body of an answer from an error, which may have secrets.
func withoutBody(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("its token endpoint answered %d %.64q", e.Response.StatusCode, e.ErrorCode)
	}
	return err
}
