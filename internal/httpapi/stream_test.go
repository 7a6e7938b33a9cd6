package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A stream reads server-sent events as an EventSource does.
type stream struct {
	t      testing.TB
	lines  *bufio.Scanner
	closed func()
	lastID string
}

// A streamed is one event of a stream.
type streamed struct{ id, event, data string }

// stream opens a stream and fails the test unless the answer is 200.
func (w *fixture) stream(query string, headers ...string) *stream {
	w.t.Helper()
	s, answer := w.tryStream(query, headers...)
	if s == nil {
		text, _ := io.ReadAll(answer.Body)
		w.t.Fatalf("status %d: %s", answer.StatusCode, text)
	}
	return s
}

// tryStream is stream, but returns nil and the answer if the stream is refused.
func (w *fixture) tryStream(query string, headers ...string) (*stream, *http.Response) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/events/stream?"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.key)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		w.t.Cleanup(func() { answer.Body.Close() })
		return nil, answer
	}
	s := &stream{t: w.t, lines: bufio.NewScanner(answer.Body), closed: sync.OnceFunc(func() {
		cancel()
		answer.Body.Close()
	})}
	w.t.Cleanup(s.closed)
	return s, answer
}

// next returns the next event. ok is false if the stream has ended.
func (s *stream) next() (e streamed, ok bool) {
	for s.lines.Scan() {
		name, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch name {
		case "id":
			e.id, s.lastID = value, value
		case "event":
			e.event = value
		case "data":
			e.data = value
		case "":
			if s.lines.Text() == "" && e.data != "" {
				return e, true
			}
			if s.lines.Text() == "" {
				e = streamed{} // without data it is not an event
			}
		case "retry":
		default:
			s.t.Errorf("the stream has a line %q", s.lines.Text())
		}
	}
	return streamed{}, false
}

// types returns the types of the next n events.
func (s *stream) types(n int) (types []string) {
	s.t.Helper()
	for range n {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended after %q: %v", types, s.lines.Err())
		}
		types = append(types, e.event)
	}
	return types
}

// ends fails the test unless the stream ends without a fault.
func (s *stream) ends() {
	s.t.Helper()
	if e, ok := s.next(); ok {
		s.t.Errorf("the stream has another event: %v", e)
	}
	if err := s.lines.Err(); err != nil {
		s.t.Errorf("the stream ended with %v", err)
	}
}

func TestAStreamSendsEventsAsTheyHappen(t *testing.T) {
	w := newFixture(t, setup{})
	w.signIn("user_1")
	s := w.stream("")
	w.signIn("user_2")
	listed, _ := w.log("user_id=user_2")
	body := w.get("/events?user_id=user_2").body
	for i, typ := range signInTypes {
		e, ok := s.next()
		if !ok || e.event != typ || e.id != listed[i].ID || !strings.Contains(body, e.data) {
			t.Fatalf("event %d is %v; want %s, as in the list %s", i, e, typ, body)
		}
	}
}

func TestAStreamContinuesAfterAPosition(t *testing.T) {
	w := newFixture(t, setup{})
	w.signIn("user_1")
	all, _ := w.log(happenings)
	for i, e := range all[:3] {
		want := signInTypes[i+1:]
		for name, s := range map[string]*stream{
			"after":         w.stream("after=" + e.ID),
			"Last-Event-ID": w.stream("after="+all[0].ID, "Last-Event-ID: "+e.ID),
		} {
			if got := s.types(len(want)); !slices.Equal(got, want) {
				t.Errorf("%s %s: %q; want %q", name, e.Event, got, want)
			}
		}
	}
}

