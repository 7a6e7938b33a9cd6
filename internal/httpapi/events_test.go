package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A logged is an event as the API shows it.
type logged struct {
	ID        string
	Event     string
	CreatedAt string `json:"created_at"`
	Data      struct {
		User      *string `json:"user_id"`
		IPAddress *string `json:"ip_address"`
		UserAgent *string `json:"user_agent"`
		Caller    struct{ Type, ID string }
	}
}

// log requests a page of events.
func (w *fixture) log(query string, headers ...string) (page []logged, after string) {
	w.t.Helper()
	r := w.get("/events?"+query, headers...).is(http.StatusOK)
	var list struct {
		Object   string
		Data     []logged
		Metadata map[string]*string `json:"list_metadata"`
	}
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || list.Object != "list" || list.Data == nil {
		w.t.Fatalf("%s: %v", r.body, err)
	}
	if before, ok := list.Metadata["before"]; !ok || before != nil {
		w.t.Errorf("list_metadata.before is not null in %s", r.body)
	}
	switch value, ok := list.Metadata["after"]; {
	case !ok || value != nil && *value == "":
		w.t.Errorf("list_metadata.after is missing or empty in %s", r.body)
	case value != nil:
		after = *value
	}
	return list.Data, after
}

func typesOf(page []logged) (types []string) {
	for _, e := range page {
		types = append(types, e.Event)
	}
	return types
}

func idsOf(page []logged) (ids []string) {
	for _, e := range page {
		ids = append(ids, e.ID)
	}
	return ids
}

// signIn enrolls a factor for a user, who then signs in after a wrong code. It returns the
// ids of the factor and the challenge. Each step takes a second.
func (w *fixture) signIn(user string) (factor, challenge string) {
	w.t.Helper()
	factor = w.enroll(`{"type":"generic_otp","user_id":"` + user + `"}`)
	w.clock.Advance(time.Second)
	c := w.challenge(factor)
	w.clock.Advance(time.Second)
	w.verify(c.text("id"), wrong).is(http.StatusCreated)
	w.clock.Advance(time.Second)
	w.verify(c.text("id"), c.text("code")).is(http.StatusCreated)
	w.clock.Advance(time.Second)
	return factor, c.text("id")
}

var signInTypes = []string{"factor.enrolled", "challenge.created", "authentication.mfa_failed", "authentication.mfa_succeeded"}

// happenings are the types of events about factors; the log also has the creation of the
// environment and the key.
const happenings = "events=factor.enrolled,challenge.created,authentication.mfa_failed,authentication.mfa_succeeded"

func TestEventsAreListedOldestFirst(t *testing.T) {
	w := newFixture(t, setup{})
	factor, challenge := w.signIn("user_1")
	r := w.get("/events?" + happenings).is(http.StatusOK)
	page, _ := w.log(happenings)
	if got := typesOf(page); !slices.Equal(got, signInTypes) {
		t.Fatalf("the types are %q; want %q", got, signInTypes)
	}
	if !slices.IsSortedFunc(page, func(a, b logged) int { return strings.Compare(a.ID, b.ID) }) {
		t.Errorf("the ids are not sorted: %q", idsOf(page))
	}
	last := `{"object":"event","id":"` + page[3].ID + `","event":"authentication.mfa_succeeded","data":{` +
		`"type":"mfa","status":"succeeded","ip_address":null,"user_agent":null,"user_id":"user_1","email":"",` +
		`"factor_id":"` + factor + `","factor_type":"generic_otp","challenge_id":"` + challenge + `",` +
		`"caller":{"type":"api_key","id":"` + page[3].Data.Caller.ID + `"},"request_id":"`
	if !strings.Contains(r.body, last) {
		t.Errorf("the list is %s; want an event %s…", r.body, last)
	}
	for _, order := range []string{"order=asc", "order=desc", "order=normal", "order=x", "before=" + page[0].ID, "before=x", "page=2"} {
		if same, _ := w.log(happenings + "&" + order); !slices.Equal(idsOf(same), idsOf(page)) {
			t.Errorf("%s: the list is %q; want %q", order, typesOf(same), signInTypes)
		}
	}
}

