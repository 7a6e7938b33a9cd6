// Package executable builds the command countersign for tests that run it.
package executable

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	// go test does not see that a test depends on a program that it builds. With this
	// import it runs the test again after a change of the program.
	_ "github.com/countersign-mfa/countersign/internal/cli"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// Build builds the command into dir, a directory, and returns its path. The command
// has the race detector if the test has it.
func Build(dir string) (path string, err error) {
	return build(dir, testenv.RaceDetector())
}

// BuildAsReleased builds the command without the race detector. It is for tests in which few
// requests run at once: with the detector, a set of recovery codes takes 15 s to hash instead
// of 2 s.
func BuildAsReleased(dir string) (path string, err error) {
	return build(dir, false)
}

func build(dir string, race bool) (path string, err error) {
	path = filepath.Join(dir, "countersign")
	build := exec.Command("go", "build", fmt.Sprintf("-race=%t", race), "-o", path, "github.com/countersign-mfa/countersign/cmd/countersign")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
}

// Environment returns the environment of the test without variables that would
// configure the program.
func Environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COUNTERSIGN_") {
			env = append(env, v)
		}
	}
	return env
}
