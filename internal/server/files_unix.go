//go:build linux || darwin

package server

import (
	"io/fs"
	"syscall"
)

// openFiles returns how many files this process may have open, 0 if that is not known.
// The runtime has raised it as far as it may.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

// ownerOf returns the number of the account that a file belongs to.
func ownerOf(info fs.FileInfo) (id int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

const accessWrite = 2 | 1 // W_OK and X_OK

// writable returns an error if this account cannot create files in a directory.
func writable(dir string) error { return syscall.Access(dir, accessWrite) }

// sameDisk reports whether two files that exist are on one file system.
func sameDisk(a, b string) bool {
	var x, y syscall.Stat_t
	return syscall.Stat(a, &x) == nil && syscall.Stat(b, &y) == nil && x.Dev == y.Dev
}

// freeSpace returns how many bytes this account can still write in a directory.
func freeSpace(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