func TestTypesOfEventsAreReadInEveryEncoding(t *testing.T) {
	w := newFixture(t, setup{})
	w.signIn("user_1")
	want := signInTypes[2:]
	const failed, succeeded = "authentication.mfa_failed", "authentication.mfa_succeeded"
	for _, query := range []string{
		"events=" + failed + "," + succeeded,
		"events=" + succeeded + "," + failed,
		"events=" + failed + "%2C" + succeeded,
		"events=" + failed + "&events=" + succeeded,
		"events[0]=" + failed + "&events[1]=" + succeeded,
		"events%5B0%5D=" + failed + "&events%5B1%5D=" + succeeded,
		"events[]=" + failed + "&events[]=" + succeeded,
		"events%5B%5D=" + failed + "&events%5B%5D=" + succeeded,
		"events=" + failed + "&events=" + failed + "," + succeeded + ",",
		"events=&events[7]=" + failed + ",%20" + succeeded,
	} {
		if page, _ := w.log(query); !slices.Equal(typesOf(page), want) {
			t.Errorf("%s: the list is %q; want %q", query, typesOf(page), want)
		}
	}
	for _, query := range []string{"", "events=", "events[]=", "events=,"} {
		page, _ := w.log(query)
		if got := typesOf(page); len(got) < 4 || !slices.Equal(got[len(got)-4:], signInTypes) {
			t.Errorf("%q: the list is %q; want all events", query, got)
		}
	}
}

func TestEventsOfARangeOfTime(t *testing.T) {
	w := newFixture(t, setup{}) // begins at 12:00:00.432
	w.signIn("user_1")
	w.clock.Advance(time.Minute)
	w.signIn("user_1")
	for _, tc := range []struct {
		query string
		want  int
	}{
		{"range_start=2026-03-27T12:00:00.432Z", 8},
		{"range_start=2026-03-27T12:00:00.433Z", 7},
		{"range_end=2026-03-27T12:00:00.432Z", 0},
		{"range_end=2026-03-27T12:00:00.433Z", 1},
		{"range_start=2026-03-27T12:01Z", 4},
		{"range_end=2026-03-27T12:01Z", 4},
		{"range_start=2026-03-27T12:00:01.432Z&range_end=2026-03-27T12:00:03.432Z", 2},
		{"range_start=2026-03-27T14:01:00%2B02:00", 4},
		{"range_start=2026-03-27T14:01:00+02:00", 4}, // not escaped
		{"range_start=2026-03-27t14:01%2B02:00", 4},
		{"range_start=2026-03-27T11:01:00.000000-01:00", 4},
		{"range_start=2026-03-27T12:00Z&range_end=2026-03-27T12:00Z", 0},
		{"range_start=0001-01-01T00:00:00Z&range_end=9999-12-31T23:59:59.999999999Z", 8},
		{"range_start=&range_end=", 8},
	} {
		if page, _ := w.log("limit=100&" + happenings + "&" + tc.query); len(page) != tc.want {
			t.Errorf("%s: %d events %q; want %d", tc.query, len(page), typesOf(page), tc.want)
		}
	}
}

func TestEventsOfOneSubject(t *testing.T) {
	w := newFixture(t, setup{})
	factor, challenge := w.signIn("user_1")
	other, _ := w.signIn("user_2")
	third := w.enroll(`{"type":"generic_otp"}`)
	key, id := w.newKey(w.sandbox)
	w.delete("/auth/factors/"+third, "Authorization: Bearer "+key).is(http.StatusNoContent)
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"factor_id=" + factor, signInTypes},
		{"factor_id=" + other, signInTypes},
		{"factor_id=" + third, []string{"factor.enrolled", "factor.deleted"}},
		{"challenge_id=" + challenge, signInTypes[1:]},
		{"user_id=user_1", signInTypes},
		{"user_id=user_2", signInTypes},
		{"user_id=user_3", nil},
		{"caller=" + string(id), []string{"factor.deleted"}},
		{"caller=operator:ada", nil},
		{"factor_id=" + factor + "&user_id=user_2", nil},
		{"factor_id=" + factor + "&events=authentication.mfa_failed", signInTypes[2:3]},
		{"factor_id=auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M", nil},
	} {
		if page, _ := w.log(tc.query); !slices.Equal(typesOf(page), tc.want) {
			t.Errorf("%s: the list is %q; want %q", tc.query, typesOf(page), tc.want)
		}
	}
}

func TestEventsAreReadThrough(t *testing.T) {
	w := newFixture(t, setup{})
	for range 6 {
		w.signIn("user_1")
	}
	all, after := w.log(happenings + "&limit=100")
	if len(all) != 24 || after != "" {
		t.Fatalf("%d events, after %q; want 24 and null", len(all), after)
	}
	for _, tc := range []struct {
		query string
		size  int
	}{{"", 10}, {"limit=", 10}, {"limit=7", 7}, {"limit=1", 1}, {"limit=8", 8}, {"limit=24", 24}, {"limit=100", 100}} {
		var read []string
		query := happenings + "&" + tc.query
		for page, after := w.log(query); ; page, after = w.log(query + "&after=" + after) {
			if len(page) > tc.size || len(page) == 0 {
				t.Fatalf("%s: a page has %d events", tc.query, len(page))
			}
			read = append(read, idsOf(page)...)
			if after == "" {
				break
			}
		}
		if !slices.Equal(read, idsOf(all)) {
			t.Errorf("%s: read %q; want %q", tc.query, read, idsOf(all))
		}
	}
}

