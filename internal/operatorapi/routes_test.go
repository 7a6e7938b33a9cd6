package operatorapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/openapitest"
	"github.com/countersign-mfa/countersign/internal/operatorapi"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// roles has the roles that may use each route: v(iewer), s(upport), a(dmin). A key with
// operator:read is a viewer, one with operator:write an admin.
var roles = map[string]string{
	"GET /me":                           "vsa",
	"GET /nodes":                        "vsa",
	"GET /operators":                    "vsa",
	"POST /operators":                   "a",
	"GET /operators/{name}":             "vsa",
	"PATCH /operators/{name}":           "a",
	"GET /operators/{name}/sessions":    "vsa",
	"POST /operators/{name}/sign_out":   "a",
	"GET /environments":                 "vsa",
	"POST /environments":                "a",
	"GET /environments/{environment}":   "vsa",
	"PATCH /environments/{environment}": "a",
	"GET /keys":                         "vsa",
	"POST /keys":                        "a",
	"GET /keys/{id}":                    "vsa",
	"PATCH /keys/{id}":                  "a",
	"DELETE /keys/{id}":                 "a",
	"GET /environments/{environment}/users/{user_id}":                       "vsa",
	"POST /environments/{environment}/users/{user_id}/unlock":               "sa",
	"POST /environments/{environment}/users/{user_id}/erase":                "a",
	"GET /environments/{environment}/users/{user_id}/bypass_code":           "vsa",
	"POST /environments/{environment}/users/{user_id}/bypass_code":          "sa",
	"POST /environments/{environment}/users/{user_id}/bypass_code/revoke":   "sa",
	"POST /factors/{id}/remove":                                             "a",
	"GET /environments/{environment}/statistics":                            "vsa",
	"GET /environments/{environment}/coverage":                              "vsa",
	"GET /environments/{environment}/statistics/messages":                   "vsa",
	"POST /environments/{environment}/find":                                 "vsa",
	"GET /factors/{id}":                                                     "vsa",
	"POST /factors/{id}/unlock":                                             "sa",
	"POST /factors/{id}/suspend":                                            "sa",
	"POST /factors/{id}/resume":                                             "sa",
	"GET /challenges/{id}":                                                  "vsa",
	"GET /environments/{environment}/webhook_endpoints":                     "vsa",
	"POST /environments/{environment}/webhook_endpoints":                    "a",
	"GET /environments/{environment}/webhook_endpoints/{id}":                "vsa",
	"PATCH /environments/{environment}/webhook_endpoints/{id}":              "a",
	"DELETE /environments/{environment}/webhook_endpoints/{id}":             "a",
	"GET /environments/{environment}/webhook_endpoints/{id}/attempts":       "vsa",
	"POST /environments/{environment}/webhook_endpoints/{id}/rotate_secret": "a",
	"POST /environments/{environment}/webhook_endpoints/{id}/replay":        "a",
	"GET /environments/{environment}/events":                                "vsa",
	"GET /environments/{environment}/messages":                              "vsa",
	"POST /environments/{environment}/messages/release":                     "a",
	"POST /environments/{environment}/messages/send_test":                   "a",
}

// in returns the path of a route for the things of an environment.
func (p place) in(path string) string {
	id := p.factor
	switch {
	case strings.Contains(path, "/challenges/"):
		id = p.challenge
	case strings.Contains(path, "/webhook_endpoints/"):
		id = p.endpoint
	case strings.Contains(path, "/keys/"):
		id = string(p.apiKey.ID)
	}
	return strings.NewReplacer("{environment}", p.env.Name, "{user_id}", adaUser, "{name}", grace, "{id}", id).Replace(path)
}

