package explorer

import (
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func openapi(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func get(t *testing.T, text []byte, remote string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/dev/explorer", nil)
	r.Host, r.RemoteAddr = "127.0.0.1:4100", remote
	w := httptest.NewRecorder()
	New(Options{OpenAPI: text, Key: func() string { return "sk_test_known_key" }}).ServeHTTP(w, r)
	return w
}

func TestThePageHasEveryOperation(t *testing.T) {
	text := openapi(t)
	groups, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	body := get(t, text, "127.0.0.1:5000").Body.String()
	found := 0
	for _, g := range groups {
		for _, op := range g.Operations {
			found++
			if op.ID == "" || op.Summary == "" || len(op.Description) == 0 {
				t.Errorf("%s %s has no id, summary or description", op.Method, op.Path)
			}
			if n := strings.Count(op.Path, "{"); n != countIn(op.Parameters, "path") {
				t.Errorf("%s %s has %d parameters in its path; the page has %d", op.Method, op.Path, n, countIn(op.Parameters, "path"))
			}
			if !strings.Contains(body, `<details id="`+op.ID+`"`) || !strings.Contains(body, html.EscapeString(op.Summary)) {
				t.Errorf("the page has no %s, %q", op.ID, op.Summary)
			}
		}
	}
	paths, _, _ := strings.Cut(string(text), "\ncomponents:")
	if want := strings.Count(paths, "\n      operationId: "); found != want {
		t.Errorf("the page has %d operations; openapi.yaml has %d", found, want)
	}
}

func countIn(all []parameter, in string) (n int) {
	for _, p := range all {
		if p.In == in {
			n++
		}
	}
	return n
}

func TestCommandsHaveTheExamples(t *testing.T) {
	groups, err := read(openapi(t))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"verifyChallenge": `curl -X POST 'http://127.0.0.1:4100/auth/challenges/auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M/verify' \
  -H "Authorization: Bearer $COUNTERSIGN_API_KEY" \
  -H 'Content-Type: application/json' \
  -d '{
  "code": "123456"
}'`,
		"getFactor": `curl 'http://127.0.0.1:4100/auth/factors/auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M' \
  -H "Authorization: Bearer $COUNTERSIGN_API_KEY"`,
		"getHealth": `curl 'http://127.0.0.1:4100/healthz'`,
	} {
		found := false
		for _, g := range groups {
			for _, op := range g.Operations {
				if op.ID == id {
					found = true
					if got := op.Curl("http://127.0.0.1:4100"); got != want {
						t.Errorf("%s is\n%s\nwant\n%s", id, got, want)
					}
				}
			}
		}
		if !found {
			t.Errorf("openapi.yaml has no operation %s", id)
		}
	}
}

func TestThePageShowsItsKeyOnlyOnItsOwnMachine(t *testing.T) {
	text := openapi(t)
	for remote, shown := range map[string]bool{"127.0.0.1:5000": true, "192.0.2.7:5000": false} {
		w := get(t, text, remote)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "sk_test_known_key") != shown {
			t.Errorf("to %s the page is %d, with the key %v; want %v", remote, w.Code, !shown, shown)
		}
	}
}

func TestAWrongDocumentIsAnError(t *testing.T) {
	for _, text := range []string{
		"", "a: [", "paths: {/a: {get: {tags: [None]}}}", "paths: {/a: {get: {}}}",
		"tags: [{name: A}]\npaths: {/a: {get: {tags: [A], requestBody: {content: {application/json: {example: !!int x}}}}}}",
	} {
		if _, err := read([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), "read openapi.yaml: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if w := get(t, []byte("a: ["), "127.0.0.1:5000"); w.Code != http.StatusInternalServerError {
		t.Errorf("the page of a wrong document is %d", w.Code)
	}
}
