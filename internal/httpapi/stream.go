package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/admission"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
)

const (
	// keyCheck is how often a stream checks that its API key is valid. A key that was
	// valid is trusted for at most 2 seconds, so a stream ends within 5 seconds after the
	// key was revoked.
	keyCheck = 2 * time.Second
	// streamFinish is the time in which a client must accept the end of a stream.
	streamFinish = time.Second
	// streamPage is the number of events that are read at once for a stream.
	streamPage = 100
	// streamPart is the size in bytes from which a part of a page is sent. It bounds the
	// memory of a stream.
	streamPart = 16 << 10
	// streamRetry is the pause after which a client should connect again, in milliseconds.
	streamRetry = "1000"
)

// errTooManyStreams means that an API key has as many streams as it may have.
var errTooManyStreams = errors.New("too many streams of this key")

// streams are the open streams of an API. They are counted apart from other requests: a
// stream may stay open for days.
type streams struct {
	shares *admission.Shares[mfa.EnvironmentID]
	perKey int

	mu    sync.Mutex
	ofKey map[access.KeyID]int

	closing chan struct{} // closed when all streams must end
	once    sync.Once
}

func newStreams(limit, perKey int) *streams {
	return &streams{
		shares: admission.NewShares[mfa.EnvironmentID](limit), perKey: perKey,
		ofKey: map[access.KeyID]int{}, closing: make(chan struct{}),
	}
}

// enter takes a place for a stream of a key. The caller must call leave unless there is
// an error: errTooManyStreams or web.ErrCrowded.
func (s *streams) enter(key access.Key) error {
	select {
	case <-s.closing:
		return web.ErrCrowded
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ofKey[key.ID] >= s.perKey {
		return errTooManyStreams
	}
	if !s.shares.Enter(key.Environment.ID) {
		return web.ErrCrowded
	}
	s.ofKey[key.ID]++
	return nil
}

func (s *streams) leave(key access.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares.Leave(key.Environment.ID)
	if s.ofKey[key.ID]--; s.ofKey[key.ID] == 0 {
		delete(s.ofKey, key.ID)
	}
}

// EndStreams ends all streams of events, and requests that time out by a fault, and refuses new
// streams. A server calls it when it
// shuts down, because http.Server.Shutdown would wait for them.
func (a *API) EndStreams() { a.streams.once.Do(func() { close(a.streams.closing) }) }

// streamEvents serves GET /events/stream. The stream ends when the client goes away or
// stops reading, when the API key is revoked, and when the server shuts down. The client
// then connects again and continues after the last event that it has received.
func (a *API) streamEvents(w http.ResponseWriter, r request) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	after, position := "after", query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		// The client connects again, and its URL still has the position of the first time.
		after, position = "Last-Event-ID", last
	}
	q, err := streamQuery(query, after, position)
	if err != nil {
		return err
	}
	q.Environment = r.key.Environment.ID
	if err := a.checkCursor(r, q.After, after); err != nil {
		return err
	}
	if err := a.streams.enter(r.key); err != nil {
		return err
	}
	defer a.streams.leave(r.key)

	ctx, end := context.WithCancel(r.Context())
	defer end()
	first, err := a.firstOfStream(ctx, q)
	if err != nil {
		return err
	}
	s := &eventStream{w: w, control: http.NewResponseController(w), within: a.opts.StreamWrite, ended: ctx.Done(), end: end}
	if err := s.begin(first); err != nil || r.Method == http.MethodHead {
		return nil // the client has gone, or wants only the header
	}
	var watch sync.WaitGroup
	watch.Go(func() { a.watchStream(ctx, r, s) })
	defer watch.Wait()
	defer end()
	q.After = first.Last
	err = a.events.Follow(ctx, q, s.send)
	if ctx.Err() != nil {
		return nil
	}
	return err // the status is sent; the error is logged
}

// newest is how old the events are among which a stream of new events looks for its
// position. Clocks differ by less.
const newest = 5 * time.Second

