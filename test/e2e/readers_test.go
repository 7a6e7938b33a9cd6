package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// An eventLog has the events that a reader received, in their order.
type eventLog struct {
	mu     sync.Mutex
	events []readEvent
}

type readEvent struct {
	ID   string
	Data struct {
		Challenge string `json:"challenge_id"`
	}
}

func (l *eventLog) add(e readEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLog) all() []readEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// last returns the id of the last event, or "".
func (l *eventLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		return ""
	}
	return l.events[len(l.events)-1].ID
}

// poll reads events from any node until ctx ends. It begins again after a lost request.
func (l *eventLog) poll(ctx context.Context, a *api) {
	for ctx.Err() == nil {
		got, err := a.send(ctx, http.MethodGet, "/events?events=challenge.created&limit=100&after="+l.last(), "", "")
		if err != nil || got.status == http.StatusServiceUnavailable {
			continue
		}
		if got.status != http.StatusOK {
			a.t.Errorf("a poll was answered %d %s", got.status, got.body)
			return
		}
		var page struct{ Data []readEvent }
		if err := json.Unmarshal(got.body, &page); err != nil {
			a.t.Error(err)
			return
		}
		for _, e := range page.Data {
			l.add(e)
		}
	}
}

// follow reads a stream of any node until ctx ends. It connects again when the stream ends.
func (l *eventLog) follow(ctx context.Context, a *api) {
	for ctx.Err() == nil {
		if err := l.followOnce(ctx, a); err != nil {
			a.t.Error(err)
			return
		}
	}
}

// followOnce reads one stream. It returns an error for an answer that no client could
// handle, and nil when the stream ends.
func (l *eventLog) followOnce(ctx context.Context, a *api) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/events/stream?events=challenge.created&range_start=2020-01-01T00:00:00Z", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	if last := l.last(); last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	endless := &http.Client{Transport: a.client.Transport} // without a timeout
	answer, err := endless.Do(req)
	if err != nil {
		return nil // the node was killed
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("a stream was answered %s", answer.Status)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e readEvent
		if json.Unmarshal([]byte(data), &e) != nil {
			return nil // the node was killed in the middle of the line
		}
		l.add(e)
	}
	return nil
}

// TestReadersMissNoEventWhenNodesAreKilled kills nodes while they record events. A reader
// that polls and one that streams both receive every event once, in the same order.
func TestReadersMissNoEventWhenNodesAreKilled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		nodes int
		store func(t *testing.T) string
	}{
		{"SQLite", 1, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "countersign.db") }},
		{"PostgreSQL", 3, func(t *testing.T) string { return pgtest.Shared(t).Database(t) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, tc.store(t), tc.nodes, unlocking...)
			var mu sync.Mutex
			acknowledged := map[string]bool{} // challenges
			count := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(acknowledged)
			}
			writing, stopWriting := context.WithCancel(t.Context())
			defer stopWriting()
			reading, stopReading := context.WithCancel(t.Context())
			defer stopReading()
			var writers, readers sync.WaitGroup
			for range 8 {
				factor := f.api.enroll(`{"type":"generic_otp"}`).ID
				writers.Go(func() {
					for writing.Err() == nil {
						got, err := f.api.send(writing, http.MethodPost, "/auth/factors/"+factor+"/challenge", "{}", "")
						if err != nil || got.status != http.StatusCreated {
							continue // it may have been recorded or not
						}
						mu.Lock()
						acknowledged[got.ID] = true
						mu.Unlock()
					}
				})
			}
			var polled, streamed eventLog
			readers.Go(func() { polled.poll(reading, f.api) })
			readers.Go(func() { streamed.follow(reading, f.api) })

			const kills, between = 4, 100
			for i := range kills {
				from := count()
				poll(t, "challenges before a kill", func() bool { return count() >= from+between })
				f.replace(i%tc.nodes, func() {
					if tc.nodes > 1 { // the other nodes go on
						from := count()
						poll(t, "challenges after a kill", func() bool { return count() >= from+between/4 })
					}
				})
			}
			stopWriting()
			writers.Wait()
			complete := func(l *eventLog) bool {
				seen := map[string]bool{}
				for _, e := range l.all() {
					seen[e.Data.Challenge] = true
				}
				for id := range acknowledged {
					if !seen[id] {
						return false
					}
				}
				return true
			}
			poll(t, "the polling reader to have every acknowledged event", func() bool { return complete(&polled) })
			poll(t, "the streaming reader to have them", func() bool { return complete(&streamed) })
			poll(t, "both readers to have the same number of events", func() bool { return len(polled.all()) == len(streamed.all()) })
			stopReading()
			readers.Wait()

			a, b := polled.all(), streamed.all()
			if !slices.Equal(a, b) {
				t.Errorf("the readers received other events, or in another order: %d and %d", len(a), len(b))
			}
			seen := map[string]bool{}
			for i, e := range a {
				if seen[e.Data.Challenge] {
					t.Errorf("challenge %s has two events", e.Data.Challenge)
				}
				seen[e.Data.Challenge] = true
				if i > 0 && e.ID <= a[i-1].ID {
					t.Errorf("%s comes after %s", e.ID, a[i-1].ID)
				}
			}
			t.Logf("%d events, %d of them acknowledged", len(a), len(acknowledged))
		})
	}
}
