package conformance_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// javaClients use the library com.workos:workos of Maven Central, which also serves
// Kotlin. java/pom.xml pins it.
var javaClients = []client{
	{"Java", "7.2.0", "2026", byLibrary, driveJava},
}

func driveJava(t *testing.T, f fixture, report func(line)) {
	java, classes := javaPrograms(t)
	run(t, report, "java", f.environment(), java, "-cp", classes, "Life")
}

var javaExamples = []example{
	{"Java from 7", "java/Example.java", "java", func(t *testing.T) *exec.Cmd {
		java, classes := javaPrograms(t)
		return exec.CommandContext(t.Context(), java, "-cp", classes, "Example")
	}},
}

// javaPrograms returns the path of the java program and the class path.
func javaPrograms(t *testing.T) (java, classes string) {
	t.Helper()
	java = testenv.Tool(t, "java")
	testenv.Tool(t, "javac")
	installed(t, "java", "libraries/workos-7.2.0.jar")
	classes, err := compileJava()
	if err != nil {
		t.Fatal(err)
	}
	return java, classes
}

// compileJava compiles the runner and the example once for all tests.
var compileJava = sync.OnceValues(func() (classes string, err error) {
	libraries, err := filepath.Abs("java/libraries/*")
	if err != nil {
		return "", err
	}
	sources, err := filepath.Glob("java/*.java")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(binaries, "java")
	args := append([]string{"-encoding", "UTF-8", "-Xlint:all,-serial", "-Werror", "-d", dir, "-cp", libraries}, sources...)
	if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	return dir + string(filepath.ListSeparator) + libraries, nil
})
