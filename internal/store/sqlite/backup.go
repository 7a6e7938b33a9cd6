package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/store/migrate"
)

// Backup writes a consistent snapshot of the store at path to a file and returns the
// size of the file in bytes. Other processes may use the store at the same time. The
// file appears after it is complete, durable and checked. Backup replaces an existing
// file only if overwrite is set. If progress is not nil, Backup calls it a few times a second
// with the number of bytes that are written, and the size of the store.
func Backup(ctx context.Context, path, to string, overwrite bool, progress func(done, total int64)) (size int64, err error) {
	files, err := claim(path, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, files.release()) }()
	if err := files.refuseTarget(to, overwrite); err != nil {
		return 0, err
	}
	temp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-partial-*")
	if err != nil {
		return 0, fmt.Errorf("create the backup: %w", err)
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return 0, err
	}
	done := watch(temp.Name(), path, progress)
	err = files.copyInto(ctx, temp.Name())
	done()
	if err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	if err := stamp(temp.Name()); err != nil {
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	if err := verify(ctx, temp.Name(), nil); err != nil {
		return 0, fmt.Errorf("check the backup: %w", err)
	}
	if err := syncFile(temp.Name()); err != nil {
		return 0, err
	}
	info, err := os.Stat(temp.Name())
	if err != nil {
		return 0, err
	}
	if err := files.refuseTarget(to, overwrite); err != nil {
		return 0, err
	}
	if err := os.Rename(temp.Name(), to); err != nil {
		return 0, err
	}
	return info.Size(), syncFile(filepath.Dir(to))
}

// watchEvery is the time between two reports of the progress of a backup.
const watchEvery = 100 * time.Millisecond

// watch reports the size of the file temp until done is called.
func watch(temp, path string, progress func(done, total int64)) (done func()) {
	if progress == nil {
		return func() {}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				written, err := os.Stat(temp)
				whole, err2 := os.Stat(path)
				if err == nil && err2 == nil {
					progress(written.Size(), whole.Size())
				}
			}
		}
	})
	return func() { close(stop); wg.Wait() }
}

// refuseTarget returns an error if a backup must not be written to the file named to.
func (f *files) refuseTarget(to string, overwrite bool) error {
	info, err := os.Stat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, suffix := range suffixes {
		if own, err := os.Stat(f.path + suffix); err == nil && os.SameFile(info, own) {
			return fmt.Errorf("%s is a file of the store itself; name another file for the backup", to)
		}
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file; name another file for the backup", to)
	}
	if !overwrite {
		return fmt.Errorf("%s: %w; name another file, or give --overwrite", to, fs.ErrExist)
	}
	return nil
}

// copyInto copies a consistent snapshot of the database into an empty file.
func (f *files) copyInto(ctx context.Context, to string) (err error) {
	c, err := dial(f, scanCache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	c.db.SetInterrupt(ctx)
	err = c.db.Exec("VACUUM INTO " + sqlite3.Quote(to))
	c.db.SetInterrupt(context.Background())
	if err != nil {
		return err
	}
	return f.check()
}

// A Meta reads a named value. It returns nil if the value does not exist.
type Meta func(name string) ([]byte, error)

// verify returns an error unless the file at path is a complete and undamaged database
// of a version that this program knows. No process may have the file open. verify
// changes the file to the format without a log. If check is not nil, verify calls it
// last and returns its error.
func verify(ctx context.Context, path string, check func(Meta) error) (err error) {
	if _, err := readHeader(path); err != nil {
		return err
	}
	if err := setFormat(path, formatPlain); err != nil {
		return err
	}
	db, err := sqlite3.Open(path)
	if err != nil {
		return err
	}
	c := &conn{db: db, statements: make(map[string]*statement), files: new(files), log: new(logState)}
	defer func() { err = errors.Join(err, c.close()) }()
	db.SetInterrupt(ctx)
	defer db.SetInterrupt(context.Background())
	if err := c.integrity(); err != nil {
		return err
	}
	all, err := loadMigrations()
	if err != nil {
		return err
	}
	version, err := c.schema()
	if err != nil {
		return err
	}
	if version == 0 {
		return errors.New("it is a database of another program: it has no schema of Countersign")
	}
	if _, err := migrate.After(all, version); err != nil {
		return err
	}
	meta := func(name string) ([]byte, error) { return readMeta(c, name) }
	if check == nil {
		_, err = meta("")
		return err
	}
	return check(meta)
}

// integrity reads the whole database and reports damage.
func (c *conn) integrity() error {
	var errs []error
	err := c.prepare("PRAGMA integrity_check").each(func(row *rowReader) error {
		if text := row.text(); text != "ok" {
			errs = append(errs, errors.New(text))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}
