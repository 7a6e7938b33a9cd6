// Package server wires one process from its configuration.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/backup"
	"github.com/countersign-mfa/countersign/internal/certs"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/explorer"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/inbox"
	"github.com/countersign-mfa/countersign/internal/landing"
	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A Server is one process: a store, the services over it and their HTTP face.
type Server struct {
	cfg             config.Config
	log             *slog.Logger
	version         string
	started         time.Time
	now             func() time.Time
	store           *Store
	delivery        *smsfile.Delivery           // of messages to phones, or nil
	mfa             atomic.Pointer[mfa.Service] // nil until all is wired
	access          *access.Service
	events          *events.Service
	webhooks        *webhook.Service
	api             *httpapi.API
	console         *console.Console               // or nil
	inherited       func(addr string) net.Listener // of Parts, or nil
	metricsAddr     net.Addr                       // nil if there are no metrics
	consoleListener net.Listener                   // of the console; nil if it is off, or at the address of the API
	operator        *operatorapi.API
	metrics         *metrics.Metrics // or nil
	tracer          *trace.Tracer    // or nil
	prices          stats.Prices
	models          *passkey.Models // of authenticators; or nil
	clock           *clock
	remote          web.Remote
	certs           *certificate     // of files, or nil
	acme            *certs.Manager   // or nil
	backups         *backup.Schedule // or nil
	draining        atomic.Bool
	messagesUsed    atomic.Uint64 // the bits of the float64 of watchDailyMessages

	heartbeat   *nodes.Heartbeat
	dispatcher  *webhook.Dispatcher    // or nil
	connections *admission.Connections // of callers
	crowded     admission.Notice

	stop        context.CancelFunc // ends the background work
	stopTracer  func()             // sends the rest of the spans
	background  sync.WaitGroup
	closeOnce   sync.Once
	closeResult error
}

// Parts are the parts of a Server that a configuration cannot name.
type Parts struct {
	OpenAPI []byte          // served at /openapi.yaml
	Sender  delivery.Sender // delivers messages; nil: the inbox if there is one
	Logger  *slog.Logger    // default slog.Default()
	Version string          // of the program, for its metrics

	Now   func() time.Time // default time.Now
	Clock httpapi.Clock    // that /dev/clock moves; then Now is that of Clock. nil: not served

	Faults bool // serve /dev/faults, where tests of applications ask for faults

	// Key returns the API key that the page at / shows. nil: there is no page.
	Key func() string

	// Inherited returns a listener that the process already has for an address of the
	// configuration, or nil. A nil function has no listeners.
	Inherited func(addr string) net.Listener

	// Reset serves POST /dev/reset; nil: not served. It may replace the Server.
	Reset func(ctx context.Context) error
}