func TestAReaderContinuesAfterTheLastEvent(t *testing.T) {
	w := newFixture(t, setup{})
	w.signIn("user_1")
	page, _ := w.log(happenings)
	last := page[len(page)-1].ID
	if again, after := w.log("after=" + last); len(again) != 0 || after != "" {
		t.Errorf("after the last event are %q, and after is %q", typesOf(again), after)
	}
	w.signIn("user_1")
	if more, _ := w.log("after=" + last); !slices.Equal(typesOf(more), signInTypes) {
		t.Errorf("after the last event are %q; want %q", typesOf(more), signInTypes)
	}
	// The position of an event does not depend on the filters.
	if more, _ := w.log("events=authentication.mfa_failed&after=" + last); !slices.Equal(typesOf(more), signInTypes[2:3]) {
		t.Errorf("after the last event are %q; want %q", typesOf(more), signInTypes[2:3])
	}
}

func TestARemovedEventStillMarksItsPlace(t *testing.T) {
	w := newFixture(t, setup{mfa: mfa.Options{EventRetention: 24 * time.Hour}})
	w.signIn("user_1")
	page, _ := w.log(happenings)
	w.clock.Advance(23 * time.Hour)
	w.signIn("user_1")
	w.clock.Advance(2 * time.Hour)
	if err := w.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range page {
		if more, _ := w.log(happenings + "&after=" + e.ID); !slices.Equal(typesOf(more), signInTypes) {
			t.Errorf("after %s are %q; want the four events that are kept", e.Event, typesOf(more))
		}
	}
}

func TestEventsOfAnotherEnvironmentAreNotVisible(t *testing.T) {
	w := newFixture(t, setup{})
	w.signIn("user_1")
	ours, _ := w.log(happenings)
	key, _ := w.newKey(w.environment("Other", false))
	theirs := "Authorization: Bearer " + key
	w.enroll(`{"type":"generic_otp"}`)
	if page, _ := w.log(happenings, theirs); len(page) != 0 {
		t.Errorf("the other environment has %q", typesOf(page))
	}
	w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, theirs).is(http.StatusCreated)
	w.get("/events?after="+ours[3].ID, theirs).refuses("after after_invalid_cursor")
	w.get("/events/stream?after="+ours[3].ID, theirs).refuses("after after_invalid_cursor")
}

func TestEventsShowTheEndUserUntilTheUserIsErased(t *testing.T) {
	w := newFixture(t, setup{})
	const device = `"ip_address":"203.0.113.7","user_agent":"Förde <b>& \"1.0\" 🔑 \\ /"`
	factor := w.enroll(`{"type":"generic_otp","user_id":"user_1"}`)
	c := w.post("/auth/factors/"+factor+"/challenge", `{`+device+`}`).is(http.StatusCreated)
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+wrong+`",`+device+`}`).is(http.StatusCreated)
	w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`",`+device+`}`).is(http.StatusCreated)
	w.delete("/auth/factors/" + factor).is(http.StatusNoContent)

	for query, types := range map[string][]string{
		"factor_id=" + factor: append(slices.Clone(signInTypes), "factor.deleted"),
		"user_id=user_1":      append(slices.Clone(signInTypes), "factor.deleted"),
	} {
		page, _ := w.log(query)
		if !slices.Equal(typesOf(page), types) {
			t.Fatalf("%s: the list is %q; want %q", query, typesOf(page), types)
		}
		for i, e := range page {
			if e.Data.User == nil || *e.Data.User != "user_1" {
				t.Errorf("%s does not name the user", e.Event)
			}
			if hasDevice := 0 < i && i < 4; hasDevice != (e.Data.IPAddress != nil && *e.Data.IPAddress == "203.0.113.7") ||
				hasDevice != (e.Data.UserAgent != nil && *e.Data.UserAgent == `Förde <b>& "1.0" 🔑 \ /`) {
				t.Errorf("%s has another device: %v, %v", e.Event, e.Data.IPAddress, e.Data.UserAgent)
			}
		}
	}

	w.clock.Advance(2 * time.Hour)
	if err := w.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, _ := w.log("factor_id=" + factor)
	if len(page) != 5 {
		t.Fatalf("after the erasure the list is %q", typesOf(page))
	}
	for _, e := range page {
		if e.Data.User != nil && *e.Data.User != "" || e.Data.IPAddress != nil || e.Data.UserAgent != nil {
			t.Errorf("after the erasure %s is %+v", e.Event, e.Data)
		}
	}
	if page, _ := w.log("user_id=user_1"); len(page) != 0 {
		t.Errorf("after the erasure the user has %q", typesOf(page))
	}
}

