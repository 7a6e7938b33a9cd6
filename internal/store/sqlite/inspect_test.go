package sqlite_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/inspection"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// contents describes every file in the directory of path, with its contents and times. It
// leaves out the index of the log, in which a reader of a store in use marks its place.
func contents(t *testing.T, path string, inUse bool) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if inUse && e.Name() == filepath.Base(path)+"-shm" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v %v %x\n", e.Name(), info.Mode(), info.ModTime(), sha256.Sum256(data))
	}
	return b.String()
}

// inspect inspects the store at path, which must change nothing.
func inspect(t *testing.T, path string) (inspection.State, error) {
	t.Helper()
	all, withoutIndex := contents(t, path, false), contents(t, path, true)
	state, err := sqlite.Inspect(path, "name", "missing")
	if err := state.Close(); err != nil {
		t.Error(err)
	}
	before := all
	if state.InUse {
		before = withoutIndex
	}
	if after := contents(t, path, state.InUse); after != before {
		t.Errorf("Inspect changed files:\n%safter\n%s", before, after)
	}
	return state, err
}

// inspected returns the path of a store with one factor and the meta value "name".
func inspected(t *testing.T, close bool) string {
	t.Helper()
	path := newPath(t)
	s, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.PutMeta(t.Context(), "name", []byte("value")); err != nil {
		t.Fatal(err)
	}
	f := storetest.NewFactor(storetest.NewUser())
	if err := s.Update(t.Context(), readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f})); err != nil {
		t.Fatal(err)
	}
	if close {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestInspectReadsAStoreWithoutChangingIt(t *testing.T) {
	for _, tc := range []struct {
		name  string
		path  func(*testing.T) string
		inUse bool
	}{
		{"closed", func(t *testing.T) string { return inspected(t, true) }, false},
		{"in use", func(t *testing.T) string { return inspected(t, false) }, true},
		{"after a crash", func(t *testing.T) string { return crash(t, inspected(t, false)) }, false},
		{"after a crash, with its other files", func(t *testing.T) string {
			path := crash(t, inspected(t, false))
			for _, suffix := range []string{"-shm", "-lock"} {
				if err := os.WriteFile(path+suffix, []byte("of the last process"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return path
		}, false},
		{"with a name that a URI cannot have", func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "a ?%#b.db")
			if err := os.Rename(inspected(t, true), path); err != nil {
				t.Fatal(err)
			}
			return path
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state, err := inspect(t, tc.path(t))
			if err != nil {
				t.Fatal(err)
			}
			if !state.Exists || state.InUse != tc.inUse || state.Version != state.Known || state.Newest.IsZero() {
				t.Errorf("state %+v", state)
			}
			if len(state.Meta) != 1 || string(state.Meta["name"]) != "value" {
				t.Errorf("meta values %q", state.Meta)
			}
		})
	}
}

func TestInspectDoesNotMakeAStore(t *testing.T) {
	for name, path := range map[string]string{
		"missing":             filepath.Join(t.TempDir(), "a.db"),
		"empty":               filepath.Join(t.TempDir(), "b.db"),
		"without a directory": filepath.Join(t.TempDir(), "none", "c.db"),
	} {
		if name == "empty" {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		state, err := sqlite.Inspect(path)
		if err != nil || state.Exists || state.InUse {
			t.Errorf("%s: %+v, %v", name, state, err)
		}
		entries, _ := os.ReadDir(filepath.Dir(path))
		if made := len(entries) > 0 && name != "empty" || len(entries) > 1; made {
			t.Errorf("%s: Inspect made files: %v", name, entries)
		}
	}
}

func TestInspectReportsWhatAServerWouldRefuse(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("text ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		{"another program's database", func(t *testing.T, path string) {
			db, err := sqlite3.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Exec("CREATE TABLE t (a)"), db.Close()); err != nil {
				t.Fatal(err)
			}
		}, "another program"},
		{"the log of another database", func(t *testing.T, path string) {
			move(t, inspected(t, true), path)
			move(t, inspected(t, false)+"-wal", path+"-wal")
		}, sqlite.ErrForeignLog.Error()},
		{"a log without a database", func(t *testing.T, path string) {
			move(t, inspected(t, false)+"-wal", path+"-wal")
		}, "missing or empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "countersign.db")
			tc.make(t, path)
			if _, err := inspect(t, path); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Inspect = %v; want %q", err, tc.want)
			}
		})
	}
}

func TestInspectReadsOlderAndNewerSchemas(t *testing.T) {
	path := inspected(t, true)
	for _, version := range []int{1, 1000} {
		db, err := sqlite3.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Exec(fmt.Sprintf("PRAGMA user_version = %d", version)), db.Close()); err != nil {
			t.Fatal(err)
		}
		state, err := inspect(t, path)
		if err != nil || state.Version != version || state.Known == version || string(state.Meta["name"]) != "value" {
			t.Errorf("with schema %d: %+v, %v", version, state, err)
		}
	}
}

func TestInspectSeesAnInterruptedRestore(t *testing.T) {
	path := inspected(t, true)
	if err := os.WriteFile(path+"-restored-20260101T000000.000Z", []byte("a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if state, err := inspect(t, path); err != nil || !state.Restoring {
		t.Errorf("Inspect = %+v, %v", state, err)
	}
}

func TestRowsCountsAllTables(t *testing.T) {
	s, err := sqlite.Open(inspected(t, true), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before, err := s.Rows(t.Context())
	if err != nil || before < 2 { // the factor and the meta value
		t.Fatalf("Rows = %d, %v", before, err)
	}
	if err := s.PutMeta(t.Context(), "another", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Rows(t.Context()); err != nil || after != before+1 {
		t.Errorf("Rows = %d, %v; want %d", after, err, before+1)
	}
}