// New opens what cfg names and starts the background work. Close the Server.
func New(ctx context.Context, cfg config.Config, parts Parts) (_ *Server, err error) {
	if err := checkSettings(cfg); err != nil {
		return nil, err
	}
	if parts.Logger == nil {
		parts.Logger = slog.Default()
	}
	if parts.Clock != nil {
		parts.Now = parts.Clock.Now
	}
	parts.Now = wallclock.Or(parts.Now)
	s := &Server{cfg: cfg, log: parts.Logger, version: parts.Version, started: parts.Now(), now: parts.Now, inherited: parts.Inherited}
	if s.remote, err = remoteOf(cfg); err != nil {
		return nil, err
	}
	target, err := openSink(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && target != nil {
			err = errors.Join(err, target.Close())
		}
	}()
	if cfg.TLSCert != "" { // before the store: a wrong path must not leave a new store behind
		if s.certs, err = newCertificate(cfg.TLSCert, cfg.TLSKey, parts.Now, s.log); err != nil {
			return nil, err
		}
	}
	authority, err := authorityClient(cfg.ACMERoots)
	if err != nil {
		return nil, err
	}
	// All that the configuration names is read before the store is opened: a wrong path
	// leaves no new store and no new keyset behind.
	keys, err := loadKeyset(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if cfg.MetricsAddr != "" {
		s.metrics = metrics.New(parts.Version)
	}
	if err := s.openTracer(); err != nil {
		return nil, err
	}
	if s.prices, err = readPrices(cfg.SMSPrices); err != nil {
		return nil, err
	}
	if s.models, err = readModels(cfg.WebAuthnMDS, s.now(), s.log); err != nil {
		return nil, err
	}
	if err := s.openDelivery(parts); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && s.store != nil {
			err = errors.Join(err, s.store.Close())
		}
		if err != nil && s.delivery != nil {
			err = errors.Join(err, s.delivery.Close())
		}
	}()
	backups, err := s.newBackups()
	if err != nil {
		return nil, err
	}
	files := openFiles()
	if s.cfg.MaxConnections = connectionsWithin(files, cfg.MaxConnections); s.cfg.MaxConnections < cfg.MaxConnections {
		s.log.Warn("fewer connections are kept than max_connections: too few files may be open; see ulimit -n",
			"limit", s.cfg.MaxConnections, "max_connections", cfg.MaxConnections, "open_files", files)
	}
	s.connections = admission.NewConnections(s.cfg.MaxConnections, admission.Options{Crowded: s.tellCrowded})
	if cfg.Distribute {
		if err := Distribute(ctx, cfg.Store); err != nil {
			return nil, err
		}
	}
	open := OpenStore
	if cfg.StoreMustExist {
		open = OpenExisting
	}
	store, err := open(ctx, cfg.Store, s.log)
	if err != nil {
		return nil, err
	}
	s.store = store
	s.traceStore()
	if err := transfer.Servable(ctx, s.store.transfer); err != nil {
		return nil, err
	}
	if s.clock, err = newClock(ctx, s.store.special, parts.Now, cfg.MaxClockSkew, s.log); err != nil {
		return nil, err
	}
	keys, err = openKeyset(ctx, cfg, keys, s.store.transfer, s.log)
	if err != nil {
		return nil, err
	}
	if cfg.ConsoleAddr != "" {
		if err := s.listenConsole(); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.consoleListener.Close())
			}
		}()
	}
	if err := s.wire(ctx, keys, parts); err != nil {
		return nil, err
	}
	if len(cfg.Domains) > 0 {
		s.acme = s.newManager(authority)
	}
	var scrapes net.Listener
	if s.metrics != nil {
		if scrapes, err = s.listenMetrics(); err != nil {
			return nil, err
		}
	}
	sink := s.newSink(target, parts.Version)
	counter, err := s.newCounter()
	if err != nil {
		return nil, err
	}
	var work context.Context
	work, s.stop = context.WithCancel(context.Background())
	s.stopTracer = s.startTracer()
	s.background.Go(func() { s.mfa.Load().Maintain(work) })
	s.background.Go(func() { s.clock.watch(work) })
	s.background.Go(func() { s.heartbeat.Run(work) })
	if s.acme != nil {
		s.background.Go(func() { s.acme.Run(work) })
	}
	s.background.Go(func() { s.storeUses(work) })
	s.background.Go(func() { counter.Run(work) })
	if s.dispatcher != nil {
		s.background.Go(func() { s.dispatcher.Run(work) })
	}
	if w, ok := s.store.special.(keyWatcher); ok {
		s.background.Go(func() { w.WatchKeys(work, s.access.Forget) })
	}
	if s.metrics != nil {
		s.background.Go(func() { s.watchDailyMessages(work) })
		s.background.Go(func() { s.serveMetrics(work, scrapes) })
	}
	if s.consoleListener != nil {
		s.log.Info("serving the console", "url", s.ConsoleURL(), "addr", s.consoleListener.Addr().String())
		s.background.Go(func() { s.serveConsole(work) })
	}
	if sink != nil {
		s.background.Go(func() { sink.Run(work) })
	}
	if s.backups = backups; backups != nil {
		s.background.Go(func() { backups.Run(work) })
	}
	return s, nil
}

