package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

// TestAFileOfModelsMustBeThatOfTheFIDOAlliance starts no server with another file.
func TestAFileOfModelsMustBeThatOfTheFIDOAlliance(t *testing.T) {
	if m, err := readModels("", time.Now(), slog.Default()); m != nil || err != nil {
		t.Errorf("without a file: %v, %v", m, err)
	}
	root := passkeytest.NewRoot(t)
	forged := root.Host(t, "mds.fidoalliance.org").List(t, time.Now(), []passkeytest.Model{{AAGUID: "ee882879-721c-4913-9775-3dfcce97072a", Root: root}}, root)
	file := filepath.Join(t.TempDir(), "blob.jwt")
	for name, content := range map[string][]byte{"forged": forged, "empty": nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readModels(file, time.Now(), slog.Default()); m != nil || err == nil || !strings.Contains(err.Error(), "--webauthn-mds: "+file) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := readModels(file+".missing", time.Now(), slog.Default()); err == nil || !strings.Contains(err.Error(), "--webauthn-mds: open ") {
		t.Errorf("a missing file: %v", err)
	}
}
