package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// MaxReply is the largest number of bytes read from a service's answer.
const MaxReply = 64 << 10

// NewClient returns the client with which a provider calls its service. It follows no
// redirects: credentials and codes go only to the configured host.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewPost returns a POST request that asks for a JSON answer. Its error leaves out the
// text of http.NewRequest, which quotes the URL.
func NewPost(url, contentType, body string) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// Exchange sends a request and returns the status, headers and body of the answer.
// The error is an *sms.Error: Unavailable if the service cannot have received the whole
// request, and Uncertain if it may have.
func Exchange(ctx context.Context, client *http.Client, req *http.Request) (status int, header http.Header, body []byte, err error) {
	var written atomic.Bool // may be set after Do has returned
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				written.Store(true)
			}
		},
	}))
	reply, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, noAnswer(err, written.Load())
	}
	defer reply.Body.Close()
	body, err = io.ReadAll(io.LimitReader(reply.Body, MaxReply))
	if err != nil && reply.StatusCode < 300 {
		// The service accepted the message, but its id did not arrive.
		return 0, nil, nil, noAnswer(err, true)
	}
	return reply.StatusCode, reply.Header, body, nil
}

// noAnswer returns the error of a request without an answer. It leaves out the URL, in
// which some services expect number and text.
func noAnswer(err error, written bool) *sms.Error {
	e := &sms.Error{Kind: sms.Unavailable, Reason: "connection failed"}
	if written {
		e.Kind, e.Reason = sms.Uncertain, "no answer"
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e.Reason = "timed out"
	}
	return e
}

// StatusError returns the error of an answer whose body gives no better reason than
// the HTTP status.
func StatusError(status int, header http.Header) *sms.Error {
	e := &sms.Error{Kind: sms.Unavailable, Code: strconv.Itoa(status), Reason: "answered with status " + strconv.Itoa(status)}
	switch {
	case status == http.StatusTooManyRequests:
		e.Reason = "throttled"
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		e.Kind = sms.Uncertain // the server behind the gateway may have accepted the message
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Reason = "refused the credentials"
	}
	e.RetryAfter = retryAfter(header)
	return e
}

// UnreadableError returns the error of an answer that accepts a message but gives no
// id that can be read.
func UnreadableError(status int) *sms.Error {
	return &sms.Error{Kind: sms.Uncertain, Reason: fmt.Sprintf("answered with status %d, but without an id", status)}
}

// maxRetryAfter is longer than any pause that a service asks for in earnest.
const maxRetryAfter = 24 * time.Hour

// retryAfter returns the pause that a service asks for, from 0 to maxRetryAfter. It
// compares a date with the date of the answer, not with the local clock.
func retryAfter(header http.Header) time.Duration {
	at, err := http.ParseTime(header.Get("Retry-After"))
	if err != nil {
		return Seconds(header.Get("Retry-After"))
	}
	sent, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(sent), 0), maxRetryAfter)
}

// Seconds reads a whole number of seconds to wait. It returns 0 if text is not a
// number, and at most 24 hours.
func Seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
}

// Validity returns d in whole units, rounded down and within the least and most that a
// service accepts. It rounds down because a message that arrives late is useless.
func Validity(d, unit, least, most time.Duration) int64 {
	return int64(min(max(d, least), most) / unit)
}