func TestAClientThatConnectsAgainMissesNothing(t *testing.T) {
	w := newFixture(t, setup{})
	w.clock.Advance(time.Second) // after the events of the environment and its key
	var got []string
	s := w.stream(happenings)
	for range 3 {
		w.signIn("user_1")
		for range 2 {
			e, ok := s.next()
			if !ok {
				t.Fatal("the stream ended")
			}
			got = append(got, e.id)
		}
		s.closed()
		s = w.stream(happenings, "Last-Event-ID: "+got[len(got)-1])
	}
	for len(got) < 12 {
		e, ok := s.next()
		if !ok {
			t.Fatal("the stream ended")
		}
		got = append(got, e.id)
	}
	if all, _ := w.log(happenings + "&limit=100"); !slices.Equal(got, idsOf(all)) {
		t.Errorf("received %q; want %q", got, idsOf(all))
	}
}

func TestAClientThatSawNoEventContinuesAtItsBeginning(t *testing.T) {
	w := newFixture(t, setup{})
	w.clock.Advance(time.Hour)
	s := w.stream("")
	for s.lastID == "" && s.lines.Scan() {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			s.lastID = id
		}
	}
	s.closed()
	w.signIn("user_1")
	if got := w.stream("", "Last-Event-ID: "+s.lastID).types(4); !slices.Equal(got, signInTypes) {
		t.Errorf("received %q; want %q", got, signInTypes)
	}
}

func TestAStreamOfNoEventsHasNoPosition(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{StreamBeat: 10 * time.Millisecond}})
	s := w.stream("range_start=2026-03-28T12:00:00Z")
	for s.lines.Scan() && s.lines.Text() != ": heartbeat" {
		if id, ok := strings.CutPrefix(s.lines.Text(), "id: "); ok {
			t.Errorf("the stream has the position %s", id)
		}
	}
}

func TestAStreamIsFiltered(t *testing.T) {
	w := newFixture(t, setup{})
	factor, challenge := w.signIn("user_1")
	start := "range_start=2026-03-27T12:00:00Z&"
	w.signIn("user_2")
	for query, want := range map[string][]string{
		start + "events=authentication.mfa_failed,authentication.mfa_succeeded": {signInTypes[2], signInTypes[3], signInTypes[2], signInTypes[3]},
		start + "events[]=factor.enrolled":                                      {signInTypes[0], signInTypes[0]},
		start + "user_id=user_2":                                                signInTypes,
		start + "factor_id=" + factor:                                           signInTypes,
		start + "challenge_id=" + challenge:                                     signInTypes[1:],
		"range_start=2026-03-27T12:00:06.432Z":                                  signInTypes[2:],
	} {
		if got := w.stream(query).types(len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", query, got, want)
		}
	}
}

func TestBadParametersOfAStreamAreNamed(t *testing.T) {
	w := newFixture(t, setup{})
	for query, want := range map[string]string{
		"limit=10":                       "query query_unknown_parameter",
		"range_end=2026-03-27T12:00:00Z": "query query_unknown_parameter",
		"order=asc":                      "query query_unknown_parameter",
		"events=x":                       "events events_unknown_type",
		"after=x":                        "after after_invalid_cursor",
		"range_start=x":                  "range_start range_start_invalid",
		"factor_id=x":                    "factor_id factor_id_invalid",
		"challenge_id=x":                 "challenge_id challenge_id_invalid",
	} {
		w.get("/events/stream?" + query).refuses(want)
	}
	w.get("/events/stream", "Last-Event-ID: x").refuses("Last-Event-ID last_event_id_invalid_cursor")
	w.signIn("user_1")
	page, _ := w.log(happenings)
	w.get("/events/stream", "Last-Event-ID: "+page[0].ID[:len(page[0].ID)-4]+"1234").refuses("Last-Event-ID last_event_id_invalid_cursor")
}

func TestAStreamHasHeartbeats(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{StreamBeat: 10 * time.Millisecond}})
	s := w.stream("")
	for beats := 0; beats < 3; {
		if !s.lines.Scan() {
			t.Fatal("the stream ended")
		}
		if s.lines.Text() == ": heartbeat" {
			beats++
		}
	}
}

