package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// unreadable are requests that net/http answers without calling a handler.
var unreadable = []struct {
	name, text string
	status     int
}{
	{"bare % in the path", "GET /auth/factors/50% HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"% and no digits", "POST /auth/factors/%zz/challenge HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"space in the path", "GET /auth/factors/a b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	{"no version", "GET /\r\n\r\n", 400},
	{"unknown version", "GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
	{"not HTTP", "\x16\x03\x01\x00\x00hello\r\n\r\n", 400},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
	{"bad Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"header without a colon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400},
	{"space in a header's name", "GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", 400},
	{"NUL in a header", "GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", 400},
	{"length that is not a number", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400},
	{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
	{"unknown transfer coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
	{"unknown expectation", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: more\r\n\r\n{}", 417},
	{"large header", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", 431},
}

func TestEveryErrorOfTheProtocolIsJSONWithARequestID(t *testing.T) {
	var log safeBuffer
	var seen []int
	w := newFixture(t, setup{log: &log, api: httpapi.Options{Observe: func(_, _ string, status int, _ time.Duration) { seen = append(seen, status) }}})
	for _, tc := range unreadable {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			seen = nil
			text := w.raw(tc.text)
			r := w.parse(text)
			if r.status != tc.status || r.at("code") != "malformed_request" || r.text("message") == "" {
				t.Fatalf("answered %.300s", text)
			}
			if got := r.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
				t.Errorf("Content-Type is %q", got)
			}
			if !strings.Contains(text, "\r\nConnection: close\r\n") {
				t.Error("the end of the connection is not announced")
			}
			_, after, _ := strings.Cut(text, "\r\nx-request-id: ")
			id, _, _ := strings.Cut(after, "\r\n")
			if !uuid.MatchString(id) {
				t.Fatalf("the request id is %q", id)
			}
			line := log.linesOf(id)
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, fmt.Sprintf(`"status":%d`, tc.status)) {
				t.Errorf("logged %q", line)
			}
			if len(seen) != 1 || seen[0] != tc.status {
				t.Errorf("observed %v", seen)
			}
		})
	}
}

// Handlers answer odd requests that net/http can read.
func TestOddRequestsAreAnsweredAsJSON(t *testing.T) {
	w := newFixture(t, setup{})
	for request, status := range map[string]int{
		"TRACE /auth/factors/enroll HTTP/1.1": 405, "CONNECT x:443 HTTP/1.1": 404, "OPTIONS * HTTP/1.1": 404, "BREW /nowhere HTTP/1.1": 404,
		"GET //auth/factors/enroll HTTP/1.1": 404, "GET /auth/../healthz HTTP/1.1": 404, "GET http://x/nowhere HTTP/1.1": 404,
		"GET /nowhere HTTP/1.0": 404, "GET /?50% HTTP/1.1": 404,
	} {
		r := w.parse(w.raw(request + "\r\nHost: x\r\nConnection: close\r\n\r\n"))
		if r.status != status || r.text("message") == "" || !uuid.MatchString(r.header.Get("X-Request-Id")) {
			t.Errorf("%s: %d %s", request, r.status, r.body)
		}
	}
	expecting := "POST /auth/factors/enroll HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + w.key +
		"\r\nExpect: 100-continue\r\nContent-Length: 22\r\n\r\n{\"type\":\"generic_otp\"}"
	text := w.raw(expecting)
	if rest, ok := strings.CutPrefix(text, "HTTP/1.1 100 Continue\r\n\r\n"); !ok || w.parse(rest).status != 201 {
		t.Errorf("100-continue: %s", text)
	}
}

// A long body is written in parts, and a user's name can make one of them begin like a
// status line.
func TestPartOfABodyIsNotReplaced(t *testing.T) {
	api, ok := newFixture(t, setup{}).api.(*httpapi.API)
	if !ok {
		t.Fatal("the handler is not the API")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{"HTTP/1.1 417", "HTTP/1.1 417 Expectation Failed", "HTTP/1.1 400 Bad Request"} {
		body := start + strings.Repeat(start, 1000) + "\r\n"
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.(http.Flusher).Flush()
			io.WriteString(w, body)
		})}
		go s.Serve(api.Listener(ln))
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r.Body); err != nil || string(got) != body {
			t.Errorf("%s: read %d bytes, beginning with %.100q, %v; want %d", start, len(got), got, err, len(body))
		}
		c.Close()
		s.Close()
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	ln.Close()
}
