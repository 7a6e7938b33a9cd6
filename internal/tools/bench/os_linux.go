package main

import (
	"os"
	"syscall"
)

func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// free returns the free bytes on the disk of dir, and whether dir is on a disk and
// not in memory.
func free(dir string) (bytes int64, disk bool, err error) {
	const tmpfs = 0x01021994
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	return int64(s.Bavail) * s.Bsize, s.Type != tmpfs, nil
}
