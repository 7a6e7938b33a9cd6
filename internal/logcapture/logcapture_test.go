package logcapture_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

func TestLogsOfOneNameAreKeptApart(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(logcapture.Env, dir)

	fmt.Fprintln(logcapture.Log(t, "TestA/node 1"), "first")
	fmt.Fprintln(logcapture.Log(t, "TestA/node 1"), "second")

	logs, err := filepath.Glob(filepath.Join(dir, "TestA_node_1-*.log"))
	if err != nil || len(logs) != 2 {
		t.Fatalf("found %q, %v; want two logs", logs, err)
	}
}

func TestSecretsOfManyGoroutinesAreAllWritten(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(logcapture.Env, dir)

	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { logcapture.Secret(t, "", fmt.Sprintf("secret-%03d", i), fmt.Sprintf("%06d", i)) })
	}
	wg.Wait()

	found := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(dir, "*.secrets"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			found[strings.TrimSuffix(line, "\n")] = true
		}
	}
	if len(found) != 200 || !found["secret-042"] || !found["000042"] {
		t.Errorf("found %d secrets; want 200, with secret-042 and 000042", len(found))
	}
}

func TestNothingIsKeptWithoutADirectory(t *testing.T) {
	t.Setenv(logcapture.Env, "")
	if w := logcapture.Log(t, "server"); w != io.Discard {
		t.Errorf("Log = %v; want io.Discard", w)
	}
	logcapture.Secret(t, "a secret")
}

func TestSecretsThatCannotBeSearchedForFailTheTest(t *testing.T) {
	t.Setenv(logcapture.Env, t.TempDir())
	for _, value := range []string{"12345", "first line\nsecond line"} {
		var r recorder
		logcapture.Secret(&r, value)
		if !r.failed {
			t.Errorf("Secret(%q) passed", value)
		}
	}
}

// A recorder is a test that takes note of its failure.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
