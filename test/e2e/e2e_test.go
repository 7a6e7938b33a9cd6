// Package e2e_test runs the real program, as its users do. It starts and kills
// processes and sends them HTTP requests.
package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/test/executable"
)

// binary is the path of the program under test.
var binary string

// releasedBinary builds the program without the race detector, for tests with recovery codes.
var releasedBinary func() (string, error)

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
	releasedBinary = sync.OnceValues(func() (string, error) {
		dir := filepath.Join(dir, "released")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
		return executable.BuildAsReleased(dir)
	})
	if binary, err = executable.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer pgtest.RemoveShared()
	return m.Run()
}
