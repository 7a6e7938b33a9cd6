package eventsink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Target receives lines. A Write that fails may have written some of them.
type Target interface {
	Write(ctx context.Context, lines [][]byte) error
	Close() error
	String() string // for the log, without secrets
}

// ErrTooLarge means that the target may accept fewer lines at once.
var ErrTooLarge = errors.New("the receiver refuses a request of this size")

// A RetryError asks for a pause.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RetryError) Unwrap() error { return e.Err }

// Open returns the target of a setting: "stdout", "file:PATH" or an https URL. header is
// added to each HTTP request. A URL may be http if its host is this machine.
func Open(setting string, header http.Header) (Target, error) {
	if setting == "stdout" {
		return &stream{name: "stdout", w: os.Stdout}, nil
	}
	if path, ok := FilePath(setting); ok {
		f := &file{path: path}
		if err := f.open(); err != nil {
			return nil, err
		}
		return f, nil
	}
	u, err := parseURL(setting)
	if err != nil {
		return nil, err
	}
	return newPost(u, header), nil
}

// Check returns an error for a setting that Open refuses for its form. It opens nothing.
func Check(setting string) error {
	if _, ok := FilePath(setting); ok || setting == "stdout" {
		return nil
	}
	_, err := parseURL(setting)
	return err
}

// FilePath returns the path of a setting of the form file:PATH.
func FilePath(setting string) (path string, ok bool) {
	path, ok = strings.CutPrefix(setting, "file:")
	return path, ok && path != ""
}

func parseURL(setting string) (*url.URL, error) {
	u, err := url.Parse(setting)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("it is not stdout, file:PATH or an https URL") // without the text: a URL may contain a secret
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("events would cross the network unencrypted to %s; use an https URL", u.Host)
	}
	if u.User != nil {
		return nil, errors.New("the URL has a password; put it into the file of headers")
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A stream is standard output.
type stream struct {
	name string
	mu   sync.Mutex // held while a write is in progress
	w    io.Writer
}

// Write returns when ctx ends, also if the reader of the stream does not read.
func (s *stream) Write(ctx context.Context, lines [][]byte) error {
	done := make(chan error, 1)
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err := s.w.Write(bytes.Join(lines, nil))
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stream) Close() error   { return nil }
func (s *stream) String() string { return s.name }

// A file appends to a file, which another program may rename.
type file struct {
	path string
	f    *os.File // nil: to be opened
}

const fileMode = 0o600

// open opens or creates the file. A line that a crash has cut off gets its line break, so
// the next line is whole.
func (t *file) open() error {
	info, err := os.Stat(t.path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", t.path)
	}
	f, err := os.OpenFile(t.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	err = endLine(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	t.f = f
	return nil
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte("\n"))
	return err
}

// Write appends lines. When it returns nil, they survive a loss of power.
func (t *file) Write(_ context.Context, lines [][]byte) error {
	if t.f != nil && !t.isCurrent() {
		t.close()
	}
	if t.f == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	_, err := t.f.Write(bytes.Join(lines, nil))
	if err == nil {
		err = t.f.Sync()
	}
	if err != nil {
		t.close()
	}
	return err
}

// isCurrent reports whether the open file still has its name: logrotate renames it.
func (t *file) isCurrent() bool {
	opened, err := t.f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(t.path)
	return err == nil && os.SameFile(opened, named)
}

func (t *file) close() {
	t.f.Close() // every line that counts is synced
	t.f = nil
}

// Close closes the file.
func (t *file) Close() error {
	if t.f != nil {
		t.close()
	}
	return nil
}

func (t *file) String() string { return "file:" + t.path }

// A post sends lines to a URL.
type post struct {
	url    *url.URL
	header http.Header
	client *http.Client
}

const (
	postTimeout       = 30 * time.Second
	longestRetryAfter = 5 * time.Minute
	answerRead        = 4 << 10 // bytes of an answer that are read, so the connection can be used again
)

func newPost(u *url.URL, header http.Header) *post {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return &post{url: u, header: header, client: &http.Client{
		Transport:     transport,
		Timeout:       postTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Write sends one request. It succeeds if the answer has a status of 200 to 299.
func (p *post) Write(ctx context.Context, lines [][]byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url.String(), bytes.NewReader(bytes.Join(lines, nil)))
	if err != nil {
		return err
	}
	r.Header = p.header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	r.Header.Set("User-Agent", "countersign")
	answer, err := p.client.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which may contain a secret
		}
		return err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, answerRead)
	answer.Body.Close()
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return nil
	case answer.StatusCode == http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	}
	err = fmt.Errorf("the receiver answers %d", answer.StatusCode)
	if seconds, bad := strconv.Atoi(answer.Header.Get("Retry-After")); bad == nil && seconds > 0 {
		err = &RetryError{time.Duration(min(seconds, int(longestRetryAfter/time.Second))) * time.Second, err}
	}
	return err
}

// Close ends the idle connections.
func (p *post) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

func (p *post) String() string { return p.url.Scheme + "://" + p.url.Host }
