package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// nodeClients use the library @workos-inc/node of npm. node/package.json installs each
// version under the name in its row.
var nodeClients = []client{
	{"JavaScript", "7.0.0", "2024-25", byLibrary, driveNode("workos-oldest")},
	{"JavaScript", "7.82.0", "2024-25", byLibrary, driveNode("workos-7")},
	{"JavaScript", "8.13.0", "2026", byLibrary, driveNode("workos-8")},
	{"JavaScript", "10.14.0", "2026", byLibrary, driveNode("workos-10")},
	{"JavaScript", "11.0.0", "2026", byLibrary, driveNode("workos-newest")},
}

func driveNode(name string) func(*testing.T, fixture, func(line)) {
	return func(t *testing.T, f fixture, report func(line)) {
		node := testenv.Tool(t, "node")
		installed(t, "node", "node_modules")
		run(t, report, "node", f.environment(), node, "life.mjs", name)
	}
}

// Version 9 of the library renamed the calls in the examples. Each example runs with
// all versions of nodeClients to which it applies.
var nodeExamples = []example{
	{"JavaScript to 8", "node/example-7.mjs", "js", nodeExample("example-7.mjs", "workos-oldest")},
	{"JavaScript to 8", "node/example-7.mjs", "js", nodeExample("example-7.mjs", "workos-7")},
	{"JavaScript to 8", "node/example-7.mjs", "js", nodeExample("example-7.mjs", "workos-8")},
	{"JavaScript from 9", "node/example-9.mjs", "js", nodeExample("example-9.mjs", "workos-10")},
	{"JavaScript from 9", "node/example-9.mjs", "js", nodeExample("example-9.mjs", "workos-newest")},
}

// nodeExample runs a program that imports the library by its published name, with the
// version that is installed under another name.
func nodeExample(program, library string) func(*testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		node := testenv.Tool(t, "node")
		installed(t, "node", "node_modules")
		dir := t.TempDir()
		source, err := os.ReadFile(filepath.Join("node", program))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, program), source, 0o600); err != nil {
			t.Fatal(err)
		}
		modules := filepath.Join(dir, "node_modules", "@workos-inc")
		if err := os.MkdirAll(modules, 0o700); err != nil {
			t.Fatal(err)
		}
		target, err := filepath.Abs(filepath.Join("node", "node_modules", library))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(modules, "node")); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), node, filepath.Join(dir, program))
	}
}
