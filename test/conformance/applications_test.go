package conformance_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// applications are the directories in examples, and how each starts.
var applications = map[string]func(t *testing.T, dir string) *exec.Cmd{
	"web-node": func(t *testing.T, dir string) *exec.Cmd {
		modules := filepath.Join(dir, "node_modules", "@workos-inc")
		if err := os.MkdirAll(modules, 0o700); err != nil {
			t.Fatal(err)
		}
		library, err := filepath.Abs(filepath.Join("node", "node_modules", "workos-newest"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(library, filepath.Join(modules, "node")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		return exec.Command(testenv.Tool(t, "node"), "server.mjs")
	},
	"web-python": func(t *testing.T, _ string) *exec.Cmd {
		cmd := exec.Command(testenv.Tool(t, "python3"), "-B", "-S", "server.py")
		cmd.Env = []string{workosOf(t, "10.8.0")}
		return cmd
	},
}

// Readers must be able to read an example in a few minutes.
func TestApplicationsHaveLessThan200LinesOfCode(t *testing.T) {
	for _, file := range []string{"web-node/server.mjs", "web-python/server.py"} {
		source, err := os.ReadFile(filepath.Join("..", "..", "examples", file))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for line := range strings.Lines(string(source)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") && !strings.HasPrefix(line, "#") {
				count++
			}
		}
		if count >= 200 {
			t.Errorf("%s has %d lines of code", file, count)
		}
	}
}

// The examples pin the newest tested versions of the libraries.
func TestApplicationsUseTestedVersions(t *testing.T) {
	for file, want := range map[string]string{
		"web-node/package.json":       `"@workos-inc/node": "11.0.0"`,
		"web-python/requirements.txt": "workos==10.8.0",
	} {
		content, err := os.ReadFile(filepath.Join("..", "..", "examples", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), want) {
			t.Errorf("%s does not have %s", file, want)
		}
	}
	pinned, err := os.ReadFile("node/package.json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(pinned), `"workos-newest": "npm:@workos-inc/node@11.0.0"`) {
		t.Error("the newest tested version of the Node library is another one: update examples/web-node")
	}
}

// TestApplications drives each example application in Chromium. If
// COUNTERSIGN_SCREENSHOTS names a directory, the test saves screenshots there.
func TestApplications(t *testing.T) {
	t.Parallel()
	for name, command := range applications {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := testenv.Tool(t, "node")
			chromium := testenv.Tool(t, "chromium")
			installed(t, "node", "node_modules")
			s := start(t)
			env := []string{"COUNTERSIGN_URL=" + s.URL, "COUNTERSIGN_CHROMIUM=" + chromium, "COUNTERSIGN_APPLICATION=" + application(t, name, s, command)}
			if dir := os.Getenv("COUNTERSIGN_SCREENSHOTS"); dir != "" {
				dir, err := filepath.Abs(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				env = append(env, "COUNTERSIGN_SCREENSHOTS="+dir)
			}
			run(t, func(line) {}, "node", env, node, "application.mjs", name)
		})
	}
}

// TestApplicationsSayWhatIsWrong starts each application with settings that cannot work. It ends with one line.
func TestApplicationsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	installed(t, "node", "node_modules")
	s := start(t)
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, command := range applications {
		dir := copyOf(t, name)
		for _, tc := range []struct{ problem, url, key, want string }{
			{"no settings", "", "", "Set COUNTERSIGN_URL and COUNTERSIGN_API_KEY: 'make run' prints both."},
			{"no key", s.URL, "", "Set COUNTERSIGN_URL and COUNTERSIGN_API_KEY: 'make run' prints both."},
			{"wrong key", s.URL, "sk_test_wrong", "Countersign does not accept COUNTERSIGN_API_KEY. Use the key that 'make run' prints."},
			{"no server", gone.URL, s.APIKey, "Countersign does not answer at " + gone.URL + ". Start it with 'make run', or correct COUNTERSIGN_URL."},
			{"no URL", "countersign", s.APIKey, "Countersign does not answer at countersign. Start it with 'make run', or correct COUNTERSIGN_URL."},
			{"another server", page.URL, s.APIKey, "Countersign at " + page.URL + " answers with status 404. Correct COUNTERSIGN_URL."},
		} {
			t.Run(name+", "+tc.problem, func(t *testing.T) {
				cmd := command(t, dir)
				cmd.Dir = dir
				cmd.Env = append(executable.Environment(), append(cmd.Env, "COUNTERSIGN_URL="+tc.url, "COUNTERSIGN_API_KEY="+tc.key)...)
				out, err := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != 1 || string(out) != tc.want+"\n" {
					t.Errorf("%v with the text %q; want status 1 and %q", err, out, tc.want)
				}
			})
		}
	}
}

// copyOf returns the directory of a copy of an example.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{name, "public"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("..", "..", "examples", part))); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}

// application starts a copy of an example until the test ends, and returns its origin.
func application(t *testing.T, name string, s server, command func(*testing.T, string) *exec.Cmd) string {
	t.Helper()
	dir := copyOf(t, name)
	cmd := command(t, dir)
	cmd.Dir = dir
	cmd.Env = append(executable.Environment(), append(cmd.Env, "COUNTERSIGN_URL="+s.URL, "COUNTERSIGN_API_KEY="+s.APIKey, "PORT=0", "USERS="+filepath.Join(dir, "users.json"))...)
	var log bytes.Buffer // read only after the process has ended
	cmd.Stderr = io.MultiWriter(logcapture.Log(t, t.Name()), &log)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the end of the log of the application:\n%s", lastLines(log.Bytes(), 40))
		}
	})
	ready := make(chan string, 1)
	go func() {
		said, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- said
		io.Copy(io.Discard, stdout)
	}()
	select {
	case said := <-ready:
		origin, ok := strings.CutPrefix(strings.TrimSpace(said), "Listening on ")
		if !ok {
			t.Fatalf("the application said %q", said)
		}
		return origin
	case <-time.After(time.Minute):
		t.Fatal("the application was not ready within a minute")
	}
	return ""
}
