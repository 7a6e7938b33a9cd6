package console

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
)

const (
	// maxStreams is the largest number of live pages of all operators.
	maxStreams = 256
	// streamWrite is the time in which a browser must accept a part of a stream.
	streamWrite = 10 * time.Second
	// sessionCheck is how often a stream checks that the operator is still signed in.
	sessionCheck = 2 * time.Second
	// overlap is how far before the newest event of a page, or before now, its stream may
	// begin: clocks of nodes differ by less.
	overlap = 5 * time.Second
)

// streamPath ends the path of the live events of an environment.
const streamPath = "/events/stream"

// livePosition returns the position at which the live events of a page begin: after its
// newest event, or shortly before now if that is later, so a rare event does not make the
// stream read all events since.
func (c *Console) livePosition(newestFirst []events.Event) mfa.EventID {
	position := mfa.FirstEventAt(c.opts.Now().Add(-overlap))
	if len(newestFirst) > 0 && newestFirst[0].ID.Compare(position) > 0 {
		position = newestFirst[0].ID
	}
	return position
}

// streamEvents serves GET /console/e/{env}/events/stream: the rows of new events as
// server-sent events. It ends when the browser goes away, when the operator is signed out
// or loses the permission, and when the server shuts down.
func (c *Console) streamEvents(w http.ResponseWriter, r *request) error {
	_, q, err := readFilter(r)
	if err != nil {
		return err
	}
	position := r.text("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		position = last // the browser connects again
	}
	if q.After, err = events.ParseCursor(position); err != nil {
		return err
	}
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		return web.ErrCrowded
	}
	ctx, end := context.WithCancel(r.Context())
	defer end()
	s := &eventStream{c: c, env: r.env, w: w, control: http.NewResponseController(w)}
	// The server's limits on the time of a request would end the stream. The setters of
	// deadlines fail only for writers without deadlines.
	_ = s.control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would collect the events
	if err := s.write("retry: 1000\n\n"); err != nil || r.Method == http.MethodHead {
		return nil // the browser has gone
	}
	var watch sync.WaitGroup
	watch.Go(func() { defer end(); c.watchStream(ctx, r, s) })
	defer watch.Wait()
	defer end()
	err = c.parts.Events.Follow(ctx, q, s.page)
	if ctx.Err() != nil {
		return nil
	}
	return err // the status is sent; the error is logged
}

// watchStream sends heartbeats, and returns when the stream must end.
func (c *Console) watchStream(ctx context.Context, r *request, s *eventStream) {
	beats, checks := time.NewTicker(c.opts.StreamBeat), time.NewTicker(sessionCheck)
	defer beats.Stop()
	defer checks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.closing:
			return
		case <-checks.C:
			if who, err := c.parts.Identify(r.Request.Request); err != nil || who.Role != r.operator.Role {
				return
			}
		case <-beats.C:
			if s.write(": heartbeat\n\n") != nil {
				return
			}
		}
	}
}

// An eventStream sends rows of a table.
type eventStream struct {
	c       *Console
	env     mfa.Environment
	control *http.ResponseController

	mu sync.Mutex
	w  http.ResponseWriter
}

// page sends a page of events.
func (s *eventStream) page(p events.Page) error {
	var b strings.Builder
	for i := range p.Events {
		var row bytes.Buffer
		if err := s.c.pages.files["events.html"].ExecuteTemplate(&row, "row", rowOf(s.env, &p.Events[i])); err != nil {
			return err
		}
		b.WriteString("id: " + p.Events[i].ID.String() + "\nevent: entry\n")
		for line := range strings.Lines(row.String()) {
			// A carriage return would end a line of the stream too.
			b.WriteString("data: " + strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\r", " ") + "\n")
		}
		b.WriteString("\n")
	}
	if p.Last != (mfa.EventID{}) {
		b.WriteString("id: " + p.Last.String() + "\n\n") // no event: a browser that connects again continues there
	}
	return s.write(b.String())
}

func (s *eventStream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.control.SetWriteDeadline(wallclock.Deadline(streamWrite))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
