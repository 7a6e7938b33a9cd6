package sqlite

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// files are the files of an open store: the database, the write-ahead log and its
// index, which SQLite keeps next to the database, and a lock file. Every process that
// has the store open holds a shared lock on the lock file. The first process holds an
// exclusive lock while it checks the files of the previous process and writes their
// identities into the lock file. See docs/adr/0019-files-of-the-embedded-store.md.
type files struct {
	path string // with symbolic links resolved in the same way as by SQLite
	lock *os.File
	ids  identities
	lost atomic.Pointer[error] // set after a check found a replaced or removed file
}

// identities identify the database, its log, the index of the log and the lock file.
type identities [4]fileID

// suffixes follow the path of the database in the names of the files, in the order of
// identities.
var suffixes = [len(identities{})]string{"", "-wal", "-shm", "-lock"}

const (
	wal  = 1 // indices of suffixes
	shm  = 2
	lock = 3
)

const (
	// settleTime is how long another process may take to close a store. During that
	// time the files may differ from the recorded identities.
	settleTime = 2 * time.Second
	// lockPause is the pause between two attempts to take a lock.
	lockPause = 5 * time.Millisecond
)

// errInUse means that a process has the store open.
var errInUse = errors.New("the store is in use by another process; stop it first")

// errBusy means that another process is opening or restoring the store.
var errBusy = errors.New("another process is starting on the store or restoring it; try again when it is done")

// resolve returns the path that SQLite opens for the given path.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if target, err := os.Readlink(path); err == nil { // the target does not exist yet
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return resolve(target)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// claim opens the store at path for this process, together with other processes. If
// create is set, it creates a missing database.
func claim(path string, create bool) (_ *files, err error) {
	if create {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of the store: %w", err)
		}
	} else if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no store at %s: %w", path, err)
	}
	path, err = resolve(path)
	if err != nil {
		return nil, fmt.Errorf("find the store: %w", err)
	}
	// The database may be damaged if a restored copy is about to replace it.
	copies, err := within(path, restored)
	if err != nil {
		return nil, err
	}
	if _, err := readHeader(path); errors.Is(err, sqlite3.NOTADB) && len(copies) == 0 {
		return nil, err
	}
	f := &files{path: path}
	start := wallclock.Start()
	for {
		err := f.tryClaim(create)
		if err == nil {
			return f, nil
		}
		_, replaced := errors.AsType[*replacedError](err)
		if waited := start.Elapsed(); replaced && waited < settleTime || errors.Is(err, errBusy) && waited < busyTimeout {
			time.Sleep(lockPause)
			continue
		}
		return nil, err
	}
}

func (f *files) tryClaim(create bool) (err error) {
	if err := f.openLock(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.release())
		}
	}()
	if alone, err := tryLock(f.lock, exclusive); err != nil {
		return err
	} else if alone {
		return f.first(create)
	}
	if ok, err := tryLock(f.lock, shared); err != nil {
		return err
	} else if !ok {
		return errBusy
	}
	return f.join()
}

// claimAlone opens the store at path only for this process, or returns errInUse.
func claimAlone(path string) (_ *files, err error) {
	path, err = resolve(path)
	if err != nil {
		return nil, fmt.Errorf("find the store: %w", err)
	}
	f := &files{path: path}
	for start := wallclock.Start(); ; time.Sleep(lockPause) {
		if err := f.openLock(); err != nil {
			return nil, err
		}
		alone, err := tryLock(f.lock, exclusive)
		if err == nil && alone {
			return f, nil
		}
		if err = errors.Join(err, f.release()); err != nil {
			return nil, err
		}
		// Another process may hold the lock for a moment, only to check whether any
		// other process uses the store.
		if start.Elapsed() > settleTime/4 {
			return nil, fmt.Errorf("%s: %w", path, errInUse)
		}
	}
}

func (f *files) openLock() (err error) {
	f.lock, err = os.OpenFile(f.path+suffixes[lock], os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock file of the store: %w", err)
	}
	return nil
}

// first prepares the files for a process with the exclusive lock, and then admits other
// processes.
func (f *files) first(create bool) error {
	if _, err := finishRestore(f.path); err != nil {
		return err
	}
	if err := f.prepare(create); err != nil {
		return err
	}
	var err error
	if f.ids, err = f.identify(); err != nil {
		return err
	}
	text, err := json.Marshal(f.ids.numbers())
	if err != nil {
		return err
	}
	if err := f.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := f.lock.WriteAt(text, 0); err != nil {
		return fmt.Errorf("write the lock file of the store: %w", err)
	}
	// Between the two locks another process may take the exclusive lock. It prepares
	// the same files again without changing them.
	if ok, err := tryLock(f.lock, shared); err != nil || !ok {
		return errors.Join(err, errBusy)
	}
	return f.check()
}

