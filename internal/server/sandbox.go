package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// A Sandbox answers requests with a Server for tests of applications. On an SQLite store,
// POST /dev/reset brings the store back to its state at Keep. For this the Sandbox replaces
// the Server, so nothing in memory remembers the rows that were removed.
type Sandbox struct {
	cfg   config.Config
	parts Parts
	undo  func() error
	store string // path of the SQLite store; "" without resets
	kept  string // path of the backup that Keep makes

	resets   sync.Mutex
	requests sync.RWMutex // held for reading by each request in progress
	current  *Server
	failed   chan error // receives the error of a reset that left no Server
}

// NewSandbox returns a Sandbox with a new Server. undo is called in each reset, while no
// Server runs; it takes back what tests have changed outside the store. nil: nothing.
func NewSandbox(ctx context.Context, cfg config.Config, parts Parts, undo func() error) (*Sandbox, error) {
	s := &Sandbox{cfg: cfg, parts: parts, undo: undo, failed: make(chan error, 1)}
	if path, ok := config.SQLitePath(cfg.Store); ok {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		s.store, s.kept = path, path+".start"
		s.parts.Reset = s.reset
	}
	var err error
	if s.current, err = New(ctx, cfg, s.parts); err != nil {
		return nil, err
	}
	if s.current.consoleListener != nil { // the next one has the same address, also for port 0
		s.cfg.ConsoleAddr = s.current.consoleListener.Addr().String()
	}
	if a, ok := s.current.metricsAddr.(*net.TCPAddr); ok {
		s.cfg.MetricsAddr = a.String()
	}
	return s, nil
}

// Server returns the Server of the moment.
func (s *Sandbox) Server() *Server {
	s.requests.RLock()
	defer s.requests.RUnlock()
	return s.current
}

// Keep remembers the store for resets. Call it before Listen. It replaces the Server, because
// the copy must not have the leases of a Server that runs.
func (s *Sandbox) Keep(ctx context.Context) error {
	if s.store == "" {
		return nil
	}
	s.requests.Lock()
	defer s.requests.Unlock()
	if err := s.current.Close(); err != nil {
		return err
	}
	if _, err := sqlite.Backup(ctx, s.store, s.kept, true, nil); err != nil {
		return fmt.Errorf("copy the store for resets: %w", err)
	}
	next, err := New(ctx, s.cfg, s.parts)
	if err != nil {
		return err
	}
	s.current = next
	return nil
}

// Serve is Server.Serve. It also returns if a reset fails.
func (s *Sandbox) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-s.failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	err := s.Server().serve(ctx, ln, s)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return err
}

// Close closes the Server of the moment.
func (s *Sandbox) Close() error {
	s.resets.Lock()
	defer s.resets.Unlock()
	err := s.Server().Close()
	if s.store != "" {
		if gone := os.Remove(s.kept); !errors.Is(gone, os.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// ServeHTTP answers a request. During a reset, requests wait.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/dev/reset" { // a reset waits for all other requests, so it is not one of them
		s.resets.Lock()
		defer s.resets.Unlock()
		s.Server().ServeHTTP(w, r)
		return
	}
	s.requests.RLock()
	defer s.requests.RUnlock()
	s.current.ServeHTTP(w, r)
}

func (s *Sandbox) drain()      { s.Server().drain() }
func (s *Sandbox) endStreams() { s.Server().endStreams() }

// reset brings the store back. Requests in progress end first: streams at once, others with
// their answers. The caller holds resets, by ServeHTTP.
func (s *Sandbox) reset(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // a client that hangs up must not leave half of a reset
	s.Server().endStreams()
	s.requests.Lock()
	defer s.requests.Unlock()
	err := s.replace(ctx)
	if err != nil {
		err = fmt.Errorf("reset: %w", err)
		s.failed <- err
	}
	return err
}

// replace puts a new Server on the kept store in the place of the current one.
func (s *Sandbox) replace(ctx context.Context) error {
	if err := s.current.Close(); err != nil {
		return err
	}
	if err := sqlite.Overwrite(s.store, s.kept); err != nil {
		return err
	}
	if s.undo != nil {
		if err := s.undo(); err != nil {
			return err
		}
	}
	next, err := New(ctx, s.cfg, s.parts)
	if err != nil {
		return err
	}
	s.current = next
	return nil
}
