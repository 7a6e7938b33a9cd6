package sms

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"
)

// maxReply bounds what is read of a service's answer.
const maxReply = 64 << 10

// newClient returns what HTTP providers call their service with. It follows no
// redirect: credentials and codes go to the configured host alone.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 32
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange sends a request and returns the status, headers and body of the answer.
// The error is an *Error: Unavailable if the request cannot have arrived whole,
// and Uncertain if it may have.
func exchange(ctx context.Context, client *http.Client, req *http.Request) (status int, header http.Header, body []byte, err error) {
	var written atomic.Bool // also set after Do has given up
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
	body, err = io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil && reply.StatusCode < 300 {
		// It was accepted, under an id that never arrived.
		return 0, nil, nil, noAnswer(err, true)
	}
	return reply.StatusCode, reply.Header, body, nil
}

// noAnswer says why there is none, without the URL, in which some services want
// number and text.
func noAnswer(err error, written bool) *Error {
	e := &Error{Kind: Unavailable, Reason: "connection failed"}
	if written {
		e.Kind, e.Reason = Uncertain, "no answer"
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e.Reason = "timed out"
	}
	return e
}

// byStatus is the error of an answer whose body says nothing better.
func byStatus(status int, header http.Header) *Error {
	e := &Error{Kind: Unavailable, Code: strconv.Itoa(status), Reason: "answered with status " + strconv.Itoa(status)}
	switch {
	case status == http.StatusTooManyRequests:
		e.Reason = "throttled"
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		e.Kind = Uncertain // what stands behind may have taken it
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		e.Reason = "refused the credentials"
	}
	e.RetryAfter = retryAfter(header)
	return e
}

// maxRetryAfter is more than any service means.
const maxRetryAfter = 24 * time.Hour

// retryAfter returns how long a service wants to be left alone, from 0 to
// maxRetryAfter. It counts a date from the answer's own, whatever our clock says.
func retryAfter(header http.Header) time.Duration {
	at, err := http.ParseTime(header.Get("Retry-After"))
	if err != nil {
		return seconds(header.Get("Retry-After"))
	}
	sent, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(at.Sub(sent), 0), maxRetryAfter)
}

// seconds reads a time to wait, of at most maxRetryAfter; what is none is 0.
func seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
}