func (s *Server) wire(ctx context.Context, keys *secret.Keyset, parts Parts) error {
	opts := httpapi.Options{
		RateLimit:      s.cfg.RateLimit,
		MaxRequests:    s.cfg.MaxConnections,
		OmitTOTPExpiry: s.cfg.TOTPChallengeExpiresAt == "omit",
		OpenAPI:        parts.OpenAPI,
		Ready:          s.ready,
		Logger:         s.log,
		Remote:         s.remote,
		Clock:          parts.Clock,
		Faults:         parts.Faults,
		Reset:          parts.Reset,
		Tracer:         s.tracer,
	}
	if s.metrics != nil {
		watchStore(s.metrics, s.store.special)
		if s.clock.store != nil {
			s.metrics.Clock(s.clock.seconds)
		}
		s.metrics.Connections(s.connections.Open, s.cfg.MaxConnections)
		s.metrics.Ready(s.isReady)
		s.metrics.DailyMessages(func() float64 { return math.Float64frombits(s.messagesUsed.Load()) })
		if s.cfg.HasTLS() {
			s.metrics.Certificate(s.certificateEnd)
		}
		opts.Observe = s.metrics.Request
	}
	if parts.Key != nil {
		opts.Home = landing.New(landing.Options{Key: parts.Key, Environment: "sandbox", Version: parts.Version, Resets: parts.Reset != nil, Clock: parts.Clock != nil})
		opts.Explorer = explorer.New(explorer.Options{OpenAPI: parts.OpenAPI, Key: parts.Key, Version: parts.Version})
	}
	// Without providers, the sender of sandboxes takes all messages.
	sandbox := parts.Sender
	if s.cfg.Inbox {
		box := inbox.New(inbox.Options{})
		opts.Inbox = box
		if sandbox == nil {
			sandbox = box
		}
	}
	sender, rules := sandbox, smsfile.Rules{All: delivery.Rules{Countries: s.cfg.SMSCountries}}
	if s.delivery != nil {
		rules = s.delivery.Rules
		if err := s.warnRules(ctx, rules); err != nil {
			return err
		}
		switch {
		case s.delivery.Router != nil:
			sender, opts.Callbacks = s.delivery.Sender, s.delivery.Callbacks
		case sandbox == nil:
			return fmt.Errorf("%s: there is no provider", s.cfg.SMS)
		}
	}
	limits, err := limitsOf(s.cfg)
	if err != nil {
		return err
	}
	var observe func(mfa.EventType)
	var failed func(task string)
	if s.metrics != nil {
		failed = s.metrics.TaskFailed
		observe = func(typ mfa.EventType) { s.metrics.Event(string(typ)) }
	}
	mayHoldUnsealed, err := hasUnsealed(ctx, s.store.transfer)
	if err != nil {
		return err
	}
	service, err := mfa.NewService(timedStore{s.store.mfa, s.clock}, keys, sender, mfa.Options{
		Now:                parts.Now,
		Observe:            observe,
		Failed:             failed,
		Limits:             limits,
		ChallengeTTL:       s.cfg.ChallengeTTL,
		TOTPWindow:         &s.cfg.TOTPWindow,
		Models:             s.models,
		PublicURL:          strings.TrimSuffix(s.cfg.PublicURL, "/"),
		Issuer:             s.cfg.TOTPIssuer,
		ChallengeRetention: s.cfg.ChallengeRetention,
		EventRetention:     s.cfg.EventRetention,
		SMS:                rules.All,
		SMSOf:              rules.Of,
		Sandbox:            sandbox,
		Resealed:           s.resealed,
		Unsealed:           mayHoldUnsealed,
		Environments:       s.environments,
		AllSealed:          s.allSealed,
		Logger:             s.log,
	})
	if err != nil {
		return err
	}
	if _, err := service.SealCounters(ctx); err != nil {
		return err
	}
	s.mfa.Store(service)
	s.heartbeat = s.newHeartbeat()
	s.access = access.NewService(s.store.access, parts.Now)
	s.events = events.NewService(s.store.events, events.Options{Keys: service.Keys, Logger: s.log, Retention: s.cfg.EventRetention, Now: parts.Now})
	if err := s.wireWebhooks(s.events, keys, parts); err != nil {
		return err
	}
	opts.Webhooks = s.webhooks
	if s.api, err = httpapi.New(service, s.access, s.events, opts); err != nil {
		return err
	}
	operators, err := s.operators(ctx, service, rules, parts)
	if err != nil {
		return err
	}
	if err := s.wireOperatorAPI(operators, parts); err != nil {
		return err
	}
	return s.wireConsole(operators, parts)
}

