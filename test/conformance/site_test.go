package conformance_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	buildSite(t, node, source, "build.mjs", dir)
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

	// The builds of a site use one folder, so they follow one another.
	t.Run("versions", func(t *testing.T) { siteOfVersions(t, node, source) })
}

// buildSite runs a script of tools/site.
func buildSite(t *testing.T, node, source, script, dir string, env ...string) {
	t.Helper()
	build := exec.CommandContext(t.Context(), node, script, dir)
	build.Dir = source
	build.Env = append(os.Environ(), env...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the site cannot be built: %v\n%s", err, out)
	}
}

// siteOfVersions builds the sites of a small repository with a release, and follows their menus.
func siteOfVersions(t *testing.T, node, source string) {
	t.Helper()
	repo, out := t.TempDir(), t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=test", "-c", "user.email=test@example.com", "-C", repo}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "--quiet")
	for _, version := range []string{"0.1.0", "0.2.0"} {
		for name, text := range map[string]string{
			"CHANGELOG.md": "# Changelog\n\n## " + version, "SECURITY.md": "# Security", "CONTRIBUTING.md": "# Contributing", "docs/integrating.md": "# Integrating",
			"docs/errors.md": "# Errors", "docs/testing.md": "# Testing", "tools/site/index.md": "# Countersign",
			"openapi.yaml": "info: {version: " + version + ", description: A server.}\ntags: [{name: Factors, description: Factors.}]\npaths: {}\n",
		} {
			name = filepath.Join(repo, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(text+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		git("add", ".")
		git("commit", "--quiet", "--message", version)
		if version != "0.2.0" { // which is not released yet
			git("tag", "v"+version)
		}
	}
	buildSite(t, node, source, "versions.mjs", out, "SITE_ROOT="+repo, "SITE_BASE=/handbook/")
	for folder, version := range map[string]string{"": "0.2.0", "v0.1.0": "0.1.0"} {
		changes, err := os.ReadFile(filepath.Join(out, folder, "CHANGELOG.html"))
		if err != nil || !strings.Contains(string(changes), version+" <a class=\"header-anchor\"") {
			t.Errorf("the changes in %q are not those of %s: %v", folder, version, err)
		}
		var others []string
		for _, link := range regexp.MustCompile(`href="([^"]*)" target="_self"`).FindAllStringSubmatch(string(changes), -1) {
			to, err := url.JoinPath(link[1]) // resolves ".."
			if err != nil {
				t.Fatal(err)
			}
			if to = strings.TrimSuffix(to, "/") + "/"; !slices.Contains(others, to) {
				others = append(others, to)
			}
		}
		if want := []string{"/handbook/", "/handbook/v0.1.0/"}; !slices.Equal(others, want) {
			t.Errorf("the menu of %q leads to %q; want %q", folder, others, want)
		}
	}
	policy, err := os.ReadFile(filepath.Join(out, "content-security-policy.txt"))
	if err != nil || !strings.Contains(string(policy), "'sha256-") {
		t.Errorf("the policy is %q, %v", policy, err)
	}
	if trees, err := exec.CommandContext(t.Context(), "git", "-C", repo, "worktree", "list").Output(); err != nil || strings.Count(string(trees), "\n") != 1 {
		t.Errorf("the build leaves work trees: %s, %v", trees, err)
	}
}