// bodies has a body for each route that needs one. ENV means the name of the environment.
var bodies = map[string]string{
	"PATCH /environments/{environment}": `{"settings":{"max_factors_per_user":50,"delete_requires_challenge":"15m"},"reason":"ticket 4711"}`,
	"POST /environments":                `{"name":"New","kind":"sandbox"}`,
	"PATCH /keys/{id}":                  `{"name":"checkout","reason":"ticket 4711"}`,
	"POST /operators":                   `{"name":"ada","role":"support","reason":"ticket 4711"}`,
	"PATCH /operators/{name}":           `{"role":"viewer","reason":"ticket 4711"}`,
	"POST /operators/{name}/sign_out":   `{"reason":"ticket 4711"}`,
	"POST /keys":                        `{"name":"checkout","environment":"ENV","scopes":["api"],"expires_at":"2099-01-01T00:00:00Z"}`,
	"POST /environments/{environment}/users/{user_id}/unlock":               `{"reason":"ticket 4711"}`,
	"POST /environments/{environment}/users/{user_id}/erase":                `{"reason":"ticket 4711"}`,
	"POST /environments/{environment}/users/{user_id}/bypass_code":          `{"reason":"ticket 4711","ttl_seconds":600}`,
	"POST /environments/{environment}/users/{user_id}/bypass_code/revoke":   `{"reason":"ticket 4711"}`,
	"POST /environments/{environment}/find":                                 `{"text":"ada@example.com","reason":"ticket 4711"}`,
	"POST /factors/{id}/remove":                                             `{"reason":"ticket 4711"}`,
	"POST /factors/{id}/unlock":                                             `{"reason":"ticket 4711"}`,
	"POST /factors/{id}/suspend":                                            `{"reason":"ticket 4711"}`,
	"POST /factors/{id}/resume":                                             `{"reason":"ticket 4711"}`,
	"POST /environments/{environment}/webhook_endpoints":                    `{"endpoint_url":"https://example.com/new","events":["factor.locked"]}`,
	"PATCH /environments/{environment}/webhook_endpoints/{id}":              `{"status":"enabled"}`,
	"POST /environments/{environment}/webhook_endpoints/{id}/rotate_secret": `{}`,
	"POST /environments/{environment}/webhook_endpoints/{id}/replay":        `{"from":"2026-01-01T00:00:00Z"}`,
	"POST /environments/{environment}/messages/release":                     `{"prefix":"+491512"}`,
	"POST /environments/{environment}/messages/send_test":                   `{"phone_number":"+16073517112","reason":"ticket 4711"}`,
}

// patterns lists all routes without the prefix.
func (w *fixture) patterns() (all []string) {
	for _, r := range w.api.Routes() {
		all = append(all, strings.Replace(r.Pattern, operatorapi.Prefix, "", 1))
	}
	return all
}

func TestEveryRouteAndEveryRole(t *testing.T) {
	w := newFixture(t)
	for _, r := range w.api.Routes() {
		pattern := strings.Replace(r.Pattern, operatorapi.Prefix, "", 1)
		want, ok := roles[pattern]
		if !ok {
			t.Errorf("%s has no row in the table", pattern)
		}
		got := ""
		for _, role := range access.Roles() {
			if role.Need(r.Needs...) == nil {
				got += string(role[:1])
			}
		}
		if got != want {
			t.Errorf("%s is for %q; want %q", pattern, got, want)
		}
	}
	if n := len(w.patterns()); n != len(roles) {
		t.Errorf("there are %d routes; want %d", n, len(roles))
	}
}