// receive records a provider's report about a message. Some providers report before
// the service exists.
func (s *Server) receive(ctx context.Context, provider string, r sms.Receipt) error {
	service := s.mfa.Load()
	if service == nil {
		return errors.New("the server is starting")
	}
	return service.Receive(ctx, delivery.Receipt{Provider: provider, ID: r.ID, Also: r.Also, State: delivery.State(r.State), Reason: r.Reason})
}

func remoteOf(cfg config.Config) (web.Remote, error) {
	proxies, unix, err := web.ParseProxies(cfg.TrustedProxies)
	if err != nil {
		return web.Remote{}, fmt.Errorf("--trusted-proxies: %w", err)
	}
	return web.Remote{Form: web.AddrForm(cfg.LogRemoteAddr), Proxies: proxies, Unix: unix, Header: web.ProxyHeader(cfg.ProxyHeader)}, nil
}

func limitsOf(cfg config.Config) (mfa.Limits, error) {
	l := mfa.Limits{
		Attempts:       cfg.ChallengeAttempts,
		FreeFailures:   cfg.FreeFailures,
		FactorFailures: cfg.FactorFailures,
		UserFailures:   cfg.UserFailures,
		SendSpacing:    cfg.SMSSpacing,
		Resends:        cfg.SMSResends,
	}
	counts, spans, err := cfg.SMSWindows()
	for i := range counts {
		l.Sends = append(l.Sends, delivery.Window{Count: counts[i], Span: spans[i]})
	}
	return l, err
}

// ServeHTTP answers a request to the API, or to the console or the operator API if they are at
// the same address.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.console != nil && s.consoleListener == nil && isConsole(r) {
		s.console.ServeHTTP(w, r)
		return
	}
	if s.servesOperatorAPI() && operatorapi.Owns(r) {
		s.operator.ServeHTTP(w, r)
		return
	}
	s.api.ServeHTTP(w, r)
}

func (s *Server) tellCrowded() {
	if s.crowded.Due(s.now()) {
		s.log.Warn("connections are closed: too many at once", "limit", s.cfg.MaxConnections)
	}
}

// Access returns the service of environments and keys.
func (s *Server) Access() *access.Service { return s.access }

// Factors returns the service of factors and challenges, with the keyset of this moment.
func (s *Server) Factors() *mfa.Service { return s.mfa.Load() }

func (s *Server) ready(ctx context.Context) error {
	if s.draining.Load() {
		return errors.New("shutting down")
	}
	if err := s.clock.err(); err != nil {
		return err
	}
	if err := s.store.health.Ping(ctx); err != nil {
		return err
	}
	return transfer.Servable(ctx, s.store.transfer) // it may be copied away at any time
}

// Reload takes the keyset from its source again.
func (s *Server) Reload(ctx context.Context) error {
	if strings.HasPrefix(s.cfg.Keyset, "env:") {
		return errors.New("the environment of a running process does not change; restart it instead")
	}
	keys, err := loadKeyset(ctx, s.cfg)
	if err != nil {
		return err
	}
	keys, err = openKeyset(ctx, s.cfg, keys, s.store.transfer, s.log)
	if err != nil {
		return err
	}
	s.mfa.Load().SetKeys(keys)
	s.webhooks.SetKeys(keys)
	s.heartbeat.Beat(ctx)
	return nil
}

// resealed is called when all rows are sealed under the newest key of keys.
func (s *Server) resealed(ctx context.Context, keys *secret.Keyset) error {
	if err := s.webhooks.Reseal(ctx); err != nil {
		return err
	}
	if err := s.resealCertificates(ctx, keys); err != nil {
		return err
	}
	proof, err := s.store.transfer.Meta(ctx, metaKeyset)
	if err != nil || !keys.Stale(proof) {
		return err
	}
	s.log.Info("all rows are sealed under the newest key; once recorded answers have expired, in a day, the old ones can be retired")
	return swapProof(ctx, s.store.transfer, keys, proof)
}

