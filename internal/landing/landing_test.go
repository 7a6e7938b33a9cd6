package landing

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestProgramsAreThoseOfTheDocuments(t *testing.T) {
	text, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(examples) != 8 {
		t.Errorf("%d examples; want 8 languages", len(examples))
	}
	for _, e := range examples {
		_, section, ok := strings.Cut(string(text), "<!-- begin example "+e.Example+" -->\n")
		section, _, end := strings.Cut(section, "<!-- end example ")
		if !ok || !end {
			t.Errorf("docs/clients.md has no example %q", e.Example)
			continue
		}
		if _, code, _ := strings.Cut(section, "```"); !strings.HasSuffix(code, "\n```\n") || code[strings.Index(code, "\n")+1:len(code)-4] != e.Program {
			t.Errorf("snippets/%s is not the example %q of docs/clients.md; copy it", e.file, e.Example)
		}
		for _, version := range regexp.MustCompile(`\d+\.\d+\.\d+`).FindAllString(e.Install, -1) {
			if !strings.Contains(string(text), " "+version+" |") {
				t.Errorf("%s: docs/clients.md has no tested version %s", e.Language, version)
			}
		}
		if e.Save == "" || e.Run == "" {
			t.Errorf("%s: the page does not explain how to run the program", e.Language)
		}
	}
}

func get(t *testing.T, host, remote string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	p := New(Options{Key: func() string { return "sk_test_known_key" }, Environment: "sandbox"})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.RemoteAddr = host, remote
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestThePageShowsItsKeyOnlyOnItsOwnMachine(t *testing.T) {
	for _, tc := range []struct {
		remote string
		shown  bool
	}{
		{"127.0.0.1:5000", true},
		{"[::1]:5000", true},
		{"@", false}, // a Unix socket, whose client may be a proxy
		{"192.0.2.7:5000", false},
		{"[2001:db8::1]:5000", false},
		{"localhost:5000", false}, // a name is not the address of a peer
	} {
		w := get(t, "127.0.0.1:4100", tc.remote)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "sk_test_known_key") != tc.shown {
			t.Errorf("to %s the page is %d, with the key %v; want %v", tc.remote, w.Code, !tc.shown, tc.shown)
		}
	}
}

func TestThePageHidesItsKeyBehindAProxy(t *testing.T) {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"} {
		w := get(t, "127.0.0.1:4100", "127.0.0.1:5000", header, "203.0.113.9")
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "sk_test_known_key") {
			t.Errorf("with %s the page is %d, with the key", header, w.Code)
		}
	}
}

func TestOtherSitesCannotReadThePage(t *testing.T) {
	const local = "127.0.0.1:5000"
	if w := get(t, "evil.example", local); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "sk_test_") {
		t.Errorf("under the name of another site the answer is %d", w.Code)
	}
	if w := get(t, "127.0.0.1:4100", local, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"); w.Code != http.StatusForbidden {
		t.Errorf("a script of another site gets %d", w.Code)
	}
	w := get(t, "127.0.0.1:4100", local)
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	if again := get(t, "127.0.0.1:4100", local).Header().Get("Content-Security-Policy"); again == policy {
		t.Error("two pages have the same nonce")
	}
}
