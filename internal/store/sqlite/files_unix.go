//go:build unix

package sqlite

import (
	"errors"
	"os"
	"syscall"
)

// A fileID distinguishes a file from all other files that exist at the same time.
type fileID struct{ device, inode uint64 }

// identify returns the identity of the file at path.
func identify(path string) (fileID, error) {
	var st syscall.Stat_t
	for {
		err := syscall.Stat(path, &st)
		if err == nil {
			return fileID{uint64(st.Dev), uint64(st.Ino)}, nil
		}
		if err != syscall.EINTR {
			return fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
		}
	}
}

// The kinds of lock for tryLock.
const (
	shared    = syscall.LOCK_SH
	exclusive = syscall.LOCK_EX
)

// tryLock replaces the lock on f with a lock of the given kind, and reports whether it
// succeeded. It does not wait.
func tryLock(f *os.File, kind int) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), kind|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case err != syscall.EINTR:
			return false, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}
