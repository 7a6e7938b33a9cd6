package eventsink_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventsink"
)

func open(t *testing.T, setting string, header http.Header) eventsink.Target {
	t.Helper()
	to, err := eventsink.Open(setting, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	return to
}

func put(t *testing.T, to eventsink.Target, lines ...string) {
	t.Helper()
	var all [][]byte
	for _, line := range lines {
		all = append(all, []byte(line+"\n"))
	}
	if err := to.Write(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAFileThatIsRenamedIsCreatedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	to := open(t, "file:"+path, nil)
	put(t, to, "1", "2")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put(t, to, "3")
	if err := os.Truncate(path, 0); err != nil { // copytruncate of logrotate
		t.Fatal(err)
	}
	put(t, to, "4")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put(t, to, "5")
	if a, b := content(t, path+".1"), content(t, path); a != "1\n2\n" || b != "5\n" {
		t.Errorf("the files have %q and %q", a, b)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v; want 0600", info.Mode(), err)
	}
}

func TestALineThatACrashCutOffEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte("1\n{\"torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, "file:"+path, nil), "2")
	put(t, open(t, "file:"+path, nil), "3")
	if got := content(t, path); got != "1\n{\"torn\n2\n3\n" {
		t.Errorf("the file has %q", got)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ setting, want string }{
		{"", "not stdout, file:PATH or an https URL"},
		{"file:", "not stdout"},
		{"events.jsonl", "not stdout"},
		{"ftp://example.com", "not stdout"},
		{"http://example.com/secret", "unencrypted to example.com"},
		{"https://user:hunter2@example.com", "has a password"},
		{"file:" + dir, "not a regular file"},
		{"file:" + dir + "/missing/events.jsonl", "no such file"},
	} {
		_, err := eventsink.Open(tc.setting, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "/secret") {
			t.Errorf("Open(%q) = %v; want %q", tc.setting, err, tc.want)
		}
	}
	if _, err := eventsink.Open("file:"+dir+"/missing/events.jsonl", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open = %v", err)
	}
	open(t, "https://example.com/services/collector/raw", nil)
	open(t, "http://127.0.0.1:8080/", nil)
	open(t, "http://[::1]:8080/", nil)
	open(t, "stdout", nil)
}

func TestAPostHasTheLinesAndTheHeaders(t *testing.T) {
	var body, auth, kind string
	status, header := http.StatusOK, http.Header{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body, auth, kind = r.Method+" "+r.URL.String()+" "+string(text), r.Header.Get("Authorization"), r.Header.Get("Content-Type")
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	to := open(t, server.URL+"/in?token=hunter2", http.Header{"Authorization": {"Splunk hunter3"}})
	put(t, to, "1", "2")
	if body != "POST /in?token=hunter2 1\n2\n" || auth != "Splunk hunter3" || kind != "application/x-ndjson" {
		t.Errorf("received %q, %q, %q", body, auth, kind)
	}
	if name := to.String(); strings.Contains(name, "hunter") {
		t.Errorf("the name is %s", name)
	}
	for _, tc := range []struct {
		status int
		header http.Header
		want   string
		after  time.Duration
	}{
		{http.StatusFound, http.Header{"Location": {server.URL}}, "answers 302", 0},
		{http.StatusForbidden, nil, "answers 403", 0},
		{http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}}, "answers 429", 7 * time.Second},
		{http.StatusServiceUnavailable, http.Header{"Retry-After": {"999999999"}}, "answers 503", 5 * time.Minute},
		{http.StatusServiceUnavailable, http.Header{"Retry-After": {"-1"}}, "answers 503", 0},
		{http.StatusRequestEntityTooLarge, nil, eventsink.ErrTooLarge.Error(), 0},
	} {
		status, header = tc.status, tc.header
		err := to.Write(t.Context(), [][]byte{[]byte("3\n")})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("with status %d, Write = %v; want %q", tc.status, err, tc.want)
		}
		var after time.Duration
		if e, ok := errors.AsType[*eventsink.RetryError](err); ok {
			after = e.After
		}
		if after != tc.after {
			t.Errorf("with status %d the pause is %v; want %v", tc.status, after, tc.after)
		}
	}
	server.Close()
	if err := to.Write(t.Context(), [][]byte{[]byte("4\n")}); err == nil || strings.Contains(err.Error(), "hunter") {
		t.Errorf("without a receiver, Write = %v", err)
	}
}
