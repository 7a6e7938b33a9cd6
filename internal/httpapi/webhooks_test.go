package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/webhook"
	"github.com/countersign-mfa/countersign/internal/webhook/post"
)

func TestAWebhookEndpointIsCreatedChangedAndDeleted(t *testing.T) {
	w := newFixture(t, setup{})
	created := w.post("/webhook_endpoints",
		`{"endpoint_url":"https://Example.com/hook","events":["factor.locked","authentication.mfa_succeeded"]}`, onceKey).is(http.StatusCreated)
	id, secret := created.text("id"), created.text("secret")
	const at = `"created_at":"2026-03-27T12:00:00.432Z","updated_at":"2026-03-27T12:00:00.432Z"`
	want := `{"object":"webhook_endpoint","id":"` + id + `","endpoint_url":"https://example.com/hook","secret":"` + secret +
		`","status":"enabled","events":["authentication.mfa_succeeded","factor.locked"],` + at + `,"last_success_at":null,"failing_since":null}`
	if created.body != want {
		t.Errorf("created\n%s; want\n%s", created.body, want)
	}
	again := w.post("/webhook_endpoints",
		`{"endpoint_url":"https://Example.com/hook","events":["factor.locked","authentication.mfa_succeeded"]}`, onceKey).is(http.StatusCreated)
	if again.body != want || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same request again: %s", again.body)
	}
	w.get("/webhook_endpoints").says(200, `{"object":"list","data":[`+want+`],"list_metadata":{"before":null,"after":null}}`)

	path := "/webhook_endpoints/" + id
	w.clock.Advance(time.Minute)
	changed := w.do(http.MethodPatch, path, `{"endpoint_url":null,"status":"disabled","events":["factor.locked"]}`).is(200)
	if changed.text("status") != "disabled" || changed.text("disabled_reason") != "requested" || changed.text("updated_at") != "2026-03-27T12:01:00.432Z" ||
		changed.text("endpoint_url") != "https://example.com/hook" || changed.text("secret") != secret {
		t.Errorf("changed to %s", changed.body)
	}
	w.do(http.MethodPatch, path, `{"status":"enabled"}`).is(200)
	rotated := w.post(path+"/rotate_secret", `{"overlap_seconds":60}`).is(200)
	if rotated.text("secret") != secret || rotated.text("next_secret") == secret || rotated.text("secret_switches_at") != "2026-03-27T12:02:00.432Z" {
		t.Error("the rotation has another secret or another end")
	}
	w.clock.Advance(time.Minute)
	if now := w.do(http.MethodPatch, path, ``).is(200); now.text("secret") != rotated.text("next_secret") {
		t.Error("after the overlap the endpoint has another secret")
	}
	if now := w.post(path+"/rotate_secret", ``).is(200); now.text("secret_switches_at") != "2026-03-28T12:02:00.432Z" {
		t.Error("without a body the overlap is not a day")
	}

	stranger, _ := w.newKey(w.environment("Other", false))
	other := "Authorization: Bearer " + stranger
	for _, r := range []reply{
		w.do(http.MethodPatch, path, `{"status":"disabled"}`, other), w.delete(path, other),
		w.post(path+"/rotate_secret", ``, other), w.post(path+"/replay", `{"from":"2026-01-01T00:00:00Z"}`, other), w.get(path+"/attempts", other),
		w.delete("/webhook_endpoints/x"), w.get("/webhook_endpoints/" + w.generic() + "/attempts"),
	} {
		r.is(http.StatusNotFound)
	}
	w.get("/webhook_endpoints", other).says(200, emptyList)
	w.delete(path).is(http.StatusNoContent)
	w.delete(path).is(http.StatusNotFound)
	w.get("/webhook_endpoints").says(200, emptyList)
}