// TestEveryRouteAndEveryScope sends a request to each route with each kind of key.
func TestEveryRouteAndEveryScope(t *testing.T) {
	w := newFixture(t)
	write, read := w.key, ""
	read, _ = w.newKey(mfa.Environment{}, access.ScopeOperatorRead)
	api, _ := w.newKey(w.acme.env, access.ScopeAPI, access.ScopeEventsRead)
	revoked, k := w.newKey(mfa.Environment{}, access.ScopeOperatorWrite)
	if err := w.access.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range w.patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		send := func(key string) reply {
			return w.do(method, w.acme.in(path), strings.Replace(bodies[pattern], "ENV", "Acme", 1), "Authorization: Bearer "+key)
		}
		for _, key := range []string{"", "x", "ok_AAAAAAAAAAAAAAAAAAAAAAAAAA", revoked} {
			if r := send(key).is(http.StatusUnauthorized); r.body != `{"message":"Unauthorized"}` {
				t.Errorf("%s: %s", pattern, r.body)
			}
		}
		send(api).says(http.StatusForbidden, "api_key_not_allowed")
		if strings.HasPrefix(roles[pattern], "v") {
			want := http.StatusOK
			if strings.HasSuffix(pattern, "/bypass_code") {
				want = http.StatusNotFound // no code was issued
			}
			send(read).is(want)
		} else if r := send(read).says(http.StatusForbidden, "insufficient_scope"); r.text("required_scope") != "operator:write" {
			t.Errorf("%s: %s", pattern, r.body)
		}
	}
	// Requests of the writer change what the others read, so they come last.
	for _, pattern := range w.patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		r := w.do(method, w.acme.in(path), strings.Replace(bodies[pattern], "ENV", "Acme", 1), "Authorization: Bearer "+write)
		if r.status == http.StatusUnauthorized || r.status == http.StatusForbidden || r.status >= 500 {
			t.Errorf("%s with operator:write: %d %s", pattern, r.status, r.body)
		}
	}
}

// TestAForeignEnvironmentDoesNotExist uses keys of one environment on another one, and on an
// unknown one. The answers are the same.
func TestAForeignEnvironmentDoesNotExist(t *testing.T) {
	w := newFixture(t)
	w.key, _ = w.newKey(w.acme.env, access.ScopeOperatorWrite)
	for _, pattern := range w.patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		body := strings.Replace(bodies[pattern], "ENV", "Other", 1)
		switch pattern {
		case "GET /me", "GET /environments", "GET /keys":
			if r := w.do(method, path, "").is(http.StatusOK); strings.Contains(r.body, "Other") {
				t.Errorf("%s shows another environment: %s", pattern, r.body)
			}
			continue
		case "POST /environments", "GET /nodes", "GET /operators", "POST /operators", "GET /operators/{name}", "PATCH /operators/{name}",
			"GET /operators/{name}/sessions", "POST /operators/{name}/sign_out":
			path = strings.Replace(path, "{name}", grace, 1)
			w.do(method, path, body).says(http.StatusForbidden, "environment_key_not_allowed")
			continue
		}
		r := w.do(method, w.other.in(path), body).says(http.StatusNotFound, "entity_not_found")
		if strings.Contains(path, "{environment}") {
			unknown := w.other
			unknown.env.Name = "Nowhere"
			if other := w.do(method, unknown.in(path), body); other.status != r.status || strings.ReplaceAll(other.body, "Nowhere", "Other") != r.body {
				t.Errorf("%s tells a foreign environment from an unknown one: %s, %s", pattern, r.body, other.body)
			}
		}
	}
	w.do("GET", "/keys?environment=Other", "").says(http.StatusNotFound, "entity_not_found")
	w.do("POST", "/keys", `{"scopes":["operator:read"]}`).says(http.StatusUnprocessableEntity, "invalid_request_parameters")
	w.do("POST", "/keys", `{"scopes":["operator:read"],"environment":"Acme"}`).is(http.StatusCreated)
	w.do("GET", "/factors/"+w.acme.factor, "").is(http.StatusOK)
	for _, e := range storetest.Events(t, w.store) {
		if e.Environment == w.other.env.ID && strings.HasPrefix(e.Caller, "key_") {
			t.Errorf("%s in the other environment names a key of this one", e.Type)
		}
	}
}