// join checks that the files are the same files that the first process recorded.
func (f *files) join() error {
	text, err := io.ReadAll(io.NewSectionReader(f.lock, 0, 1<<10))
	if err != nil {
		return err
	}
	var numbers [][2]uint64
	if err := json.Unmarshal(text, &numbers); err != nil || len(numbers) != len(f.ids) {
		return errBusy // the first process is still writing
	}
	for i, n := range numbers {
		f.ids[i] = fileID{n[0], n[1]}
	}
	f.lost.Store(nil)
	return f.check()
}

func (ids identities) numbers() (n [][2]uint64) {
	for _, id := range ids {
		n = append(n, [2]uint64{id.device, id.inode})
	}
	return n
}

func (f *files) identify() (ids identities, err error) {
	for i, suffix := range suffixes {
		if ids[i], err = identify(f.path + suffix); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

// A replacedError means that a file of an open store was replaced or removed.
type replacedError struct{ path string }

func (e *replacedError) Error() string {
	return fmt.Sprintf("%s was replaced or removed while a process has the store open: new writes would be lost; "+
		"stop every process that uses the store, put its files back or restore a backup, then start again", e.path)
}

func (e *replacedError) Unwrap() error { return mfa.ErrUnavailable }

// known returns the error of the first failed check, or nil.
func (f *files) known() error {
	if err := f.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// check returns a replacedError if a file is not the opened file. All later checks
// return the same error.
func (f *files) check() error {
	if err := f.known(); err != nil {
		return err
	}
	for i, suffix := range suffixes {
		path := f.path + suffix
		id, err := identify(path)
		switch {
		case err == nil && id == f.ids[i]:
			continue
		case err == nil, errors.Is(err, fs.ErrNotExist):
			err = &replacedError{path}
			f.lost.CompareAndSwap(nil, &err)
			return err
		default:
			return fmt.Errorf("%w: %w", mfa.ErrUnavailable, err)
		}
	}
	return nil
}

// release closes the lock file, which releases the lock.
func (f *files) release() error { return f.lock.Close() }

// prepare creates a missing database and refuses a database whose log belongs to
// another database. It also creates the files that SQLite would create, but only the
// owner can read them: every user could read SQLite's own.
func (f *files) prepare(create bool) error {
	log := f.path + suffixes[wal]
	h, err := readHeader(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmpty):
		if info, err := os.Stat(log); err == nil && info.Size() > 0 {
			return errLogOnly(f.path)
		}
		if !create {
			return fmt.Errorf("there is no store at %s: %w", f.path, fs.ErrNotExist)
		}
		if err := makeDatabase(f.path); err != nil {
			return fmt.Errorf("create the store: %w", err)
		}
	case err != nil:
		return err
	default:
		if err := checkLog(f.path, h); err != nil {
			return err
		}
		if !h.logged {
			if err := useLog(f.path); err != nil {
				return fmt.Errorf("prepare %s: %w", f.path, err)
			}
		}
	}
	if err := os.Chmod(f.path, 0o600); err != nil {
		return fmt.Errorf("hide the store: %w", err)
	}
	for _, path := range []string{log, f.path + suffixes[shm]} {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return fmt.Errorf("create the log of the store: %w", err)
		}
		if err := errors.Join(file.Chmod(0o600), file.Close()); err != nil {
			return fmt.Errorf("hide the log of the store: %w", err)
		}
	}
	return nil
}

// makeDatabase creates an empty database at path. An interruption never leaves an
// incomplete file at path.
func makeDatabase(path string) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return err
	}
	if err := errors.Join(stamp(temp.Name()), setFormat(temp.Name(), formatWAL)); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

// stamp gives the database at path a random identity. No process may have the database
// open.
func stamp(path string) error {
	db, err := sqlite3.Open(path)
	if err != nil {
		return err
	}
	var identity [4]byte
	rand.Read(identity[:]) // never returns an error
	number := int32(binary.BigEndian.Uint32(identity[:]))
	return errors.Join(db.Exec(fmt.Sprintf("PRAGMA journal_mode = OFF; PRAGMA application_id = %d", number)), db.Close())
}

// useLog marks the database at path as one with a write-ahead log. No process may have
// the database open. If SQLite did this, every user could read the log.
func useLog(path string) error {
	if _, err := os.Stat(path + "-journal"); err == nil {
		// Another program may have stopped during a change; a read rolls that change
		// back.
		db, err := sqlite3.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(db.Exec("SELECT count(*) FROM sqlite_schema"), db.Close()); err != nil {
			return err
		}
	}
	return setFormat(path, formatWAL)
}

// setFormat writes a format number into the database at path and makes the file
// durable. No process may have the database open.
func setFormat(path string, format byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{format, format}, formatOffset)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncFile makes a file or a directory durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// within lists the files in the directory of path whose names begin with the name of
// path followed by suffix.
func within(path, suffix string) (found []string, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+suffix) {
			found = append(found, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return found, nil
}
