package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestLanding opens the first page of dev in Chromium.
func TestLanding(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	s := start(t)
	env := []string{"COUNTERSIGN_URL=" + s.URL, "COUNTERSIGN_API_KEY=" + s.APIKey, "COUNTERSIGN_CHROMIUM=" + chromium}
	if dir := os.Getenv("COUNTERSIGN_SCREENSHOTS"); dir != "" {
		env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
	}
	if *writeScreenshots {
		dir, err := filepath.Abs("../../docs/console")
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, "COUNTERSIGN_PICTURES="+dir)
	}
	run(t, func(line) {}, "node", env, node, "landing.mjs")
}
