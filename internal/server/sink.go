package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/eventsink"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// openSink opens the target of the events sink. It returns nil if no sink is set.
func openSink(cfg config.Config) (eventsink.Target, error) {
	if cfg.EventsSink == "" {
		if cfg.EventsSinkHeaders != "" {
			return nil, errors.New("--events-sink-headers needs an --events-sink")
		}
		return nil, nil
	}
	header, err := sinkHeaders(cfg)
	if err != nil {
		return nil, err
	}
	target, err := eventsink.Open(cfg.EventsSink, header)
	if err != nil {
		return nil, fmt.Errorf("--events-sink: %w", err)
	}
	return target, nil
}

// sinkHeaders reads the headers of a sink that is a URL.
func sinkHeaders(cfg config.Config) (http.Header, error) {
	if cfg.EventsSinkHeaders == "" {
		return nil, nil
	}
	if !strings.HasPrefix(cfg.EventsSink, "http") {
		return nil, errors.New("--events-sink-headers is only for an --events-sink that is a URL")
	}
	header, err := readHeaders(cfg.EventsSinkHeaders)
	if err != nil {
		return nil, fmt.Errorf("--events-sink-headers: %w", err)
	}
	return header, nil
}

// readHeaders reads a file with a header on each line. Errors do not repeat values, which
// may be secrets.
func readHeaders(path string) (http.Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	header := http.Header{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isTokenRune(r) }) {
			return nil, fmt.Errorf("%s: line %d is not a header such as 'Authorization: Splunk TOKEN'", path, n)
		}
		header.Add(textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value))
	}
	return header, lines.Err()
}

// isTokenRune reports whether the name of a header can have r.
func isTokenRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// newSink returns the sink that writes to target; nil if that is nil.
func (s *Server) newSink(target eventsink.Target, version string) *eventsink.Sink {
	if target == nil {
		return nil
	}
	sink := eventsink.New(sinkStore{s.access, s.store.transfer}, s.events, target, eventsink.Options{
		Writer:   eventexport.Writer{Format: eventexport.Format(s.cfg.EventsSinkFormat), Version: version},
		Servable: func(ctx context.Context) error { return transfer.Servable(ctx, s.store.transfer) },
		Logger:   s.log,
		Now:      s.now,
	})
	if s.metrics != nil {
		s.metrics.Sink(func() (active bool, lag time.Duration, written, failed int64) {
			st := sink.State(s.now())
			return st.Active, st.Lag, st.Written, st.Failed
		})
	}
	return sink
}

// A sinkStore is what a sink needs of a store.
type sinkStore struct {
	*access.Service
	metaStore
}
