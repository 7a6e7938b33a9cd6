// Package countersign puts a Countersign server into another Go program, as an
// http.Handler:
//
//	srv, err := countersign.New(ctx, countersign.Options{Store: "sqlite:mfa.db"})
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//	key, err := srv.CreateAPIKey(ctx, "production", true)
//	…
//	http.Handle("/", srv)
//
// The handler serves the paths of the API at the root, /auth/… and
// /user_management/…, to callers with an API key, and /healthz, /readyz and
// /openapi.yaml to all.
package countersign

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
)

// Version is the version of this module, of the program and its packages, and of the API
// that openapi.yaml describes. A release changes it here and there; a test compares the two.
const Version = "0.2.0"

// OpenAPI is the description of the HTTP API, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// Options say how a Server works. Only Store is required.
type Options struct {
	Store        string        // sqlite:PATH, made when it is not there, or a postgres:// URL
	Keyset       string        // file:PATH, env:NAME or exec:COMMAND; default a file next to the SQLite store, created with it
	Sender       Sender        // delivers text messages; without it sms factors cannot be challenged
	SMSCountries []string      // where production environments send messages, by ISO 3166-1: "US"; default nowhere
	ChallengeTTL time.Duration // how long a challenge can be verified; default and most 10 minutes
	RateLimit    int           // requests per minute and API key; default 6,000
	TOTPIssuer   string        // of totp factors enrolled without one; default the environment's name
	Logger       *slog.Logger  // default slog.Default(); never given a secret
}

// A Sender delivers text messages.
type Sender interface {
	// Send hands over text, which holds a one-time code, for the phone number to
	// in E.164 form. A nil error means accepted, not read. It should take no
	// longer than 12 s, when ctx ends. An error that wraps ErrRecipientRefused is
	// answered 422, which clients do not retry, and every other error 503.
	Send(ctx context.Context, to, text string) error
}

// ErrRecipientRefused means that a phone number gets no messages: it is not valid,
// opted out or is blocked.
var ErrRecipientRefused = delivery.ErrRecipientRefused

// A Server answers requests to the API. It is safe for concurrent use.
type Server struct{ inner *server.Server }

// New opens the store and returns a Server over it. Close it when it is not used
// any more.
func New(ctx context.Context, opts Options) (*Server, error) {
	cfg := config.Default()
	cfg.Store, cfg.Keyset, cfg.TOTPIssuer = opts.Store, opts.Keyset, opts.TOTPIssuer
	cfg.SMSCountries = opts.SMSCountries
	if opts.ChallengeTTL != 0 {
		cfg.ChallengeTTL = opts.ChallengeTTL
	}
	if opts.RateLimit != 0 {
		cfg.RateLimit = opts.RateLimit
	}
	parts := server.Parts{OpenAPI: OpenAPI, Logger: opts.Logger}
	if opts.Sender != nil {
		parts.Sender = sender{opts.Sender}
	}
	inner, err := server.New(ctx, cfg, parts)
	if err != nil {
		return nil, err
	}
	return &Server{inner}, nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.inner.ServeHTTP(w, r) }

// CreateAPIKey returns a new API key of the environment of that name, which is
// created if it is not there: for real users if production, else as a sandbox.
// The key is returned this once; only its hash is kept.
func (s *Server) CreateAPIKey(ctx context.Context, environment string, production bool) (string, error) {
	keys := s.inner.Access()
	env, err := keys.Environment(ctx, environment)
	if errors.Is(err, access.ErrNotFound) {
		env, err = keys.CreateEnvironment(ctx, mfa.Caller{}, environment, production)
	}
	if err != nil {
		return "", err
	}
	if env.Production != production {
		return "", errors.New("the environment exists already, as one of the other kind")
	}
	key, _, err := keys.CreateKey(ctx, mfa.Caller{Environment: env}, access.KeyParams{})
	return key.Reveal(), err
}

// SetEnvironment changes settings of the environment of that name, such as
// {"max_factors_per_user": "5"}. The empty text sets a setting back to its default.
// docs/operating.md lists all settings. The change applies within 5 seconds.
func (s *Server) SetEnvironment(ctx context.Context, environment string, settings map[string]string) error {
	keys := s.inner.Access()
	env, err := keys.Environment(ctx, environment)
	if err != nil {
		return err
	}
	_, err = keys.ChangeSettings(ctx, mfa.Caller{Environment: env}, settings)
	keys.Forget() // requests to this Server use it at once
	return err
}

// Close ends the background work and closes the store. Requests must have ended.
func (s *Server) Close() error { return s.inner.Close() }

// sender gives an embedding program plain text in place of the domain's types.
type sender struct{ Sender }

func (s sender) Send(ctx context.Context, m delivery.Message) (delivery.Accepted, error) {
	return delivery.Accepted{}, s.Sender.Send(ctx, m.To.Text(), m.Text.Reveal())
}
