package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestTheConsoleShowsTheSystem reads the page about a server in development.
func TestTheConsoleShowsTheSystem(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.Inbox = true
	cfg.BackupDir, cfg.BackupEvery, cfg.BackupKeep = t.TempDir(), time.Hour, 3
	s := start(t, cfg)
	r := httptest.NewRequest(http.MethodGet, "http://localhost/console/system", nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /console/system = %d", w.Code)
	}
	for _, want := range []string{">ready</span>", "sqlite:", "none in progress", "Waiting for another attempt", "<h2>Backups</h2>", "<dt>Newest</dt>", "plain HTTP"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
}
