package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/browser"
)

func ask(t *testing.T, method string, header http.Header) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, "/js/countersign.js", nil)
	r.Header = header
	w := httptest.NewRecorder()
	browser.ServeModule(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestTheModuleIsSmallAndMayBeImportedByEveryPage(t *testing.T) {
	r, body := ask(t, http.MethodGet, http.Header{})
	if r.StatusCode != http.StatusOK {
		t.Fatalf("status %d", r.StatusCode)
	}
	if len(body) >= 4000 {
		t.Errorf("the module has %d bytes; it must have less than 4,000", len(body))
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Cache-Control":                "public, max-age=3600",
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"X-Content-Type-Options":       "nosniff",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q; want %q", name, got, want)
		}
	}
	for _, export := range []string{"CeremonyError", "supported", "cancel", "register", "authenticate", "forget", "clean", "codeInput"} {
		if !strings.Contains(body, " "+export) {
			t.Errorf("the module has no %s", export)
		}
	}
}

func TestTheModuleHasNoCommentsAndNoTextOverSeveralLines(t *testing.T) {
	_, body := ask(t, http.MethodGet, http.Header{})
	if strings.Contains(body, "`") || strings.Contains(body, "/*") || strings.Contains(body, "\n ") {
		t.Error("the served text has template literals, comments or indentation")
	}
}

func TestABrowserAsksWhetherItsCopyIsCurrent(t *testing.T) {
	r, _ := ask(t, http.MethodGet, http.Header{})
	etag := r.Header.Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	for _, current := range []string{etag, "W/" + etag, `"another", ` + etag} { // proxies that compress make it weak
		r, body := ask(t, http.MethodGet, http.Header{"If-None-Match": {current}})
		if r.StatusCode != http.StatusNotModified || body != "" || r.Header.Get("ETag") != etag {
			t.Errorf("%s, the current copy: %d %q", current, r.StatusCode, body)
		}
	}
	r, body := ask(t, http.MethodGet, http.Header{"If-None-Match": {`"another"`}})
	if r.StatusCode != http.StatusOK || body == "" {
		t.Errorf("another copy: %d", r.StatusCode)
	}
}

func TestHeadHasTheLengthAndNoBody(t *testing.T) {
	_, full := ask(t, http.MethodGet, http.Header{})
	r, body := ask(t, http.MethodHead, http.Header{})
	if got := r.Header.Get("Content-Length"); body != "" || got != strconv.Itoa(len(full)) {
		t.Errorf("length %s, body %q; want %d and no body", got, body, len(full))
	}
}
