package conformance_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// pythonClients use the library workos of PyPI. Each version is installed with its
// dependencies in a separate directory.
var pythonClients = []client{
	{"Python", "1.12.0", "2022", byLibrary, drivePython("1.12.0")},
	{"Python", "4.16.0", "2024-25", byLibrary, drivePython("4.16.0")},
	{"Python", "5.46.0", "2024-25", byLibrary, drivePython("5.46.0")},
	{"Python", "10.8.0", "2026", byLibrary, drivePython("10.8.0")},
}

func drivePython(version string) func(*testing.T, fixture, func(line)) {
	return func(t *testing.T, f fixture, report func(line)) {
		python := testenv.Tool(t, "python3")
		run(t, report, "python", append(f.environment(), workosOf(t, version)), python, "-B", "-S", "life.py", version)
	}
}

var pythonExamples = []example{
	{"Python 1.13 to 4", "python/example-4.py", "python", pythonExample("example-4.py", "4.16.0")},
	{"Python 5", "python/example-5.py", "python", pythonExample("example-5.py", "5.46.0")},
	{"Python from 6", "python/example-10.py", "python", pythonExample("example-10.py", "10.8.0")},
}

func pythonExample(program, version string) func(*testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), testenv.Tool(t, "python3"), "-B", "-S", program)
		cmd.Dir = "python"
		cmd.Env = []string{workosOf(t, version)}
		return cmd
	}
}

// workosOf returns the variable that makes Python find a version of the library. With
// the flag -S Python then finds nothing else but its standard library.
func workosOf(t *testing.T, version string) string {
	library := filepath.Join("libraries", version)
	installed(t, "python", filepath.Join(library, "workos"))
	path, err := filepath.Abs(filepath.Join("python", library))
	if err != nil {
		t.Fatal(err)
	}
	return "PYTHONPATH=" + path
}
