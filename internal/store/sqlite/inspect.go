package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/store/inspection"
)

// Inspect reads the state of the store at path and the meta values with the given names.
// Unlike Open, it creates no file and changes none, and the schema may have any version. A
// process may use the store at the same time.
func Inspect(path string, names ...string) (state inspection.State, err error) {
	state = inspection.State{Close: func() error { return nil }}
	if path, err = resolve(path); errors.Is(err, fs.ErrNotExist) {
		return state, nil
	} else if err != nil {
		return state, fmt.Errorf("find the store: %w", err)
	}
	copies, err := within(path, restored)
	if err != nil {
		return state, fmt.Errorf("read the directory of the store: %w", err)
	}
	state.Restoring = len(copies) > 0
	h, err := readHeader(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmpty):
		if info, err := os.Stat(path + suffixes[wal]); err == nil && info.Size() > 0 && !state.Restoring {
			return state, errLogOnly(path)
		}
		return state, nil
	case err != nil && !state.Restoring:
		return state, err
	}
	// A process that opens the store at the same time waits for this lock.
	lock, inUse, err := lockToRead(path)
	if err != nil {
		return state, err
	}
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	if state.InUse = inUse; !inUse {
		if state.Restoring {
			return state, nil
		}
		if err := checkLog(path, h); err != nil {
			return state, err
		}
	}
	c, err := dialToRead(path, inUse)
	if err != nil {
		return state, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return state, c.inspect(&state, names)
}

// errLogOnly is the error for a log without a database.
func errLogOnly(path string) error {
	return fmt.Errorf("the database %s is missing or empty, but its log %s is there; put the database back, or restore a backup with 'countersign restore'",
		path, path+suffixes[wal])
}

// lockToRead takes the lock of the store, unless another process has it. It returns no file
// if the lock file does not exist.
func lockToRead(path string) (lockFile *os.File, inUse bool, err error) {
	f, err := os.Open(path + suffixes[lock])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open the lock file of the store: %w", err)
	}
	alone, err := tryLock(f, exclusive)
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, !alone, nil
}

// dialToRead connects to the database at path in a way that changes no file. If no process
// uses the store, the caller holds its lock.
func dialToRead(path string, inUse bool) (*conn, error) {
	flags, name, setup := sqlite3.OPEN_READONLY, path, ""
	if !inUse {
		switch info, err := os.Stat(path + suffixes[wal]); {
		case err == nil && info.Size() > 0:
			// A crash left the log. With this mode SQLite builds the index of the log in
			// memory and does not write it to a file. It needs the permission to write.
			flags, setup = sqlite3.OPEN_READWRITE, "PRAGMA locking_mode = EXCLUSIVE"
		case err == nil || errors.Is(err, fs.ErrNotExist):
			flags, name = flags|sqlite3.OPEN_URI, immutableURI(path) // otherwise it would create a log
		default:
			return nil, err
		}
	}
	db, err := sqlite3.OpenFlags(name, flags)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &conn{db: db, statements: make(map[string]*statement), files: &files{path: path}, log: new(logState)}
	keep := errors.New("keep the log when the connection closes")
	c.files.lost.Store(&keep) // close then neither copies nor removes the log
	if err := errors.Join(db.BusyTimeout(busyTimeout), db.Exec(setup)); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), c.close())
	}
	return c, nil
}

// immutableURI names the database at path for a connection that takes no locks and creates
// no files.
func immutableURI(path string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: "immutable=1"}).String()
}

// inspect fills state from the database.
func (c *conn) inspect(state *inspection.State, names []string) error {
	all, err := loadMigrations()
	if err != nil {
		return err
	}
	state.Known = len(all)
	if state.Version, err = c.schema(); err != nil {
		return fmt.Errorf("read %s: %w", c.files.path, err)
	}
	if state.Version == 0 {
		return c.refuseForeign()
	}
	state.Exists, state.Meta = true, make(map[string][]byte)
	for _, name := range names {
		value, err := readMeta(c, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", c.files.path, err)
		}
		if value != nil {
			state.Meta[name] = value
		}
	}
	if state.Version == state.Known {
		if state.Newest, err = newest(c); err != nil {
			return err
		}
		err = nodeRows.list(c.prepare(selectNodes).int(nodes.Most), &state.Nodes)
	}
	return err
}

// refuseForeign returns an error if a database without a schema of Countersign has tables.
func (c *conn) refuseForeign() error {
	tables := 0
	err := c.prepare("SELECT count(*) FROM sqlite_schema").each(func(row *rowReader) error {
		tables = int(row.int())
		return nil
	})
	if err == nil && tables > 0 {
		err = fmt.Errorf("%s is a database of another program", c.files.path)
	}
	return err
}
