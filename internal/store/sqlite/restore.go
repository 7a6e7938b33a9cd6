package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The suffixes of the files of a restore, after the path of the database.
const (
	restoring = "-restoring" // the copy of the backup, not checked yet
	restored  = "-restored-" // followed by a time: the checked copy
	replaced  = ".replaced-" // followed by the same time: the replaced files
)

// Restore replaces the store at path with a backup, or creates the store from it. No
// process may use the store. Restore keeps the replaced files under the returned name,
// with their suffixes. The name is "" if no file was replaced. check may refuse the
// backup. If Restore is interrupted, either no file has changed, or the next process
// that opens the store completes the restore. If progress is not nil, Restore calls it a few times a second
// with the number of bytes copied so far and in all, and after the last one.
func Restore(ctx context.Context, from, path string, at time.Time, check func(Meta) error, progress func(done, total int64)) (kept string, err error) {
	if log, err := os.Stat(from + suffixes[wal]); err == nil && log.Size() > 0 {
		return "", fmt.Errorf("%s has a log next to it, %s: it is a store, not a backup; make a backup of it with 'countersign backup'", from, from+suffixes[wal])
	}
	if _, err := readHeader(from); err != nil {
		return "", fmt.Errorf("read the backup: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the directory of the store: %w", err)
	}
	files, err := claimAlone(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, files.release()) }()
	path = files.path
	if _, err := finishRestore(path); err != nil {
		return "", err
	}
	for _, suffix := range suffixes {
		if same, err := sameFile(from, path+suffix); err != nil || same {
			return "", errors.Join(err, fmt.Errorf("%s is a file of the store itself", from))
		}
	}
	temp := path + restoring
	defer os.Remove(temp)
	copied := watch(temp, from, progress)
	err = copyFile(ctx, from, temp)
	copied()
	if err != nil {
		return "", fmt.Errorf("copy the backup: %w", err)
	}
	if info, err := os.Stat(temp); err == nil && progress != nil {
		progress(info.Size(), info.Size())
	}
	if err := verify(ctx, temp, check); err != nil {
		return "", fmt.Errorf("%s cannot be restored: %w", from, err)
	}
	// With a new identity, a log of any other database does not belong to this
	// database.
	if err := errors.Join(stamp(temp), setFormat(temp, formatWAL)); err != nil {
		return "", err
	}
	if err := os.Rename(temp, path+restored+at.UTC().Format("20060102T150405.000Z")); err != nil {
		return "", err
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return "", err
	}
	return finishRestore(path)
}

// finishRestore completes a restore if a restored copy exists: it keeps the old files
// and gives the copy its final name. It can be interrupted at any point and run again.
// No process may use the store.
func finishRestore(path string) (kept string, err error) {
	copies, err := within(path, restored)
	if err != nil || len(copies) == 0 {
		return "", err
	}
	from := copies[len(copies)-1]
	aside := path + replaced + strings.TrimPrefix(from, path+restored)
	for _, file := range []struct {
		suffix string
		move   func(from, to string) error
	}{{suffixes[wal], os.Rename}, {"-journal", os.Rename}, {"", alsoName}} {
		switch err := file.move(path+file.suffix, aside+file.suffix); {
		case err == nil:
			kept = aside
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("set the old store aside: %w", err)
		}
	}
	if err := os.Remove(path + suffixes[shm]); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Rename(from, path); err != nil {
		return "", err
	}
	return kept, syncFile(filepath.Dir(path))
}

// alsoName gives a file a second name and keeps the first, so the store always has a
// file. On a file system without hard links it renames the file instead.
func alsoName(name, second string) error {
	err := os.Link(name, second)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, fs.ErrExist): // an interrupted restore has already done it
		if same, err := sameFile(name, second); err != nil || same {
			return err
		}
	}
	return os.Rename(name, second)
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(x, y), err
}

// copyFile copies a file to a new file that only its owner can read, and makes the new
// file durable.
func copyFile(ctx context.Context, from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, &untilDone{ctx, in}); err != nil {
		return err
	}
	return out.Sync()
}

// An untilDone reads from a reader until its context is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}
