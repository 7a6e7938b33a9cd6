package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/openapitest"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A network sits between a client and a server, passes every byte on unchanged, records
// the exchanges, and fails on request. A runner controls it by requests to paths that
// the server does not have:
//
//	POST /-/lose-reply     clears the record; the next request reaches the server, and its reply is lost
//	POST /-/lose-request   clears the record; the next request is lost before it reaches the server
//	GET  /-/tries          returns the requests since then, as a JSON array of try
//	GET  /-/webhook        returns a webhook delivery, signed now; see delivery
//
// A client that loses a request or a reply sees the connection close, and cannot
// distinguish the two cases.
type network struct {
	URL      string
	upstream string    // host and port
	watch    func(try) // called with every exchange, if not nil

	mu    sync.Mutex
	fault string // "reply", "request" or ""
	tries []try
	conns map[net.Conn]bool // to close at the end; nil once closing has begun
}

// track registers conn to be closed at the end. It returns false if closing has begun.
func (n *network) track(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		conn.Close()
		return false
	}
	n.conns[conn] = true
	return true
}

func (n *network) close(conn net.Conn) {
	conn.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
}

func (n *network) closeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		conn.Close()
	}
	n.conns = nil
}

// A try is one request that a client sent, and its outcome. Headers keep their spelling
// and order on the wire.
type try struct {
	Method  string      `json:"method"`
	Path    string      `json:"path"` // with the query
	Headers [][2]string `json:"headers"`
	Body    string      `json:"body"`
	Key     string      `json:"key"` // the Idempotency-Key, or ""

	Lost         string      `json:"lost"` // "reply", "request", or ""
	Status       int         `json:"status"`
	ReplyHeaders [][2]string `json:"reply_headers"`
	ReplyBody    string      `json:"reply_body"`
}

// startNetwork starts a network in front of a server. It runs until the test ends.
func startNetwork(t *testing.T, serverURL string) *network {
	t.Helper()
	return startNetworkWatchedBy(t, serverURL, nil)
}

// watched puts a network in front of a server. The network compares every exchange with
// openapi.yaml.
func watched(t *testing.T, s server) server {
	t.Helper()
	s.URL = startNetworkWatchedBy(t, s.URL, asDocumented(t)).URL
	return s
}

// asDocumented returns a function that compares an exchange with openapi.yaml: each
// reply, and each request that the server accepted.
func asDocumented(t *testing.T) func(try) {
	t.Helper()
	document, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return func(seen try) {
		x := openapitest.Exchange{
			Method: seen.Method, Target: seen.Path, RequestHeader: asHeader(seen.Headers), RequestBody: []byte(seen.Body),
			Status: seen.Status, Header: asHeader(seen.ReplyHeaders), Body: []byte(seen.ReplyBody),
		}
		if err := document.CheckReply(x); err != nil {
			t.Errorf("%s %s: the answer %d does not match openapi.yaml: %v", x.Method, x.Target, x.Status, err)
		}
		if x.Status >= 300 {
			return
		}
		if err := document.CheckRequest(x); err != nil {
			t.Errorf("%s %s was accepted, though openapi.yaml forbids it: %v", x.Method, x.Target, err)
		}
	}
}

// asHeader keeps the spelling of names, unlike the methods of http.Header.
func asHeader(headers [][2]string) http.Header {
	h := make(http.Header)
	for _, pair := range headers {
		h[pair[0]] = append(h[pair[0]], pair[1])
	}
	return h
}

func startNetworkWatchedBy(t *testing.T, serverURL string, watch func(try)) *network {
	t.Helper()
	u, err := url.Parse(serverURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{URL: "http://" + listener.Addr().String(), upstream: u.Host, watch: watch, tries: []try{}, conns: map[net.Conn]bool{}}

	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { n.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		n.closeAll() // a server that does not answer must not block the end of the test
		serving.Wait()
	})
	return n
}

// serve handles the requests of one connection, one after another.
func (n *network) serve(client net.Conn) {
	if !n.track(client) {
		return
	}
	defer n.close(client)
	server, err := net.Dial("tcp", n.upstream)
	if err != nil || !n.track(server) {
		return
	}
	defer n.close(server)
	// The bytes read since the last reset. Neither side sends ahead, so each buffer
	// holds one complete message.
	var request, reply bytes.Buffer
	fromClient := bufio.NewReader(io.TeeReader(client, &request))
	fromServer := bufio.NewReader(io.TeeReader(server, &reply))
	for {
		request.Reset()
		req, err := http.ReadRequest(fromClient)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") == "100-continue" {
			io.WriteString(client, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if what, ok := strings.CutPrefix(req.URL.Path, "/-/"); ok {
			if n.control(what).Write(client) != nil {
				return
			}
			continue
		}

		attempt := try{
			Method: req.Method, Path: req.RequestURI, Body: string(body), Key: req.Header.Get("Idempotency-Key"),
			Headers: headersOf(request.Bytes()), Lost: n.takeFault(),
		}
		if attempt.Lost == "request" {
			n.remember(attempt)
			return
		}
		if _, err := server.Write(request.Bytes()); err != nil {
			return
		}
		reply.Reset()
		answer, err := http.ReadResponse(fromServer, req)
		if err == nil && answer.StatusCode == http.StatusContinue {
			reply.Reset()
			answer, err = http.ReadResponse(fromServer, req)
		}
		if err != nil {
			return
		}
		body, err = io.ReadAll(answer.Body)
		if err != nil {
			return
		}
		attempt.Status, attempt.ReplyBody, attempt.ReplyHeaders = answer.StatusCode, string(body), headersOf(reply.Bytes())
		n.remember(attempt)
		if attempt.Lost == "reply" {
			return
		}
		if _, err := client.Write(reply.Bytes()); err != nil || answer.Close {
			return
		}
	}
}

// control executes a command of a runner.
func (n *network) control(what string) *http.Response {
	n.mu.Lock()
	defer n.mu.Unlock()
	var said any = struct{}{}
	switch what {
	case "lose-reply", "lose-request":
		n.fault = strings.TrimPrefix(what, "lose-")
		n.tries = []try{}
	case "tries":
		said = n.tries
	case "webhook":
		said = newDelivery(time.Now())
	default:
		said = map[string]string{"error": "there is no /-/" + what}
	}
	text, err := json.Marshal(said)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(text)), Body: io.NopCloser(bytes.NewReader(text)),
	}
}

