// Package post sends webhook deliveries over HTTP, and only to addresses that are allowed.
package post

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

const (
	connectTimeout = 5 * time.Second
	idleTimeout    = time.Minute
	maxHeader      = 32 << 10 // bytes of the header of an answer
	maxDrained     = 64 << 10 // bytes of an answer that are read so its connection can be used again
)

// Options change a Client; zero fields take their defaults.
type Options struct {
	Allow     webhook.Allow // addresses that are reached although they are not public
	UserAgent string        // default "Countersign"
	Resolver  *net.Resolver // default net.DefaultResolver
	TLS       *tls.Config   // default the system's certificates
	Now       func() time.Time
}

// A Client is a webhook.Sender. It uses no proxy and follows no redirect.
type Client struct {
	client *http.Client
	opts   Options
}

// New returns a Client.
func New(opts Options) *Client {
	if opts.UserAgent == "" {
		opts.UserAgent = "Countersign"
	}
	opts.Now = wallclock.Or(opts.Now)
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: opts.Resolver, Control: control(opts.Allow)}
	return &Client{opts: opts, client: &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext, // and no Proxy: it would dial in place of the client
			TLSClientConfig:        opts.TLS,
			TLSHandshakeTimeout:    connectTimeout,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConns:           1024,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// errNotPermitted means that the address to dial is not allowed.
var errNotPermitted = errors.New("the address is not public and not allowed")

// control returns a function that the dialer calls with each address before it connects,
// after the resolution of names.
func control(allow webhook.Allow) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !allow.Permits(to.Addr()) {
			return errNotPermitted
		}
		return nil
	}
}

// Send posts a delivery; see webhook.Sender.
func (c *Client) Send(ctx context.Context, r webhook.Request) webhook.Answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return webhook.Answer{Fault: webhook.NotConnected}
	}
	// A connection that closes under the request is a failure of this attempt. The transport
	// would send a request with an idempotency key, or one that it can read again, twice.
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", c.opts.UserAgent)
	for _, h := range r.Headers {
		req.Header[h.Name] = []string{h.Value} // with the case of the name as it is documented
	}
	answer, err := c.client.Do(req)
	if err != nil {
		return webhook.Answer{Fault: fault(ctx, err)}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, webhook.MaxAnswer))
	if err == nil {
		_, err = io.CopyN(io.Discard, answer.Body, maxDrained)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return webhook.Answer{Fault: fault(ctx, err)}
	}
	return webhook.Answer{Status: answer.StatusCode, RetryAfter: c.retryAfter(answer.Header.Get("Retry-After")), Body: body}
}

// retryAfter reads the header: whole seconds or a date.
func (c *Client) retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(c.opts.Now()))
	}
	return 0
}

// fault returns the reason for a missing answer.
func fault(ctx context.Context, err error) webhook.Outcome {
	var timeout net.Error
	switch {
	case errors.Is(err, errNotPermitted):
		return webhook.NotPermitted
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return webhook.TimedOut
	case is[*net.DNSError](err):
		return webhook.NotResolved
	case is[*tls.CertificateVerificationError](err), is[tls.RecordHeaderError](err), is[tls.AlertError](err),
		is[x509.UnknownAuthorityError](err), is[x509.HostnameError](err), is[x509.CertificateInvalidError](err):
		return webhook.TLSFailed
	}
	return webhook.NotConnected
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