func TestAStreamEndsWhenItsKeyIsRevoked(t *testing.T) {
	w := newFixture(t, setup{})
	key, id := w.newKey(w.sandbox)
	ours, theirs := w.stream(""), w.stream("events=factor.locked", "Authorization: Bearer "+key)
	if err := w.access.Revoke(t.Context(), mfa.Caller{}, id); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute) // the key is not trusted any longer
	began := time.Now()
	theirs.ends()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stream ended after %v", took)
	}
	w.get("/events/stream", "Authorization: Bearer "+key).is(http.StatusUnauthorized)
	w.signIn("user_1")
	for typ := ""; typ != signInTypes[3]; typ = ours.types(1)[0] {
	}
}

func TestStreamsEndWhenTheServerShutsDown(t *testing.T) {
	w := newFixture(t, setup{})
	var open []*stream
	for range 3 {
		open = append(open, w.stream("events=factor.locked"))
	}
	w.api.(*httpapi.API).EndStreams()
	for _, s := range open {
		s.ends()
	}
	w.get("/events/stream").says(http.StatusServiceUnavailable, `{"message":"Too many requests are being answered. Try again.","code":"unavailable","retry_after":1}`)
	w.get("/events").is(http.StatusOK)
}

func TestTheNumberOfStreamsIsBounded(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{StreamsPerKey: 2, MaxStreams: 8, MaxRequests: 1}})
	first := w.stream("")
	w.stream("")
	w.get("/events/stream").says(http.StatusTooManyRequests, `{"message":"This API key has too many open streams. Close one of them.","code":"too_many_streams"}`)
	first.closed()
	w.eventually("a place of a closed stream is free", func() bool {
		s, _ := w.tryStream("")
		return s != nil
	})

	for range 3 {
		key, _ := w.newKey(w.sandbox)
		w.stream("", "Authorization: Bearer "+key)
		w.stream("", "Authorization: Bearer "+key)
	}
	key, _ := w.newKey(w.sandbox)
	w.get("/events/stream", "Authorization: Bearer "+key).is(http.StatusServiceUnavailable)
	other, _ := w.newKey(w.environment("Other", false))
	w.stream("", "Authorization: Bearer "+other)
	w.signIn("user_1") // streams take no places of requests
}

// head requests only the header of a reply.
func (w *fixture) head(path string) int {
	w.t.Helper()
	return w.do(http.MethodHead, path, "").status
}

// eventually waits until a condition holds.
func (w *fixture) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("after ten seconds it does not hold that %s", what)
		}
	}
}

// A pipe is a listener with one connection that has no buffer.
type pipe struct {
	conns chan net.Conn
	close func()
}

func (p pipe) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipe) Close() error   { p.close(); return nil }
func (p pipe) Addr() net.Addr { return &net.UnixAddr{} }

func TestAStreamEndsWhenItsClientStopsReading(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{StreamsPerKey: 1, StreamBeat: 5 * time.Millisecond, StreamWrite: 50 * time.Millisecond}})
	client, conn := net.Pipe()
	conns := make(chan net.Conn, 1)
	p := pipe{conns, sync.OnceFunc(func() { close(conns) })}
	conns <- conn
	server := &http.Server{Handler: w.api, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p) }()
	t.Cleanup(func() {
		client.Close()
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	if _, err := io.WriteString(client, "GET /events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+w.key+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(client).ReadString('\n'); err != nil || line != "HTTP/1.1 200 OK\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	w.eventually("the place of the stream is free", func() bool { return w.head("/events/stream") == http.StatusOK })
}

func TestAStreamOutlivesTheTimeoutsOfTheServer(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{StreamBeat: 10 * time.Millisecond}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const timeout = 50 * time.Millisecond
	server := &http.Server{Handler: w.api, ReadTimeout: timeout, WriteTimeout: timeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	c := w.on(t)
	c.url = "http://" + listener.Addr().String()
	s := c.stream("")
	for began := time.Now(); time.Since(began) < 4*timeout; {
		if !s.lines.Scan() {
			t.Fatalf("the stream ended after %v: %v", time.Since(began), s.lines.Err())
		}
	}
}
