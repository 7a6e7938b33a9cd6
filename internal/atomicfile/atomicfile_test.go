package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestReplaceDoesNotFollowASymbolicLink plants a link to a file that another account
// can read.
func TestReplaceDoesNotFollowASymbolicLink(t *testing.T) {
	for name, replace := range map[string]func(string, []byte, fs.FileMode) error{
		"Replace": atomicfile.Replace,
		"Rewrite": atomicfile.Rewrite,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			target, path := filepath.Join(dir, "target"), filepath.Join(dir, "key")
			write(t, target, "old", 0o644)
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			if err := replace(path, []byte("new"), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := read(t, target); got != "old" {
				t.Errorf("the target of the link holds %q", got)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != 0o600 || read(t, path) != "new" {
				t.Errorf("the new file has mode %v (%v) and holds %q; want a regular file of mode 0600", info.Mode(), err, read(t, path))
			}
		})
	}
}

// TestReplaceDoesNotKeepAnOpenFile holds the old file open, as an account that has
// prepared it would.
func TestReplaceDoesNotKeepAnOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "old", 0o644)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Replace(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || os.SameFile(before, after) || after.Mode() != 0o600 {
		t.Errorf("the file is the old one, or has mode %v (%v)", after.Mode(), err)
	}
}

func TestCreateRefusesAnExistingNameAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.Symlink(filepath.Join(dir, "missing"), path); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Create(path, []byte("new"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create = %v; want fs.ErrExist", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v (%v); want only the link", entries, err)
	}
}

func TestCreateWritesWholeFilesWithTheirMode(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []fs.FileMode{0o600, 0o644} {
		path := filepath.Join(dir, mode.String())
		if err := atomicfile.Create(path, []byte("text"), mode); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode || read(t, path) != "text" {
			t.Errorf("mode %v (%v), content %q; want mode %v", info.Mode(), err, read(t, path), mode)
		}
	}
}

func TestAMissingDirectoryIsAnError(t *testing.T) {
	if err := atomicfile.Replace(filepath.Join(t.TempDir(), "no", "key"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Replace = %v; want fs.ErrNotExist", err)
	}
}
