// Package atomicfile writes small files that a reader, or a loss of power, finds
// either whole or not at all. It never writes through a symbolic link and never into
// a file that another account has prepared: the content is written to a new temporary
// file in the same directory, which then takes the name.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Create writes data to path, which must not exist: otherwise the error is
// fs.ErrExist, and a symbolic link counts as existing. Once Create returns nil, the
// file survives a loss of power.
func Create(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, func(tmp *os.File) error { return os.Link(tmp.Name(), path) })
}

// CreateFrom is Create for content that write writes. If write fails, no file is created.
func CreateFrom(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return placeFrom(path, write, mode, func(tmp *os.File) error { return os.Link(tmp.Name(), path) })
}

// ReplaceFrom is Replace for content that write writes. If write fails, the existing file
// stays as it is.
func ReplaceFrom(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return placeFrom(path, write, mode, func(tmp *os.File) error { return os.Rename(tmp.Name(), path) })
}

// Replace writes data to path in place of an existing file or symbolic link. The new
// file belongs to the account of this process. Once Replace returns nil, the file
// survives a loss of power.
func Replace(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, func(tmp *os.File) error { return os.Rename(tmp.Name(), path) })
}

// Rewrite is Replace for a file whose old content the caller has read and trusts: the
// new file belongs to the owner of the old one.
func Rewrite(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, func(tmp *os.File) error {
		if err := keepOwner(tmp, path); err != nil {
			return err
		}
		return os.Rename(tmp.Name(), path)
	})
}

// place writes data to a temporary file next to path and calls publish to give it
// that name.
func place(path string, data []byte, mode fs.FileMode, publish func(tmp *os.File) error) error {
	return placeFrom(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}, mode, publish)
}

func placeFrom(path string, write func(io.Writer) error, mode fs.FileMode, publish func(tmp *os.File) error) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(tmp.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(mode); err != nil {
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
