package conformance_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestBrowserModule imports /js/countersign.js in Chromium.
func TestBrowserModule(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	s := start(t)
	env := []string{"COUNTERSIGN_URL=" + s.URL, "COUNTERSIGN_API_KEY=" + s.APIKey, "COUNTERSIGN_CHROMIUM=" + chromium}
	run(t, func(line) {}, "node", env, node, "module.mjs")
}
