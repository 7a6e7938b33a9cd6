package conformance_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

var writeScreenshots = flag.Bool("screenshots", false, "write the screenshots of docs/console.md again")

// TestConsole opens every page of the console in Chromium. console.mjs has an address for
// each route: a page without one fails the test.
func TestConsole(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")

	var pages []string
	for _, route := range new(console.Console).Routes() {
		if path, ok := strings.CutPrefix(route.Pattern, http.MethodGet+" "); ok {
			pages = append(pages, path)
		}
	}
	routes, err := json.Marshal(pages)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	env := []string{
		"COUNTERSIGN_URL=" + s.URL,
		"COUNTERSIGN_API_KEY=" + s.APIKey,
		"COUNTERSIGN_CHROMIUM=" + chromium,
		"COUNTERSIGN_ROUTES=" + string(routes),
	}
	dir := os.Getenv("COUNTERSIGN_SCREENSHOTS")
	if *writeScreenshots {
		dir = filepath.Join("..", "..", "docs", "console")
	}
	if dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
	}
	run(t, func(line) {}, "node", env, node, "console.mjs")
}