// environments lists all environments by their ids.
func (s *Server) environments(ctx context.Context) ([]mfa.EnvironmentID, error) {
	all, err := s.store.access.Environments(ctx)
	ids := make([]mfa.EnvironmentID, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	return ids, err
}

// metaSealed is set to sealedVersion once a search has found no row that an older release left
// unsealed, or whose phone number it did not hash. Earlier releases set it to 1.
const (
	metaSealed    = "all_sealed"
	sealedVersion = 2
)

func hasUnsealed(ctx context.Context, store metaStore) (bool, error) {
	done, err := store.Meta(ctx, metaSealed)
	return len(done) == 0 || done[0] < sealedVersion, err
}

func (s *Server) allSealed(ctx context.Context) error {
	s.log.Info("nothing is left of what an older release stored without sealing it")
	return s.store.transfer.PutMeta(ctx, metaSealed, []byte{sealedVersion})
}

// Listen takes the address of the configuration. The URL is where to reach it, or
// unix:PATH.
func (s *Server) Listen() (_ net.Listener, url string, err error) {
	ln, err := s.listen(s.cfg.Addr)
	if err != nil {
		return nil, "", fmt.Errorf("--addr: %w", err)
	}
	addr, scheme := ln.Addr(), "http"
	if config := s.tlsConfig(certs.Protocol); config != nil {
		ln, scheme = tls.NewListener(ln, config), "https"
	}
	if addr.Network() == "unix" {
		return ln, "unix:" + addr.String(), nil
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, "", errors.Join(err, ln.Close())
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "localhost"
	}
	return ln, scheme + "://" + net.JoinHostPort(host, port), nil
}

// maxStreams is how many requests one HTTP/2 connection carries at once. It is the
// default of net/http, set here because docs/operating.md states it.
const maxStreams = 250

// Serve answers requests on ln until ctx ends, then lets those in flight finish.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln, s) }

// An answerer answers the requests of a listener.
type answerer interface {
	http.Handler
	drain()      // reports that it is not ready any more
	endStreams() // ends what http.Server.Shutdown would wait for
}

// serve is Serve with the answers of to.
func (s *Server) serve(ctx context.Context, ln net.Listener, to answerer) error {
	h := &http.Server{
		Handler:           s.connections.Handler(to),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second, // no body is longer than 64 KiB
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    32 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:         s.connections.Track,
		ConnContext:       web.ConnContext,

		DisableGeneralOptionsHandler: true, // it would keep connections that are to end
	}
	if s.cfg.HasTLS() {
		// To net/http the connections of Listener are not TLS, see there.
		h.Protocols = new(http.Protocols)
		h.Protocols.SetHTTP1(true)
		h.Protocols.SetUnencryptedHTTP2(true)
	}
	failed := make(chan error, 1)
	ln = s.api.Listener(s.connections.Listener(ln))
	go func() { failed <- h.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	to.drain()
	s.log.Info("shutting down", "delay", s.cfg.ShutdownDelay.String(), "timeout", s.cfg.ShutdownTimeout.String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-time.After(s.cfg.ShutdownDelay):
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	to.endStreams()
	// net/http answers no request that it reads after the call of Shutdown. So the clients that have just
	// connected get a moment for their request, and no further ones are accepted.
	if err := ln.Close(); err != nil {
		s.log.Warn("close the listener", "error", err)
	}
	<-failed
	h.SetKeepAlivesEnabled(false)
	s.awaitRequests(grace)
	if err := h.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("requests were still in progress after %v: %w", s.cfg.ShutdownTimeout, err), h.Close())
	}
	return nil
}

// lastRequests is how long open connections may take to send their first request before a shutdown.
const lastRequests = 500 * time.Millisecond

// awaitRequests waits until no connection is open that has sent no request yet, at most lastRequests.
func (s *Server) awaitRequests(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastRequests)
	defer cancel()
	s.connections.AwaitRequests(ctx)
}

func (s *Server) drain() { s.draining.Store(true) }

func (s *Server) endStreams() {
	s.api.EndStreams()
	if s.console != nil {
		s.console.EndStreams()
	}
}

// Close ends the background work and closes the store.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.stop()
		s.background.Wait()
		s.stopTracer()
		s.closeResult = s.store.Close()
		if s.delivery != nil {
			s.closeResult = errors.Join(s.closeResult, s.delivery.Close())
		}
	})
	return s.closeResult
}
