//go:build unix

package secret_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestWriteLeavesKeysetFileToItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "keyset")
	k := must(t)(secret.CreateKeysetFile(path))
	if err := os.Chown(path, 4242, 4343); err != nil {
		t.Skip("cannot give a file away here: ", err)
	}
	if err := secret.WriteKeysetFile(path, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 4242 || stat.Gid != 4343 {
		t.Errorf("the file now belongs to %d:%d; want 4242:4343", stat.Uid, stat.Gid)
	}
	checkMode(t, path)
}
