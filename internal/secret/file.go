package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
)

// maxKeyset is the size in bytes beyond which nothing is taken for a keyset. A
// fresh one has about 800, and each rotation adds some 500 until Retire.
const maxKeyset = 1 << 20

var errTooLarge = errors.New("larger than a keyset can be")

// ReadKeysetFile reads a keyset from a file that only its owner may read, write or
// execute. If other users may, it returns an error that names the remedy. systemd
// makes the files in the directory CREDENTIALS_DIRECTORY for this process, some with
// access control lists, which look like a mode with more rights.
func ReadKeysetFile(path string) (*Keyset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read keyset file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read keyset file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !isCredential(path) {
		return nil, fmt.Errorf("keyset file %s is open to others than its owner (mode %04o): run chmod 600 %[1]s", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyset+1))
	if err != nil {
		return nil, fmt.Errorf("read keyset file: %w", err)
	}
	if len(data) > maxKeyset {
		return nil, fmt.Errorf("keyset file %s: %w", path, errTooLarge)
	}
	k, err := ParseKeyset(data)
	if err != nil {
		return nil, fmt.Errorf("keyset file %s: %w", path, err)
	}
	return k, nil
}

// CreateKeysetFile makes a new keyset and writes it to path with mode 0600. It
// never overwrites: if path exists, the error is fs.ErrExist. Once it returns, the
// file survives a loss of power.
func CreateKeysetFile(path string) (*Keyset, error) {
	k, err := NewKeyset()
	if err != nil {
		return nil, fmt.Errorf("create keyset file: %w", err)
	}
	data, err := k.Marshal()
	if err != nil {
		return nil, fmt.Errorf("create keyset file: %w", err)
	}
	err = atomicfile.Create(path, append(data, '\n'), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keyset file %s is left as it is: %w", path, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("create keyset file: %w", err)
	}
	return k, nil
}

// WriteKeysetFile replaces the file at path by k, with mode 0600 and the owner of the
// old file. A reader, or a loss of power, finds either the old keyset or the new one.
func WriteKeysetFile(path string, k *Keyset) error {
	data, err := k.Marshal()
	if err == nil {
		err = atomicfile.Rewrite(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write keyset file: %w", err)
	}
	return nil
}

// isCredential reports whether systemd has passed a file to this service; see LoadCredential=
// in systemd.exec(5).
func isCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.IsAbs(path) && filepath.Dir(path) == filepath.Clean(dir)
}
