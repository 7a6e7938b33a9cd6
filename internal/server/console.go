package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/signin/openid"
)

// operators returns the actions of operators on the store of the server.
func (s *Server) operators(ctx context.Context, service *mfa.Service, rules smsfile.Rules, parts Parts) (*operator.Service, error) {
	development, err := isDevelopment(ctx, s.store.transfer)
	if err != nil {
		return nil, err
	}
	limits, err := limitsOf(s.cfg)
	if err != nil {
		return nil, err
	}
	return operator.NewService(operatorStore{timedStore{s.store.mfa, s.clock}, s.store.phones, s.store.events}, s.store.access, operator.Options{
		Keys:        func(context.Context) (*secret.Keyset, error) { return service.Keys(), nil },
		Remover:     func(context.Context) (operator.Remover, error) { return service, nil },
		Tester:      func(context.Context) (operator.Tester, error) { return service, nil },
		Statistics:  s.statistics(),
		SMS:         rules.All,
		SMSOf:       rules.Of,
		Limits:      limits,
		Development: development,
		Now:         parts.Now,
	}), nil
}

// wireConsole makes the console: in development at the address of the API and without
// sign-in, otherwise at its own address.
func (s *Server) wireConsole(operators *operator.Service, parts Parts) (err error) {
	if !s.cfg.Inbox && s.consoleListener == nil {
		return nil
	}
	opts := console.Options{Version: parts.Version, Logger: s.log, Remote: s.remote, Now: parts.Now, Tracer: s.tracer}
	if s.metrics != nil {
		opts.Observe = s.metrics.Request
	}
	with := console.Parts{Operator: operators, Events: s.events, Webhooks: s.webhooks, System: s.system, Nodes: s.nodes, Identify: console.Development}
	if s.consoleListener != nil {
		if err := s.wireSignIn(&with, &opts, parts.Now); err != nil {
			return err
		}
	}
	s.console, err = console.New(with, opts)
	return err
}

// wireSignIn adds sign-in to the parts of a console.
func (s *Server) wireSignIn(with *console.Parts, opts *console.Options, now func() time.Time) error {
	origin, err := s.cfg.ConsoleOrigin(s.consoleListener.Addr().String())
	if err != nil {
		return err
	}
	u, err := url.Parse(origin)
	if err != nil {
		return err
	}
	site, err := passkey.New(passkey.Config{ID: u.Hostname(), Name: "Countersign", Origins: []string{origin}})
	if err != nil {
		return fmt.Errorf("--console-url: %w", err)
	}
	with.SignIn = signin.NewService(s.store.signin, site, signin.Options{Now: now})
	with.Identify = console.Identify(with.SignIn)
	opts.AnyHost, opts.URL = true, origin
	if s.cfg.ConsoleOIDCIssuer == "" {
		return nil
	}
	provider, err := newProvider(s.cfg, origin, now)
	if err != nil {
		return err
	}
	with.Provider = provider
	go func() { // a provider that does not answer must not keep the server from starting
		if err := provider.Reach(); err != nil {
			s.log.Warn("the identity provider of the console does not answer", "error", err)
		}
	}()
	return nil
}

func newProvider(cfg config.Config, origin string, now func() time.Time) (*openid.Provider, error) {
	text, err := os.ReadFile(cfg.ConsoleOIDCClientSecret)
	if err != nil {
		return nil, fmt.Errorf("--console-oidc-client-secret: %w", err)
	}
	pairs, err := cfg.OIDCRoles()
	if err != nil {
		return nil, err
	}
	var roles []openid.Grant
	for _, p := range pairs {
		roles = append(roles, openid.Grant{Group: p[0], Role: access.Role(p[1])})
	}
	provider, err := openid.New(openid.Config{
		Issuer: cfg.ConsoleOIDCIssuer, ClientID: cfg.ConsoleOIDCClientID, Secret: secret.NewString(strings.TrimSpace(string(text))),
		RedirectURL: origin + "/console/sign-in/provider/callback", Scopes: cfg.ConsoleOIDCScopes, GroupClaim: cfg.ConsoleOIDCGroups,
		Roles: roles, Now: now,
	})
	if err != nil {
		return nil, fmt.Errorf("--console-oidc-issuer: %w", err)
	}
	return provider, nil
}

// isConsole reports whether a request is for the console.
func isConsole(r *http.Request) bool {
	return r.URL.Path == "/console" || strings.HasPrefix(r.URL.Path, "/console/")
}

// listenConsole takes the address of the console.
func (s *Server) listenConsole() error {
	ln, err := s.listen(s.cfg.ConsoleAddr)
	if err != nil {
		return fmt.Errorf("--console-addr: %w", err)
	}
	s.consoleListener = ln
	return nil
}

// serveConsole answers requests to the console until ctx ends.
func (s *Server) serveConsole(ctx context.Context) {
	ln := s.consoleListener
	if config := s.tlsConfig(); config != nil {
		ln = tls.NewListener(ln, config)
	}
	h := &http.Server{
		Handler:           http.HandlerFunc(s.toConsole),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		s.console.EndStreams()
		grace, cancel := context.WithTimeout(context.Background(), consoleGrace)
		defer cancel()
		if h.Shutdown(grace) != nil {
			h.Close()
		}
	})
	if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("the console is not served any more", "error", err)
	}
	<-ended // requests may still use the store
}

// consoleGrace is how long requests to the console may take when the server stops.
const consoleGrace = 2 * time.Second

// toConsole answers a request at the address of the console, which also has the operator API.
// It leads a visit without a path to the console.
func (s *Server) toConsole(w http.ResponseWriter, r *http.Request) {
	if operatorapi.Owns(r) {
		s.operator.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		http.Redirect(w, r, "/console", http.StatusSeeOther)
		return
	}
	s.console.ServeHTTP(w, r)
}

// ConsoleURL returns where the console is, or "" if it does not have its own address.
func (s *Server) ConsoleURL() string {
	if s.consoleListener == nil {
		return ""
	}
	origin, err := s.cfg.ConsoleOrigin(s.consoleListener.Addr().String())
	if err != nil {
		return ""
	}
	return origin + "/console"
}

// WithSignIn calls fn with the operators of the console of the store that cfg names, which
// must exist.
func WithSignIn(ctx context.Context, cfg config.Config, fn func(*signin.Service) error) (err error) {
	store, err := openInUse(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return fn(signin.NewService(store.signin, nil, signin.Options{}))
}
