package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/sdnotify"
	"github.com/countersign-mfa/countersign/internal/sdsocket"
	"github.com/countersign-mfa/countersign/internal/server"
)

type serveCommand struct {
	Config configFlag `name:"config" placeholder:"FILE" help:"Configuration file in YAML: the flags below, with underscores instead of dashes, such as 'challenge_ttl: 5m'. Flags and environment variables override it."`
	serverFlags
}

// serverFlags are the settings of a server.
type serverFlags struct {
	Addr   string `default:":4100" placeholder:"ADDRESS" note:"See [unix socket](#behind-a-proxy)." help:"Where to listen: HOST:PORT or unix:PATH; port 0 picks a free port. Default ${default}."`
	Store  string `default:"sqlite:countersign.db" placeholder:"STORE" note:"See [scaling.md](scaling.md)." help:"Where all data is stored: sqlite:PATH, or a postgres:// URL for many nodes. Default ${default}."`
	Keyset string `placeholder:"SOURCE" help:"Keys that seal stored secrets: file:PATH, env:NAME, or exec:COMMAND, which prints the keyset (for example after a KMS unwrapped it). Default a file next to the SQLite store, created together with it."`

	Settings config.Config `embed:""`
}

// config returns the settings as one struct.
func (s *serverFlags) config() config.Config {
	cfg := s.Settings
	cfg.Addr, cfg.Store, cfg.Keyset = s.Addr, s.Store, s.Keyset
	return cfg
}

func (serveCommand) Help() string {
	return `Examples:

  countersign serve --addr 127.0.0.1:4100 --store sqlite:/var/lib/countersign/countersign.db
  countersign serve --tls-cert fullchain.pem --tls-key privkey.pem
  countersign serve --plain-http --config /etc/countersign.yaml

SIGTERM or Ctrl-C lets requests in progress finish. SIGHUP reads the keyset again.`
}

func (s *serveCommand) Run(ctx context.Context, con console) error {
	cfg := s.config()
	log, err := newLogger(con.err, cfg.LogFormat, cfg.LogLevel)
	if err != nil {
		return err
	}
	if dir := filepath.Dir(cfg.CPUProfile); cfg.CPUProfile != "" {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("--cpu-profile: %w", err) // before a store is made
		}
	}
	keepWithoutReader()
	manager, err := sdnotify.FromEnvironment()
	if err != nil {
		return err
	}
	sockets, err := sdsocket.FromEnvironment()
	if err != nil {
		return err
	}
	srv, err := server.New(ctx, cfg, server.Parts{OpenAPI: countersign.OpenAPI, Logger: log, Version: version(), Inherited: sockets.Take})
	if err != nil {
		return err
	}
	ln, url, err := srv.Listen()
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	if err := sockets.Close(); err != nil {
		return errors.Join(err, ln.Close(), srv.Close())
	}
	log.Info("ready", "url", url, "store", config.StoreName(cfg.Store), "version", version())
	defer onHangup(func() {
		if err := srv.Reload(ctx); err != nil {
			log.Error("reload the keyset; the old one stays in use", "error", err)
			return
		}
		log.Info("reloaded the keyset")
	})()
	tuneCollector()
	stopProfile, err := startProfile(cfg.CPUProfile)
	if err != nil {
		return errors.Join(err, ln.Close(), srv.Close())
	}
	defer reportTo(ctx, manager, srv, log, url)()
	err = srv.Serve(ctx, ln)
	log.Info("stopped")
	return errors.Join(err, stopProfile(), srv.Close())
}

// reportTo tells systemd that the server serves at url, that it stops when ctx ends, and until
// the function that it returns is called that it works. A report that cannot be sent is logged.
func reportTo(ctx context.Context, manager *sdnotify.Notifier, srv *server.Server, log *slog.Logger, url string) (end func()) {
	report := func(err error) {
		if err != nil {
			log.Error("report to systemd", "error", err)
		}
	}
	report(manager.Ready("serving at " + url))
	stop := context.AfterFunc(ctx, func() { report(manager.Stopping()) })
	watch, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		manager.Watch(watch, srv.Alive, report)
	}()
	return func() { stop(); cancel(); <-ended }
}

// keepWithoutReader lets the process go on when the reader of its log or of its output
// is gone: writes then fail, but no SIGPIPE ends the process. Notify, unlike Ignore, has
// no effect on the commands that it starts.
func keepWithoutReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// tuneCollector lets the heap grow to three times the live memory, unless GOGC is
// set. The live memory is small for any number of stored factors, and with the
// default a collection every few megabytes took a sixth of the time of a flow.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// startProfile records a CPU profile until stop is called, which writes it to path.
// The file is there, and empty, from the start. An empty path means no profile.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	if err := atomicfile.Replace(path, nil, 0o600); err != nil {
		return nil, fmt.Errorf("--cpu-profile: %w", err)
	}
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		return nil, fmt.Errorf("--cpu-profile: %w", err)
	}
	return func() error {
		pprof.StopCPUProfile()
		return atomicfile.Replace(path, profile.Bytes(), 0o600)
	}, nil
}

// onHangup calls fn at every SIGHUP until the function that it returns is called.
func onHangup(fn func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				fn()
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(hangups); close(done) }
}