func TestBadParametersOfEventsAreNamed(t *testing.T) {
	w := newFixture(t, setup{})
	factor, challenge := w.signIn("user_1")
	page, _ := w.log(happenings)
	future := "event_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
	unknown := page[0].ID[:len(page[0].ID)-1] + "1"
	if unknown == page[0].ID {
		unknown = unknown[:len(unknown)-1] + "2"
	}
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"limit=0", []string{"limit limit_out_of_range"}},
		{"limit=101", []string{"limit limit_out_of_range"}},
		{"limit=-1", []string{"limit limit_out_of_range"}},
		{"limit=%2B5", []string{"limit limit_out_of_range"}},
		{"limit=1.5", []string{"limit limit_out_of_range"}},
		{"limit=99999999999999999999", []string{"limit limit_out_of_range"}},
		{"events=user.created", []string{"events events_unknown_type"}},
		{"events=factor.enrolled,x", []string{"events events_unknown_type"}},
		{"events[]=factor.*", []string{"events events_unknown_type"}},
		{"events=" + strings.Repeat("x", 5000), []string{"events events_unknown_type"}},
		{"events=%00", []string{"events events_unknown_type"}},
		{"range_start=x", []string{"range_start range_start_invalid"}},
		{"range_start=2026-03-27", []string{"range_start range_start_invalid"}},
		{"range_start=1774612800", []string{"range_start range_start_invalid"}},
		{"range_end=2026-02-30T00:00:00Z", []string{"range_end range_end_invalid"}},
		{"range_start=2026-03-27T12:00:00", []string{"range_start range_start_invalid"}},
		{"range_start=2026-03-28T00:00:00Z&range_end=2026-03-27T00:00:00Z", []string{"range_end range_end_before_start"}},
		{"after=x", []string{"after after_invalid_cursor"}},
		{"after=null", []string{"after after_invalid_cursor"}},
		{"after=" + factor, []string{"after after_invalid_cursor"}},
		{"after=" + challenge, []string{"after after_invalid_cursor"}},
		{"after=" + strings.ToLower(page[0].ID), []string{"after after_invalid_cursor"}},
		{"after=" + page[0].ID + "%20", []string{"after after_invalid_cursor"}},
		{"after=" + unknown, []string{"after after_invalid_cursor"}},
		{"after=" + future, []string{"after after_invalid_cursor"}},
		{"factor_id=" + challenge, []string{"factor_id factor_id_invalid"}},
		{"caller=ada", []string{"caller caller_invalid"}},
		{"challenge_id=x", []string{"challenge_id challenge_id_invalid"}},
		{"organization_id=org_1", []string{"organization_id organization_id_unsupported"}},
		{"limit=0&events=x&range_start=x&range_end=x&after=x&factor_id=x", []string{
			"events events_unknown_type", "range_start range_start_invalid", "factor_id factor_id_invalid", "after after_invalid_cursor", "range_end range_end_invalid", "limit limit_out_of_range",
		}},
		{"limit=%", []string{"query query_unreadable"}},
		{"events=a;b", []string{"query query_unreadable"}},
	} {
		w.get("/events?" + tc.query).refuses(tc.want...)
	}
}

func FuzzParametersOfEvents(f *testing.F) {
	w := newFixture(f, setup{})
	w.signIn("user_1")
	for _, query := range []string{
		happenings, "events[0]=factor.enrolled&events[]=x", "after=event_01FZ4WMXXA09XF6NK1XMKNWB3M&limit=3",
		"range_start=2026-03-27T12:00Z&range_end=2026-03-27T14:01:00+02:00", "factor_id=&user_id=%C3%A9&caller=%00", "events=%ff;",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		u := url.URL{Path: "/events", RawQuery: query}
		r, err := http.NewRequest(http.MethodGet, u.String(), nil)
		if err != nil || !validTarget(r.URL) {
			t.Skip("not a URL")
		}
		r.Header.Set("Authorization", "Bearer "+w.key)
		answer := w.on(t).direct(t, r) // checks the reply against the document
		if answer.status != http.StatusOK && answer.status != http.StatusUnprocessableEntity {
			t.Errorf("%q: status %d, %s", query, answer.status, answer.body)
		}
	})
}

// validTarget reports whether a request line can have the URL.
func validTarget(u *url.URL) bool {
	_, err := url.ParseRequestURI(u.RequestURI())
	return err == nil
}
