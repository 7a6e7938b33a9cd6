package main

import (
	"os"
	"syscall"
)

func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// free returns how many bytes the disk of dir has left, and whether what is
// written there reaches a disk at all.
func free(dir string) (bytes int64, disk bool, err error) {
	const tmpfs = 0x01021994
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false, err
	}
	return int64(s.Bavail) * s.Bsize, s.Type != tmpfs, nil
}
