package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

var binaries string // the directory of the programs that are built once for all tests

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "countersign-conformance-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	pgtest.RemoveShared()
	os.RemoveAll(binaries)
	os.Exit(code)
}

// build builds the command once.
var build = sync.OnceValues(func() (string, error) { return executable.BuildAsReleased(binaries) })

// A server is a running countersign dev.
type server struct {
	URL    string `json:"url"`
	APIKey string `json:"api_key"`
	store  string
}

// start runs countersign dev on a new store until the test ends. The process must then
// exit without an error.
func start(t *testing.T, flags ...string) server {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store := storeIn(t, dir)
	args := append([]string{"dev", "--json", "--addr", "127.0.0.1:0", "--store", store}, flags...)
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = executable.Environment()
	var log bytes.Buffer // read only after the process has ended
	cmd.Stderr = io.MultiWriter(logcapture.Log(t, t.Name()), &log)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	ready := make(chan error, 1)
	var s server
	go func() { ready <- json.NewDecoder(stdout).Decode(&s) }()
	t.Cleanup(func() { stop(t, cmd, &log) })
	select {
	case err := <-ready:
		if err != nil {
			t.Fatalf("countersign dev printed no line of JSON: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("countersign dev was not ready within a minute")
	}
	s.store = store
	logcapture.Secret(t, s.APIKey)
	// Some tests list hundreds of factors of one user. The server reads the settings with the first
	// request of the key.
	set := exec.Command(binary, "environment", "set", "sandbox", "max_factors_per_user=1000", "--store", store)
	set.Env = executable.Environment()
	if out, err := set.CombinedOutput(); err != nil {
		t.Fatalf("environment set: %v\n%s", err, out)
	}
	return s
}

// storeIn returns the name of a new store: a file in dir, or a database if the tests
// run on PostgreSQL.
func storeIn(t *testing.T, dir string) string {
	if pgtest.Chosen() {
		return pgtest.Shared(t).Database(t)
	}
	return "sqlite:" + filepath.Join(dir, "dev.db")
}

// stop ends a server as an operator does.
func stop(t *testing.T, cmd *exec.Cmd, log *bytes.Buffer) {
	cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("countersign dev ended with %v", err)
	}
	if t.Failed() {
		t.Logf("the end of its log:\n%s", lastLines(log.Bytes(), 40))
	}
}

func lastLines(text []byte, n int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n-1):], nil)
}

// installed makes the result of a test depend on the programs in a directory and on the
// libraries that they pin; go test cannot see these otherwise. It skips the test unless
// all libraries, which are paths in that directory, exist.
func installed(t *testing.T, dir string, libraries ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && installsInto(entry.Name()):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range libraries {
		switch _, err := os.Stat(filepath.Join(dir, library)); {
		case errors.Is(err, fs.ErrNotExist):
			testenv.Missing(t, err)
		case err != nil:
			t.Fatal(err)
		}
	}
}

// installsInto reports whether scripts/setup or a build fills directories of this name.
func installsInto(name string) bool {
	return name == "node_modules" || name == "target" || name == "__pycache__" || name == "libraries"
}
