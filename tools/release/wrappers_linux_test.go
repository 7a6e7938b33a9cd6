package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

func TestNPMInstallsTheProgram(t *testing.T) {
	npm := testenv.Tool(t, "npm")
	out, dir := released(t), t.TempDir()
	run := func(name string, args ...string) string { return runIn(t, dir, name, args...) }
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run(npm, "install", "--offline", "--no-audit", "--no-fund", "--cache", filepath.Join(dir, "cache"),
		filepath.Join(out, "countersign-"+version+".tgz"), filepath.Join(out, "countersign-mfa-linux-x64-"+version+".tgz"))
	if got := run(testenv.Tool(t, "npx"), "--offline", "countersign", "version"); !strings.Contains(got, version) {
		t.Errorf("npx countersign version says %q", got)
	}
	starts(t, dir, filepath.Join(dir, "node_modules/.bin/countersign"))

	// The program of docs/testing.md, which a test suite has before its tests.
	_, suite, _ := strings.Cut(string(readFile(t, filepath.Join(repository, "docs/testing.md"))), "## In a test suite")
	_, suite, _ = strings.Cut(suite, "```js\n")
	suite, _, ok := strings.Cut(suite, "```\n")
	if !ok {
		t.Fatal("docs/testing.md has no program for a test suite")
	}
	suite += "console.log(\"reset\", (await reset()).status, \"exit\", (await stop())[0]);\n"
	if err := os.WriteFile(filepath.Join(dir, "suite.mjs"), []byte(suite), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(testenv.Tool(t, "node"), "suite.mjs"); !strings.Contains(got, "reset 204 exit 0") {
		t.Errorf("the program of docs/testing.md says %q", got)
	}

	// Without the package of the platform, the launcher names it.
	if err := os.RemoveAll(filepath.Join(dir, "node_modules/@countersign-mfa")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "node_modules/.bin/countersign"), "version")
	if said, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(said, []byte("@countersign-mfa/linux-x64 is not installed")) {
		t.Errorf("without the program the launcher says %q (%v)", said, err)
	}
}

func TestPipInstallsTheProgram(t *testing.T) {
	python := testenv.Tool(t, "python3")
	dir := t.TempDir()
	wheels, err := filepath.Glob(filepath.Join(released(t), "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("wheels: %v, %v", wheels, err)
	}
	runIn(t, dir, python, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", "--target", dir, wheels[0])
	program := filepath.Join(dir, "bin/countersign")
	if got := runIn(t, dir, program, "version"); !strings.Contains(got, version) {
		t.Errorf("countersign version says %q", got)
	}
	if got := runIn(t, dir, python, "-m", "countersign", "version"); !strings.Contains(got, version) {
		t.Errorf("python -m countersign version says %q", got)
	}
	starts(t, dir, program)
}

// runIn runs a program in a directory, and returns its output.
func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// starts runs dev, enrolls a factor, resets, and ends dev by a signal.
func starts(t *testing.T, dir, program string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "dev", "--json", "--addr", "127.0.0.1:0", "--store", "sqlite:"+filepath.Join(dir, "data/dev.db"))
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ready struct {
		URL string `json:"url"`
		Key string `json:"api_key"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("dev does not start: %v\n%s", err, log.String())
	}
	for _, step := range []struct {
		path, body string
		want       int
	}{{"/auth/factors/enroll", `{"type":"generic_otp"}`, http.StatusCreated}, {"/dev/reset", "", http.StatusNoContent}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, ready.URL+step.path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+ready.Key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != step.want {
			t.Errorf("%s = %d %s; want %d", step.path, resp.StatusCode, body, step.want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM dev ended with %v\n%s", err, log.String())
	}
}