func (n *network) takeFault() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	fault := n.fault
	n.fault = ""
	return fault
}

func (n *network) remember(t try) {
	if n.watch != nil {
		n.watch(t)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tries = append(n.tries, t)
}

// headersOf returns the headers of a message in their original spelling.
func headersOf(message []byte) (headers [][2]string) {
	head, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for i, line := range strings.Split(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && i > 0 {
			headers = append(headers, [2]string{name, strings.TrimSpace(value)})
		}
	}
	return headers
}

// A delivery is a webhook as a client receives it: the bytes of the body and the header
// WorkOS-Signature, and headers that a library must refuse.
type delivery struct {
	Secret    string `json:"secret"`
	Body      string `json:"body"`
	Signature string `json:"signature"` // of Body, signed now
	Stale     string `json:"stale"`     // of Body, signed ten minutes ago
	Forged    string `json:"forged"`    // of Body, signed now with another secret
}

// newDelivery signs an event at a given time. Its texts contain characters that JSON
// encoders write differently.
func newDelivery(at time.Time) delivery {
	const secret = "a secret of the endpoint"
	body, err := webhook.Marshal(struct {
		ID        string `json:"id"`
		Event     string `json:"event"`
		Data      any    `json:"data"`
		CreatedAt string `json:"created_at"`
		Object    string `json:"object"`
	}{
		ID:    "event_01FVYZ5QM8N98T9ME5BCB2BBMJ",
		Event: "authentication.mfa_succeeded",
		Data: struct {
			Type      string  `json:"type"`
			Status    string  `json:"status"`
			IPAddress *string `json:"ip_address"`
			UserAgent string  `json:"user_agent"`
			UserID    string  `json:"user_id"`
			Email     string  `json:"email"`
		}{
			"mfa", "succeeded", nil,
			"Förde <b>&\u2028\u2029 \"1.0\" 🔑 \\ /",
			"user_01FVYZ5QM8N98T9ME5BCB2BBMJ", "user@example.com",
		},
		CreatedAt: "2022-03-27T05:15:26.432Z",
		Object:    "event",
	})
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return delivery{
		Secret:    secret,
		Body:      string(body),
		Signature: webhook.Sign(secret, at, body),
		Stale:     webhook.Sign(secret, at.Add(-10*time.Minute), body),
		Forged:    webhook.Sign("another secret", at, body),
	}
}

// TestNetwork checks the network itself: the messages that it loses, and the exchanges
// that it records.
func TestNetwork(t *testing.T) {
	t.Parallel()
	var served atomic.Int32
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		w.Header()["x-as-it-is"] = []string{"1"}
		io.Copy(w, r.Body)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	n := startNetwork(t, "http://"+listener.Addr().String())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(path, body string) (string, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["x-own-Spelling"] = []string{"yes"}
		reply, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		return string(text), err
	}

	for _, tc := range []struct {
		lose   string
		served int32 // how many of the two requests reach the server
	}{{"reply", 2}, {"request", 1}} {
		served.Store(0)
		if _, err := post("/-/lose-"+tc.lose, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := post("/a?b=c", "first"); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("lost %s: the client saw %v; want a closed connection", tc.lose, err)
		}
		if got, err := post("/a?b=c", "second"); err != nil || got != "second" {
			t.Errorf("after a lost %s: %q, %v; want it to pass", tc.lose, got, err)
		}
		if got := served.Load(); got != tc.served {
			t.Errorf("lost %s: the server saw %d requests; want %d", tc.lose, got, tc.served)
		}
		n.mu.Lock()
		tries := n.tries
		n.mu.Unlock()
		if len(tries) != 2 || tries[0].Lost != tc.lose || tries[1].Lost != "" {
			t.Fatalf("lost %s: tries %+v", tc.lose, tries)
		}
		second := tries[1]
		if second.Method != "POST" || second.Path != "/a?b=c" || second.Body != "second" ||
			second.Status != 200 || second.ReplyBody != "second" ||
			!spelled(second.Headers, "x-own-Spelling", "yes") || !spelled(second.ReplyHeaders, "x-as-it-is", "1") {
			t.Errorf("after a lost %s: %+v", tc.lose, second)
		}
	}
}

func spelled(headers [][2]string, name, value string) bool {
	for _, h := range headers {
		if h == [2]string{name, value} {
			return true
		}
	}
	return false
}
