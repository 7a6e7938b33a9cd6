//go:build !(linux || darwin)

package server

import (
	"errors"
	"io/fs"
)

// openFiles returns 0: how many files this process may have open is not known.
func openFiles() uint64 { return 0 }

// ownerOf returns false: accounts have no numbers here.
func ownerOf(fs.FileInfo) (id int, ok bool) { return 0, false }

// writable returns nil: whether files can be created is not known without creating one.
func writable(string) error { return nil }

// sameDisk returns false: the file system of a file is not known.
func sameDisk(string, string) bool { return false }

// freeSpace returns an error: the free space is not known.
func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }
