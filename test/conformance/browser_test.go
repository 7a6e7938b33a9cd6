package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestBrowser opens the pages of countersign dev in Chromium. If
// COUNTERSIGN_SCREENSHOTS names a directory, the test saves screenshots there.
func TestBrowser(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")

	// The server must send a message that would be harmful if it were rendered as
	// anything but text.
	rules := filepath.Join(t.TempDir(), "sms.yaml")
	if err := os.WriteFile(rules, []byte("links: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--sms", rules)
	env := []string{
		"COUNTERSIGN_URL=" + s.URL,
		"COUNTERSIGN_API_KEY=" + s.APIKey,
		"COUNTERSIGN_CHROMIUM=" + chromium,
	}
	if dir := os.Getenv("COUNTERSIGN_SCREENSHOTS"); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
	}
	run(t, func(line) {}, "node", env, node, "browser.mjs")
}
