package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestSite builds the site of the documents, which fails on a dead link, and opens pages of each
// kind in Chromium, with the content security policy that the build computes.
func TestSite(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	source, err := filepath.Abs("../../tools/site")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(source, "node_modules")); err != nil {
		testenv.Missing(t, err)
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), node, "build.mjs", dir)
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the site cannot be built: %v\n%s", err, out)
	}
	policy, err := os.ReadFile(filepath.Join(dir, "content-security-policy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", strings.TrimSpace(string(policy)))
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	env := []string{"COUNTERSIGN_URL=" + srv.URL, "COUNTERSIGN_CHROMIUM=" + chromium}
	if dir := os.Getenv("COUNTERSIGN_SCREENSHOTS"); dir != "" {
		env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
	}
	run(t, func(line) {}, "node", env, node, "site.mjs")
}
