// Package e2e_test runs the real program: its processes are started, killed and
// asked over HTTP, as its users do it.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "countersign-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "countersign")
	build := exec.Command("go", "build", fmt.Sprintf("-race=%t", underRaceDetector()), "-o", binary, "../../cmd/countersign")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	defer pgtest.RemoveShared()
	return m.Run()
}

// underRaceDetector reports whether these tests are, so that the program is too.
func underRaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// tool returns the path of a program that a test needs. Without it the test is
// skipped, but fails where every tool must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true", os.Getenv("COUNTERSIGN_REQUIRE_TOOLS") == "1":
		t.Fatalf("%s is required here: %v", name, err)
	default:
		t.Skipf("not tried with %s: %v", name, err)
	}
	return ""
}
