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

// The suffixes of the files of a restore. They follow the path of the database.
const (
	restoring = "-restoring" // the copy of the backup, not yet checked
	restored  = "-restored-" // followed by a time: the copy, checked
	replaced  = ".replaced-" // followed by the same time: the files it took the place of
)

// Restore puts a backup in the place of the store at path, which no process may use,
// or makes the store from it. The files that it replaces are kept under the name that
// it returns, with their suffixes; the name is "" if no file was replaced. check may refuse
// the backup. If Restore is interrupted, either nothing has changed, or whoever
// opens the store next completes it.
func Restore(ctx context.Context, from, path string, at time.Time, check func(Meta) error) (kept string, err error) {
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
	if err := copyFile(ctx, from, temp); err != nil {
		return "", fmt.Errorf("copy the backup: %w", err)
	}
	if err := verify(ctx, temp, check); err != nil {
		return "", fmt.Errorf("%s cannot be restored: %w", from, err)
	}
	// A log of any other database is now one that does not belong to this one.
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

// finishRestore lets a restored copy take effect, if there is one: it keeps the old
// files and gives the copy its name. It can be interrupted anywhere and run again. No
// process may use the store.
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

// alsoName gives a file a second name. It keeps the first, so that at no moment the store
// seems to be missing, except on a file system where a file has only one name.
func alsoName(name, second string) error {
	err := os.Link(name, second)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, fs.ErrExist): // a restore that was interrupted has done it
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

// copyFile copies a file into one that only its owner can read, and makes it durable.
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

// An untilDone reads from a reader until a context is done.
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
