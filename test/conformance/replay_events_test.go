package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A wireEvents describes how a library that scripts/setup cannot install lists events. Its
// type of event is the type that the library also uses for webhooks.
type wireEvents struct {
	*wire

	// query returns the query of the request, byte for byte.
	query func(f eventFilter) string
	// noRange is set if a caller cannot ask for a range of times.
	noRange bool
}

// An eventFilter has the arguments of a call; empty fields are not given.
type eventFilter struct {
	types      []string
	limit      int
	after      string
	start, end string
}

// The queries were read in the repositories of the libraries: events.go and client.go for
// Go, EventsApi.kt and WorkOS.kt for Java (its parameters are in a hash map: this is the
// order of their hashes), events.rb and client.rb for Ruby, lib/Service/Events.php for PHP,
// and EventsOptions.cs and RequestUtilities.cs for .NET.
var replayedEventClients = []eventClient{
	replayEvents(wireEvents{wire: &go10, query: func(f eventFilter) string {
		return joined("after", f.after, "events", f.types, "limit", limitOr(f.limit, 10), "order", "desc", "range_end", f.end, "range_start", f.start)
	}}),
	replayEvents(wireEvents{wire: &java4, noRange: true, query: func(f eventFilter) string {
		return joined("limit", limitOr(f.limit, 0), "after", f.after, "events", strings.Join(f.types, ","))
	}}),
	replayEvents(wireEvents{wire: &ruby5, query: func(f eventFilter) string {
		return joined("events", f.types, "limit", limitOr(f.limit, 0), "after", f.after, "range_start", f.start, "range_end", f.end)
	}}),
	replayEvents(wireEvents{wire: &ruby10, query: func(f eventFilter) string {
		return joined("after", f.after, "limit", limitOr(f.limit, 10), "order", "desc", "events", f.types, "range_start", f.start, "range_end", f.end)
	}}),
	replayEvents(wireEvents{wire: &php9, query: func(f eventFilter) string {
		query := joined("after", f.after, "limit", limitOr(f.limit, 0), "order", "desc")
		for i, typ := range f.types {
			query += "&" + url.QueryEscape(fmt.Sprintf("events[%d]", i)) + "=" + url.QueryEscape(typ)
		}
		return query + "&" + joined("range_start", f.start, "range_end", f.end)
	}}),
	replayEvents(wireEvents{wire: &dotnet6, query: func(f eventFilter) string {
		var query []string
		for _, typ := range f.types {
			query = append(query, "events[]="+typ)
		}
		// It leaves colons and brackets as they are.
		rest := joined("range_start", f.start, "range_end", f.end, "after", f.after, "limit", limitOr(f.limit, 0), "order", "desc")
		return strings.Join(append(query, strings.ReplaceAll(rest, "%3A", ":")), "&")
	}}),
}

// joined returns a query of names and values. It leaves out empty values, and repeats the
// name of a list.
func joined(pairs ...any) string {
	var query []string
	add := func(name any, value string) {
		if value != "" {
			query = append(query, fmt.Sprint(name, "=", url.QueryEscape(value)))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		switch value := pairs[i+1].(type) {
		case string:
			add(pairs[i], value)
		case []string:
			for _, v := range value {
				add(pairs[i], v)
			}
		}
	}
	return strings.Join(query, "&")
}

// limitOr returns a limit as text. 0 means the default of the library; if that is 0 too, the
// text is empty.
func limitOr(limit, standard int) string {
	if limit == 0 {
		limit = standard
	}
	if limit == 0 {
		return ""
	}
	return strconv.Itoa(limit)
}

const noRanges = "cannot ask for a range of time"

func replayEvents(w wireEvents) eventClient {
	return eventClient{language: w.language, version: w.version, by: byReplay, https: w.https, drive: w.drive}
}

func (w wireEvents) drive(t *testing.T, s eventServer, p plan, report func(line)) {
	at := target{url: s.URL, apiKey: s.APIKey, tls: s.tls, watch: func(try) {}}
	all := eventFilter{types: p.Types, limit: 100}
	step := func(name string, do func(t *testing.T) []string) {
		l := line{Library: "workos", Version: w.version, Step: name}
		l.OK = t.Run(name, func(t *testing.T) {
			defer func() {
				if l.Skipped = t.Skipped(); l.Skipped {
					l.Detail = noRanges
				}
			}()
			l.IDs = do(t)
		})
		report(l)
	}
	page := func(t *testing.T, f eventFilter) []string {
		ids, _ := w.list(t, at, f)
		return ids
	}
	step("list events", func(t *testing.T) []string { return page(t, all) })
	step("list events page by page", func(t *testing.T) (all []string) {
		f := eventFilter{types: p.Types, limit: 2}
		for {
			ids, after := w.list(t, at, f)
			all = append(all, ids...)
			if len(ids) > 2 || after == "" {
				return all
			}
			f.after = after
		}
	})
	step("list events in a range", func(t *testing.T) []string {
		if w.noRange {
			t.Skip(noRanges)
		}
		f := all
		f.start, f.end = p.RangeStart, p.RangeEnd
		return page(t, f)
	})
	step("list events after an event", func(t *testing.T) []string {
		f := all
		f.after = p.After
		return page(t, f)
	})
	step("list events of an unknown type", func(t *testing.T) []string {
		answer := w.ask(t, at, eventFilter{types: []string{p.Unknown}})
		row := w.errorAt(answer.status)
		if row == nil {
			t.Fatalf("status %d: %s", answer.status, answer.body)
		}
		if r := w.refuse(row, answer); r.status != 422 || !strings.Contains(string(answer.body), "events_unknown_type") {
			t.Errorf("%s at status %d: %s", r.class, r.status, answer.body)
		}
		return nil
	})
	step("verify a delivery", func(t *testing.T) []string {
		d := p.Delivery
		event, err := w.accept(d.Body, d.Signature, d.Secret, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		altered := strings.Replace(d.Body, "succeeded", "failed", 1)
		if _, err := w.accept(altered, d.Signature, d.Secret, time.Now()); err == nil {
			t.Error("an altered delivery is accepted")
		}
		return []string{event.text("id")}
	})
}

func (w wireEvents) ask(t *testing.T, at target, f eventFilter) reply {
	t.Helper()
	answer, err := w.exchange(at, "GET", strings.TrimSuffix("/events?"+w.query(f), "&"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := lawful(answer); err != nil {
		t.Error(err)
	}
	return answer
}

// list returns the ids of a page and the cursor of the next one, or "".
func (w wireEvents) list(t *testing.T, at target, f eventFilter) (ids []string, after string) {
	t.Helper()
	answer := w.ask(t, at, f)
	if answer.status != 200 {
		t.Fatalf("status %d: %s", answer.status, answer.body)
	}
	var page struct {
		Data     []any
		Metadata struct{ After *string } `json:"list_metadata"`
	}
	if err := json.Unmarshal(answer.body, &page); err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Data {
		event, err := w.read(w.webhook.reads, item)
		if err != nil {
			t.Fatalf("%s: %v", w.unreadable, err)
		}
		ids = append(ids, event.text("id"))
	}
	if page.Metadata.After != nil {
		after = *page.Metadata.After
	}
	return ids, after
}