func TestWebhookEndpointsAreListedInBothDirections(t *testing.T) {
	w := newFixture(t, setup{})
	var newest []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.clock.Advance(time.Millisecond)
		newest = append([]string{w.endpoint("https://example.com/" + name).text("id")}, newest...)
	}
	oldest := reversed(newest)
	for _, tc := range []struct {
		query         string
		want          []string
		before, after bool // whether there is such a page
	}{
		{"", newest, false, false},
		{"order=asc", oldest, false, false},
		{"limit=2", newest[:2], false, true},
		{"limit=2&after=" + newest[1], newest[2:4], true, true},
		{"limit=2&after=" + newest[3], newest[4:], true, false},
		{"limit=2&before=" + newest[3], newest[1:3], true, true},
		{"limit=2&before=" + newest[1], newest[:1], false, true},
		{"before=" + newest[0], nil, false, false},
		{"after=" + newest[0] + "&before=" + newest[4], newest[1:4], true, true},
		{"order=asc&limit=2&after=" + oldest[1], oldest[2:4], true, true},
		{"order=asc&before=" + oldest[2], oldest[:2], false, true},
	} {
		r := w.get("/webhook_endpoints?" + tc.query).is(200)
		var list struct {
			Data     []struct{ ID string }
			Metadata struct{ Before, After *string } `json:"list_metadata"`
		}
		if err := json.Unmarshal([]byte(r.body), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list.Data {
			got = append(got, e.ID)
		}
		if strings.Join(got, " ") != strings.Join(tc.want, " ") || (list.Metadata.Before != nil) != tc.before || (list.Metadata.After != nil) != tc.after {
			t.Errorf("%q lists %v, %s; want %v", tc.query, got, r.body[strings.Index(r.body, "list_metadata"):], tc.want)
		}
	}
}

func TestAttemptsAndReplays(t *testing.T) {
	w := newFixture(t, setup{})
	status := http.StatusTeapot
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(status)
		rw.Write([]byte("short and \xff stout"))
	}))
	defer receiver.Close()
	allowed := webhook.NewService(w.store, w.keyset, webhook.Options{Allow: webhook.Loopback, Now: w.clock.Now})
	dispatcher := webhook.NewDispatcher(allowed, w.store, events.NewService(w.store, events.Options{Poll: time.Millisecond}), post.New(post.Options{Allow: webhook.Loopback}),
		webhook.DispatcherOptions{Append: func(b []byte, e events.Event) []byte { return append(b, `{}`...) }, Now: w.clock.Now})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() { dispatcher.Run(ctx); ended <- true }()
	defer func() { cancel(); <-ended }()

	name := strings.Replace(receiver.URL, "127.0.0.1", "localhost", 1)
	id := w.endpoint(name).text("id")
	dispatcher.Changed(webhook.EndpointID{})
	challenge := w.challenge(w.generic()).text("id")
	w.verify(challenge, wrong).is(201)
	var r reply
	for deadline := time.Now().Add(10 * time.Second); ; {
		if r = w.get("/webhook_endpoints/" + id + "/attempts").is(200); strings.Contains(r.body, "wa_") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no attempt was made")
		}
	}
	var list struct{ Data []map[string]any }
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list.Data) != 1 {
		t.Fatal(err, r.body)
	}
	for key, want := range map[string]any{
		"object": "webhook_attempt", "event": "authentication.mfa_failed", "attempt": 1.0, "outcome": "refused", "status": 418.0,
		"answer": "short and \ufffd stout", "attempted_at": "2026-03-27T12:00:00.432Z",
	} {
		if got := list.Data[0][key]; got != want {
			t.Errorf("%s is %v; want %v", key, got, want)
		}
	}
	w.get("/webhook_endpoints/"+id+"/attempts?limit=1&after="+list.Data[0]["id"].(string)).says(200, emptyList)
	w.post("/webhook_endpoints/"+id+"/replay", `{"from":"2026-03-27T11:00:00+01:00","to":null,"only_failed":true}`).says(http.StatusAccepted,
		`{"object":"webhook_replay","webhook_endpoint_id":"`+id+`","from":"2026-03-27T10:00:00.000Z","to":"2026-03-27T12:00:00.432Z","only_failed":true}`)
}

func TestAReplayRefusesUnknownKeys(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.endpoint(takenURL).text("id")
	for _, path := range []string{"/replay", "/rotate_secret"} {
		r := w.post("/webhook_endpoints/"+id+path, `{"From":"2026-03-27T00:00:00Z","only_failled":true,"overlap_seconds":0}`).is(http.StatusUnprocessableEntity)
		if !strings.Contains(r.body, `"code":"body_unknown_key"`) {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	r := w.post("/webhook_endpoints/"+id+"/replay", `{"from":"2026-03-27T00:00:00Z","only_failled":true}`).is(http.StatusUnprocessableEntity)
	if want := `\"only_failled\" is not known: the keys of this request are from, to, only_failed`; !strings.Contains(r.body, want) {
		t.Errorf("%s; want %s", r.body, want)
	}
	w.post("/webhook_endpoints/"+id+"/replay", `{"from":"2026-03-27T00:00:00Z","only_failed":null}`).is(http.StatusAccepted)
}
