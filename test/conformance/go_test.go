package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// goClients use the library github.com/workos/workos-go. Its major versions are
// separate modules, so one program can contain them all.
var goClients = []client{
	{"Go", "1.21.0", "2022", byLibrary, driveGo("1")},
	{"Go", "4.46.1", "2024-25", byLibrary, driveGo("4")},
	{"Go", "6.5.0", "2026", byLibrary, driveGo("6")},
	{"Go", "9.6.0", "2026", byLibrary, driveGo("9")},
}

func driveGo(major string) func(*testing.T, fixture, func(line)) {
	return func(t *testing.T, f fixture, report func(line)) {
		run(t, report, "go", f.environment(), goProgram(t, "life"), major)
	}
}

var goExamples = []example{
	{"Go 4 to 6", "go/example-4/main.go", "go", goExample("example-4")},
	{"Go from 7", "go/example-9/main.go", "go", goExample("example-9")},
}

func goExample(name string) func(*testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		return exec.CommandContext(t.Context(), goProgram(t, name))
	}
}

// goProgram returns the path of a program of the Go module in the directory go.
func goProgram(t *testing.T, name string) string {
	t.Helper()
	installed(t, "go")
	dir, err := buildGo()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

var buildGo = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(binaries, "go")
	cmd := exec.Command("go", "build", "-C", "go", "-o", dir+string(filepath.Separator), "./...")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// TestGoGenerated checks that the adapters of version 6 are generated from the adapters of
// version 4.
func TestGoGenerated(t *testing.T) {
	t.Parallel()
	installed(t, "go")
	for _, program := range []string{"life", "events"} {
		source, err := os.ReadFile("go/" + program + "/v4.go")
		if err != nil {
			t.Fatal(err)
		}
		generated, err := os.ReadFile("go/" + program + "/v6.go")
		if err != nil {
			t.Fatal(err)
		}
		_, generated6, ok := strings.Cut(string(generated), "DO NOT EDIT.\n\n")
		if want := strings.NewReplacer("v4", "v6", "V4", "V6").Replace(string(source)); !ok || generated6 != want {
			t.Errorf("go/%s/v6.go differs from v4.go; generate it again with:\n  go generate -C conformance/go ./...", program)
		}
	}
}
