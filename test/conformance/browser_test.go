package conformance_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBrowser opens the pages of countersign dev in Chromium. With
// COUNTERSIGN_SCREENSHOTS it leaves pictures in the directory of that name.
func TestBrowser(t *testing.T) {
	t.Parallel()
	node := tool(t, "node")
	chromium := tool(t, "chromium")
	installed(t, "node", "node_modules")

	// A message that would do harm if it were more than text must get past the server.
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
