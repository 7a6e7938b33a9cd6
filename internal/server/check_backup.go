package server

import (
	"fmt"
	"os"
	"time"

	"github.com/countersign-mfa/countersign/internal/backup"
	"github.com/countersign-mfa/countersign/internal/config"
)

// checkBackups checks the schedule of backups and the newest backup.
func (c *checker) checkBackups() {
	const check = "backups"
	path, ok := config.SQLitePath(c.cfg.Store)
	if !ok {
		return
	}
	dir := c.cfg.BackupDir
	if dir == "" {
		c.ok(check, "none are made regularly: backup_dir is not set")
		return
	}
	if err := directory(dir); err != nil {
		c.fail(check, "create the directory, or mount its disk, and give it to the account of the server", "%v", err)
		return
	}
	files, err := backup.List(path, dir)
	if err != nil {
		c.failed(check, "run this command under the account of the server", err)
		return
	}
	c.backupSpace(check, path, dir)
	if len(files) == 0 {
		c.ok(check, "none is in %s yet; the server makes one at its start", dir)
		return
	}
	newest := files[len(files)-1]
	age := c.now().Sub(newest.At).Round(time.Second)
	if age > 2*c.cfg.BackupEvery {
		c.warn(check, "start the server, and search its log for 'not backed up'", "the newest of %d in %s is %v old; backup_every is %v", len(files), dir, age, c.cfg.BackupEvery)
		return
	}
	c.ok(check, "the newest of %d in %s is %v old and has %s", len(files), dir, age, bytesText(newest.Size))
}

// directory returns an error if files cannot be made in dir, which must exist.
func directory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return canWriteIn(dir)
}

// backupSpace checks that there is space for the next backup, and that the disk of the store
// is another one.
func (c *checker) backupSpace(check, path, dir string) {
	free, err := freeSpace(dir)
	size := sizeOf(path)
	if err == nil && free < size+diskEmpty {
		c.fail(check, "free some space, or lower backup_keep", "%s are free in %s, and the next backup can need %s", bytesText(free), dir, bytesText(size))
	}
	if sameDisk(path, dir) {
		c.warn(check, "copy the backups to another disk or machine", "%s is on the disk of the store: if the disk fails, both are lost", dir)
	}
}