// firstOfStream returns the first page of a stream. Without a position the stream begins
// with the next event.
func (a *API) firstOfStream(ctx context.Context, q events.Query) (events.Page, error) {
	if q.After == (mfa.EventID{}) && q.Since.IsZero() {
		q.Since = a.opts.Now()
		q.After = mfa.FirstEventAt(q.Since.Add(-newest))
	}
	return a.events.List(ctx, q)
}

// streamQuery reads the parameters of a stream. Only Countersign has this route, so an
// unknown parameter is a mistake. position is the value of the field after.
func streamQuery(query url.Values, after, position string) (q events.Query, err error) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !isEventsParameter(name) && !slices.Contains(streamParameters, name) {
			return q, unknownName("query", "unknown_parameter", name, "the parameters of a stream are "+strings.Join(streamParameters, ", "))
		}
	}
	p := eventParameters{query: query}
	q = p.filters()
	q.After = p.cursor(after, position)
	q.Limit = streamPage
	return q, p.err()
}

var streamParameters = []string{"events", "after", "range_start", "factor_id", "challenge_id", "user_id", "caller"}

// An eventStream writes server-sent events (HTML Standard, section 9.2).
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	within  time.Duration // in which the client must accept a part
	ended   <-chan struct{}
	end     func() // ends the stream

	mu  sync.Mutex
	buf []byte
}

// begin sends the header and the first page.
func (s *eventStream) begin(first events.Page) error {
	// The server's limits on the time of a request would end the stream. The setters of
	// deadlines fail only for writers without deadlines.
	_ = s.control.SetReadDeadline(time.Time{})
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the events
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, "retry: "+streamRetry+"\n\n"...)
	return s.write(first)
}

// send sends a page of events.
func (s *eventStream) send(p events.Page) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(p)
}

// write sends the buffer and a page of events, in parts: a page may have many events.
func (s *eventStream) write(p events.Page) error {
	var last mfa.EventID
	for _, e := range p.Events {
		s.buf = append(s.buf, "id: "...)
		s.buf = append(s.buf, e.ID.String()...)
		s.buf = append(s.buf, "\nevent: "...)
		s.buf = append(s.buf, e.Type...)
		s.buf = append(s.buf, "\ndata: "...)
		s.buf = eventwire.Append(s.buf, e)
		s.buf = append(s.buf, "\n\n"...)
		if last = e.ID; len(s.buf) >= streamPart {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	if last != p.Last && p.Last != (mfa.EventID{}) {
		// An id without data is not an event, but a client that connects again continues
		// there.
		s.buf = append(s.buf, "id: "...)
		s.buf = append(s.buf, p.Last.String()...)
		s.buf = append(s.buf, "\n\n"...)
	}
	return s.flush()
}

// beat sends a comment, so proxies keep the connection and a lost client is noticed.
func (s *eventStream) beat() error {
	if !s.mu.TryLock() {
		return nil // a page is being sent
	}
	defer s.mu.Unlock()
	s.buf = append(s.buf, ": heartbeat\n\n"...)
	return s.flush()
}

// flush writes the buffer, empties it, and waits until the connection has accepted the
// bytes.
func (s *eventStream) flush() error {
	select {
	case <-s.ended:
		return context.Canceled
	default:
	}
	_ = s.control.SetWriteDeadline(wallclock.Deadline(s.within))
	_, err := s.w.Write(s.buf)
	if err == nil {
		err = s.control.Flush()
	}
	if s.buf = s.buf[:0]; err != nil {
		s.end()
	}
	return err
}

// finish ends the stream. A client that does not accept data must not delay the end.
func (s *eventStream) finish() {
	s.end()
	_ = s.control.SetWriteDeadline(wallclock.Deadline(streamFinish))
}

// watchStream sends heartbeats, and ends the stream when its key is not valid any more or
// the server shuts down.
func (a *API) watchStream(ctx context.Context, r request, s *eventStream) {
	defer s.finish()
	beats, checks := time.NewTicker(a.opts.StreamBeat), time.NewTicker(keyCheck)
	defer beats.Stop()
	defer checks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.streams.closing:
			return
		case <-checks.C:
			if _, err := a.authenticate(r.Request); err != nil {
				return
			}
		case <-beats.C:
			if s.beat() != nil {
				return
			}
		}
	}
}
