// Package sqlitetest gives tests new SQLite stores quickly.
package sqlitetest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// Path returns the path of a new, empty store with the newest schema, in a directory of the test. It is
// a copy: with the race detector, the migrations of a store take seconds. On Linux the directory is
// in memory: a store waits for its disk at each commit, which tests of rules do not need.
func Path(t testing.TB) string {
	t.Helper()
	empty, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory(t), "test.db")
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// directory returns a new directory that is removed after the test.
func directory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "countersign-test-")
	if err != nil { // there is no such file system, or it cannot be written
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the directory of a store: %v", err)
		}
	})
	return dir
}

// template returns the content of an empty store.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "countersign-store-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "empty.db")
	s, err := sqlite.Open(path, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
