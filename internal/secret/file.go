package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxKeyset is the size in bytes beyond which nothing is taken for a keyset. A
// fresh one has about 800, and each rotation adds some 500 until Retire.
const maxKeyset = 1 << 20

var errTooLarge = errors.New("larger than a keyset can be")

// ReadKeysetFile reads a keyset from a file that nobody but its owner may read,
// write or run. Where others may, it returns an error that says what to do.
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
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
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
// never overwrites: where path exists, even if it came to be meanwhile, the error
// is fs.ErrExist. Once it returns, the file survives a loss of power.
func CreateKeysetFile(path string) (*Keyset, error) {
	k, err := NewKeyset()
	if err != nil {
		return nil, fmt.Errorf("create keyset file: %w", err)
	}
	err = place(k, path, func(tmp *os.File) error { return os.Link(tmp.Name(), path) })
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("keyset file %s is left as it is: %w", path, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("create keyset file: %w", err)
	}
	return k, nil
}

// WriteKeysetFile writes k to path with mode 0600, in place of what was there, and
// leaves the file to its owner. A reader, or a loss of power, meets either the old
// keyset or the new one.
func WriteKeysetFile(path string, k *Keyset) error {
	err := place(k, path, func(tmp *os.File) error {
		if err := keepOwner(tmp, path); err != nil {
			return err
		}
		return os.Rename(tmp.Name(), path)
	})
	if err != nil {
		return fmt.Errorf("write keyset file: %w", err)
	}
	return nil
}

// place writes k to a temporary file beside path and has publish give it that
// name.
func place(k *Keyset, path string, publish func(tmp *os.File) error) error {
	data, err := k.Marshal()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyset-*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := publish(tmp); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