// TestAPolledViewLeavesOneEvent reads a factor three times within a quarter of an hour.
func TestAPolledViewLeavesOneEvent(t *testing.T) {
	w := newFixture(t)
	for range 3 {
		w.do("GET", "/factors/"+w.acme.factor, "").is(http.StatusOK)
	}
	n := 0
	for _, e := range storetest.Events(t, w.store) {
		if e.Type == mfa.Viewed {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the views left %d events; want 1", n)
	}
}

// TestAnErasedUserIsNotFoundInARecordedAnswer searches twice with one idempotency key, before
// and after the user is erased.
func TestAnErasedUserIsNotFoundInARecordedAnswer(t *testing.T) {
	w := newFixture(t)
	find := func() reply {
		return w.do("POST", "/environments/Acme/find", `{"text":"`+adaUser+`"}`, "Idempotency-Key: one")
	}
	find().is(http.StatusOK)
	w.do("POST", "/environments/Acme/users/"+adaUser+"/erase", `{"reason":"ticket 4711"}`).is(http.StatusNoContent)
	find().says(http.StatusNotFound, "entity_not_found")
}

func TestRoutesAndDocumentedOperationsAreTheSame(t *testing.T) {
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range newFixture(t).api.Routes() {
		routes = append(routes, r.Pattern)
	}
	slices.Sort(routes)
	if want := d.Part(operatorapi.Prefix + "/").Operations(); !slices.Equal(routes, want) {
		t.Errorf("routes:\n%s\noperations of openapi.yaml:\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
}

// TestBadInputIsNamed sends mistakes to each kind of input. The expected codes are all codes
// of the schema OperatorFieldError.
func TestBadInputIsNamed(t *testing.T) {
	w := newFixture(t)
	hooks := "/environments/Acme/webhook_endpoints"
	user := "/environments/Acme/users/" + adaUser
	seen := map[string]bool{}
	for _, tc := range []struct{ method, path, body, want string }{
		{"POST", "/environments", `{}`, "name_required kind_required"},
		{"POST", "/environments", `{"name":1,"kind":true}`, "name_not_a_string kind_not_a_string"},
		{"POST", "/environments", `{"name":"x","kind":"test"}`, "kind_unknown"},
		{"POST", "/environments", `{"name":"/","kind":"sandbox"}`, "name_invalid"},
		{"POST", "/environments", `{"name":"x","kind":"sandbox","production":true,"reason":"a\nb"}`, "reason_invalid"},
		{"POST", "/environments", `{"name":"x","kind":"sandbox","production":true}`, "body_unknown_key"},
		{"PATCH", "/environments/Acme", `{"settings":{"max_factors_per_user":5000}}`, "settings_invalid"},
		{"PATCH", "/environments/Acme", `{"settings":{"max_factors_per_user":true,"delete_requires_challenge":7}}`, "settings_invalid settings_invalid"},
		{"PATCH", "/environments/Acme", `{"settings":{"max_factors_per_user":"7","delete_requires_challenge":""}}`, "settings_invalid settings_invalid"},
		{"PATCH", "/environments/Acme", `{"settings":{"max_factors":5}}`, "settings_unknown_key"},
		{"PATCH", "/environments/Acme", `{"settings":[]}`, "settings_not_an_object"},
		{"PATCH", "/environments/Acme", `{}`, "settings_required"},
		{"POST", "/keys", `{"scopes":"api","expires_at":"soon","environment":1}`, "expires_at_not_a_time scopes_not_a_list_of_strings environment_not_a_string"},
		{"POST", "/keys", `{"scopes":[null]}`, "scopes_not_a_list_of_strings"},
		{"POST", "/keys", `{"scopes":["write"]}`, "scopes_unknown"},
		{"POST", "/keys", `{"scopes":["api","operator:read"],"expires_at":"2020-01-01T00:00:00Z","name":"\t"}`, "name_invalid scopes_mixed expires_at_out_of_range"},
		{"POST", "/keys", `{}`, "environment_required"},
		{"PATCH", "/keys/" + string(w.acme.apiKey.ID), `{"name":1,"scopes":["api"]}`, "name_not_a_string body_unknown_key"},
		{"PATCH", "/keys/" + string(w.acme.apiKey.ID), `{"name":"a\tb"}`, "name_invalid"},
		{"POST", "/factors/" + w.acme.factor + "/suspend", `{}`, "reason_required"},
		{"POST", "/factors/" + w.acme.factor + "/resume", ``, "reason_required"},
		{"POST", "/factors/" + w.acme.factor + "/unlock", `{"reason":1}`, "reason_not_a_string"},
		{"POST", user + "/unlock", `{"reason":null}`, "reason_required"},
		{"POST", user + "/erase", `{"reason":""}`, "reason_required"},
		{"POST", user + "/bypass_code", `{"ttl_seconds":0,"reason":"x"}`, "ttl_seconds_out_of_range"},
		{"POST", user + "/bypass_code", `{"ttl_seconds":3601,"reason":"x"}`, "ttl_seconds_out_of_range"},
		{"POST", user + "/bypass_code", `{"ttl_seconds":"x"}`, "ttl_seconds_not_a_whole_number reason_required"},
		{"POST", "/factors/" + w.acme.factor + "/remove", `{}`, "reason_required"},
		{"POST", hooks, `{"events":[]}`, "endpoint_url_required"},
		{"POST", hooks, `{"endpoint_url":"https://example.com/x"}`, "events_required"},
		{"POST", hooks, `{"endpoint_url":"https://example.com/x","events":["x"]}`, "events_unknown_type"},
		{"POST", hooks, `{"endpoint_url":1,"events":1}`, "endpoint_url_not_a_string events_not_a_list_of_strings"},
		{"PATCH", hooks + "/" + w.acme.endpoint, `{"status":1}`, "status_not_a_string"},
		{"PATCH", hooks + "/" + w.acme.endpoint, `{"status":"x"}`, "status_unknown"},
		{"POST", hooks + "/" + w.acme.endpoint + "/replay", `{}`, "from_required"},
		{"POST", hooks + "/" + w.acme.endpoint + "/replay", `{"from":"x","to":1,"only_failed":1}`, "from_not_a_time to_not_a_string only_failed_not_true_or_false"},
		{"POST", hooks + "/" + w.acme.endpoint + "/replay", `{"from":"2099-01-01T00:00:00Z"}`, "from_out_of_range"},
		{"POST", hooks + "/" + w.acme.endpoint + "/replay", `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`, "to_out_of_range"},
		{"POST", hooks + "/" + w.acme.endpoint + "/rotate_secret", `{"overlap_seconds":1.5}`, "overlap_seconds_not_a_whole_number"},
		{"POST", hooks + "/" + w.acme.endpoint + "/rotate_secret", `{"overlap_seconds":-1}`, "overlap_seconds_out_of_range"},
		{"POST", "/operators", `{}`, "name_required"},
		{"POST", "/operators", `{"name":1,"role":1}`, "name_not_a_string role_not_a_string"},
		{"POST", "/operators", `{"name":"a/b","role":"root"}`, "name_invalid role_unknown"},
		{"PATCH", "/operators/grace", `{"role":"root","status":"gone","sessions":0}`, "role_unknown status_unknown body_unknown_key"},
		{"POST", "/operators/grace/sign_out", `{"session_id":7}`, "session_id_not_a_string"},
		{"GET", "/operators/grace/sessions?after=x", ``, "after_invalid_cursor"},
		{"POST", "/environments/Production/messages/send_test", `{}`, "phone_number_required"},
		{"POST", "/environments/Production/messages/send_test", `{"phone_number":1}`, "phone_number_not_a_string"},
		{"POST", "/environments/Production/messages/send_test", `{"phone_number":"911"}`, "phone_number_invalid"},
		{"POST", "/environments/Acme/messages/release", `{}`, "prefix_required"},
		{"POST", "/environments/Acme/messages/release", `{"prefix":1}`, "prefix_not_a_string"},
		{"GET", "/environments?limit=0&order=x&after=x&before=y&page=1", ``, "limit_out_of_range order_unsupported after_invalid_cursor before_invalid_cursor query_unknown_parameter"},
		{"GET", "/environments?limit=%", ``, "query_unreadable"},
		{"GET", "/me?x=y", ``, "query_unknown_parameter"},
		{"GET", hooks + "?after=x", ``, "after_invalid_cursor"},
		{"GET", hooks + "/" + w.acme.endpoint + "/attempts?after=x&limit=101", ``, "limit_out_of_range after_invalid_cursor"},
		{"GET", "/environments/Acme/events?events=x&range_start=x&range_end=x&factor_id=x&challenge_id=x&caller=x&after=x", ``,
			"events_unknown_type range_start_invalid range_end_invalid factor_id_invalid challenge_id_invalid caller_invalid after_invalid_cursor"},
		{"GET", "/environments/Acme/statistics?since=x&until=y", ``, "since_invalid until_invalid"},
		{"GET", "/environments/Acme/statistics?step=x", ``, "step_unknown"},
		{"GET", "/environments/Acme/statistics/messages?step=x", ``, "step_unknown"},
		{"POST", "/environments/Acme/find", `{"text":""}`, "text_required"},
		{"POST", "/environments/Acme/find", `{"text":1}`, "text_not_a_string"},
		{"GET", "/environments/Acme/statistics?since=2000-01-01T00:00:00Z&step=hour", ``, "step_too_short"},
		{"GET", "/environments/Acme/statistics?since=2026-03-28T00:00:00Z&until=2026-03-27T00:00:00Z", ``, "since_not_before_until"},
		{"GET", "/environments/Acme/events?range_start=2026-03-28T00:00:00Z&range_end=2026-03-27T00:00:00Z", ``, "range_end_before_start"},
	} {
		r := w.do(tc.method, tc.path, tc.body).says(http.StatusUnprocessableEntity, "invalid_request_parameters")
		var got []string
		for _, e := range r.at("errors").([]any) {
			code := e.(map[string]any)["code"].(string)
			got, seen[code] = append(got, code), true
		}
		want := strings.Fields(tc.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s %s %s: %q; want %q", tc.method, tc.path, tc.body, got, want)
		}
	}
	r := w.do("POST", "/environments", `{"name":"x","kind":"sandbox"}`, "Idempotency-Key: "+strings.Repeat("k", 256)).is(http.StatusUnprocessableEntity)
	seen[r.at("errors").([]any)[0].(map[string]any)["code"].(string)] = true
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(seen)), d.Part(operatorapi.Prefix+"/").FieldCodes(); !slices.Equal(got, want) {
		t.Errorf("answered:\n%s\ndocumented:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, body := range []string{`{`, `[]`, `1`, `"x"`, `{"a":1}x`, "{\"name\":\"\xff\"}", `null`} {
		if r := w.do("POST", "/environments", body); r.status != http.StatusBadRequest || r.text("code") != "invalid_json" {
			t.Errorf("a body %q: %d %s", body, r.status, r.body)
		}
	}
	w.do("POST", "/environments", strings.Repeat(" ", 64<<10+1)).says(http.StatusRequestEntityTooLarge, "request_too_large")
}

func TestTheRateLimitIsPerKey(t *testing.T) {
	w := newFixture(t)
	var last reply
	for range limit + 1 {
		last = w.do("GET", "/me", "")
	}
	if last.says(http.StatusTooManyRequests, "rate_limit_exceeded"); last.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	w.key, _ = w.newKey(mfa.Environment{}, access.ScopeOperatorRead)
	w.do("GET", "/me", "").is(http.StatusOK)
}

func FuzzRequests(f *testing.F) {
	w := newFixture(f)
	for i, pattern := range w.patterns() {
		f.Add(i, bodies[pattern], "limit=1&order=asc&after=x")
		f.Add(i, `{"reason":"x","events":["factor.locked"],"from":"2026-01-01T00:00:00Z","n":[1,{"a":null}]}`, "events=factor.locked,factor.deleted&range_start=2026-01-01T00:00Z")
	}
	patterns := w.patterns()
	f.Fuzz(func(t *testing.T, i int, body, query string) {
		w.clock.Advance(1e9) // for the rate limit
		method, path, _ := strings.Cut(patterns[uint(i)%uint(len(patterns))], " ")
		r := direct(w, method, w.acme.in(path)+"?"+query, body)
		if r.Code >= 500 {
			t.Errorf("%s %s?%s %s: %d %s", method, path, query, body, r.Code, r.Body)
		}
		if r.Code == http.StatusUnauthorized {
			t.Error(fmt.Sprint("the key is not valid any more: ", r.Body))
		}
	})
}
