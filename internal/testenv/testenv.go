// Package testenv finds out what the machine offers to tests: external programs and
// the race detector. Only tests and test packages import it.
package testenv

import (
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
)

// ToolsRequired reports whether a test must fail, not be skipped, if an external
// program is missing. CI sets CI=true; scripts/test sets COUNTERSIGN_REQUIRE_TOOLS=1.
func ToolsRequired() bool {
	return os.Getenv("CI") == "true" || os.Getenv("COUNTERSIGN_REQUIRE_TOOLS") == "1"
}

// Tool returns the path of an external program. If it is not installed, Tool calls
// Missing.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, err)
	}
	return path
}

// Missing ends a test that needs a program or library that is not installed. The
// test fails if ToolsRequired, otherwise it is skipped.
func Missing(t testing.TB, err error) {
	t.Helper()
	if ToolsRequired() {
		t.Fatalf("required here: %v", err)
	}
	t.Skipf("needs a tool that scripts/setup installs: %v", err)
}

// RaceDetector reports whether the test was built with the race detector.
func RaceDetector() bool {
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
