package console_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// enroll returns a new factor of a user.
func (f *fixture) enroll(user string) mfa.FactorID {
	f.t.Helper()
	made, err := f.service.Enroll(f.t.Context(), f.caller(), mfa.EnrollParams{Type: mfa.GenericOTP, User: user}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return made.ID
}

// try makes a challenge of a factor and tries a number of wrong codes.
func (f *fixture) try(id mfa.FactorID, wrong int, from mfa.VerifyParams) mfa.ChallengeID {
	f.t.Helper()
	c, err := f.service.Challenge(f.t.Context(), f.caller(), id, mfa.ChallengeParams{}, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	for range wrong {
		from.Code = "12345"
		if _, err := f.service.Verify(f.t.Context(), f.caller(), c.ID, from, nil); err != nil {
			f.t.Fatal(err)
		}
	}
	return c.ID
}

func (f *fixture) caller() mfa.Caller { return mfa.Caller{Environment: f.sandbox, Key: "key_1"} }

func TestEventsAreListedNewestFirst(t *testing.T) {
	f := newFixture(t, console.Options{})
	id := f.enroll("user_1")
	f.try(id, 1, mfa.VerifyParams{})
	const path = "/console/e/Acme%20Test/events"
	page := f.page(path)
	wrong, enrolled := strings.Index(page, "data-announce>Wrong code"), strings.Index(page, "data-announce>Factor enrolled")
	if wrong < 0 || enrolled < wrong {
		t.Errorf("the wrong code is at %d, and the enrollment at %d; want the newest first", wrong, enrolled)
	}
	for _, tc := range []struct {
		name, query string
		has, hasNot string
	}{
		{"a type", "type=factor.enrolled", "Factor enrolled</span>", "Wrong code</span>"},
		{"a group of types", "type=factor.", "Factor enrolled</span>", "Wrong code</span>"},
		{"a user", "user=user_1", "Wrong code</span>", "No event matches"},
		{"another user", "user=user_2", "No event matches", "Wrong code</span>"},
		{"a factor", "id=" + id.String(), "Wrong code</span>", "No event matches"},
		{"a caller", "caller=operator:ada", "Environment created</span>", "Wrong code</span>"},
	} {
		if page := f.page(path + "?" + tc.query); !strings.Contains(page, tc.has) || strings.Contains(page, tc.hasNot) {
			t.Errorf("%s: want %q and not %q", tc.name, tc.has, tc.hasNot)
		}
	}
	for _, query := range []string{"type=nonsense", "id=nonsense", "id=auth_factor_1", "caller=nonsense", "before=nonsense"} {
		if w := f.get(path + "?" + query); w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusNotFound {
			t.Errorf("%s = %d; want a refusal that names the mistake", query, w.Code)
		}
	}
}

func TestOlderEventsAreOnTheNextPage(t *testing.T) {
	f := newFixture(t, console.Options{})
	for i := range 60 {
		f.enroll(fmt.Sprint("user_", i))
	}
	page := f.page("/console/e/Acme%20Test/events")
	if got := strings.Count(page, "data-announce"); got != 50 {
		t.Errorf("the first page has %d events; want 50", got)
	}
	_, rest, ok := strings.Cut(page, `class="button" href="/console/e/Acme%20Test/events?before=`)
	if !ok {
		t.Fatal("the first page has no link to older events")
	}
	id, _, _ := strings.Cut(rest, `"`)
	older := f.page("/console/e/Acme%20Test/events?before=" + id)
	if got := strings.Count(older, "data-announce"); got != 11 { // with the creation of the environment
		t.Errorf("the second page has %d events; want 11", got)
	}
	if strings.Contains(older, "data-live") {
		t.Error("a page of older events is live")
	}
}

func TestEventsAreExported(t *testing.T) {
	f := newFixture(t, console.Options{})
	f.enroll("user_1")
	w := f.get("/console/e/Acme%20Test/events/export?format=csv&type=factor.enrolled")
	if w.Code != http.StatusOK || strings.Count(w.Body.String(), "\n") != 2 || !strings.Contains(w.Body.String(), "user_1") {
		t.Errorf("the export = %d %s; want a header and one event", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Disposition"); !strings.HasPrefix(got, `attachment; filename="Acme-Test-`) {
		t.Errorf("Content-Disposition = %q", got)
	}
	if w := f.get("/console/e/Acme%20Test/events/export?format=xml"); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("an unknown format = %d; want 422", w.Code)
	}
}

// TestEventsArriveLive follows the stream of a page until the console ends all streams.
func TestEventsArriveLive(t *testing.T) {
	f := newFixture(t, console.Options{StreamBeat: 10 * time.Millisecond})
	server := httptest.NewServer(f.console)
	t.Cleanup(server.Close)
	follow := func() (*bufio.Scanner, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		after := url.QueryEscape(mfa.FirstEventAt(f.clock.Now()).String())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/console/e/Acme%20Test/events/stream?type=factor.&after="+after, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("the stream = %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		return bufio.NewScanner(resp.Body), cancel
	}
	lines, cancel := follow()
	defer cancel()
	f.enroll("user_1")
	seen := ""
	for !strings.Contains(seen, "Factor enrolled") && lines.Scan() {
		seen += lines.Text() + "\n"
	}
	if !strings.Contains(seen, "event: entry\n") || !strings.Contains(seen, "data: <tr>") {
		t.Fatalf("the stream sent %s", seen)
	}
	f.console.EndStreams()
	for lines.Scan() { // until the stream ends
	}
}
