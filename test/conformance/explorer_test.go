package conformance_test

import (
	"os"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestExplorer sends requests from the API explorer of dev in Chromium.
func TestExplorer(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	s := start(t)
	env := []string{"COUNTERSIGN_URL=" + s.URL, "COUNTERSIGN_API_KEY=" + s.APIKey, "COUNTERSIGN_CHROMIUM=" + chromium}
	if dir := os.Getenv("COUNTERSIGN_SCREENSHOTS"); dir != "" {
		env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
	}
	run(t, func(line) {}, "node", env, node, "explorer.mjs")
}
