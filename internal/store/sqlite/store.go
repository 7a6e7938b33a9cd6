// Package sqlite keeps everything in one SQLite database, for one machine.
//
// All writes go through one goroutine that commits in groups: it runs every
// write that waits, commits once, then answers all. One fsync serves many
// requests, and none is answered before its commit.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/migrate"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Store is a database file. It is safe for concurrent use; other processes may
// use the same file at the same time.
type Store struct {
	queue      *queue.Queue[func(*conn) error]
	served     chan struct{} // closed when the writer has ended
	closing    sync.Once
	closeError error
	writer     *conn
	readers    chan *conn // closed with the store
	reading    int        // how many readers there are
	checkpoint *checkpointer
	log        *slog.Logger
}

const (
	writerCache = 8192 // pages of 4 KiB
	readerCache = 1024
)

// Open opens the database file at path, makes it if it is not there, and brings
// its schema up to date. A nil log means slog.Default().
func Open(path string, log *slog.Logger) (_ *Store, err error) {
	if log == nil {
		log = slog.Default()
	}
	if err := create(path); err != nil {
		return nil, err
	}
	s := &Store{
		queue:   queue.New[func(*conn) error](maxWaiting),
		served:  make(chan struct{}),
		readers: make(chan *conn, max(4, runtime.GOMAXPROCS(0))),
		log:     log,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeConns())
		}
	}()
	if s.writer, err = dial(path, writerCache); err != nil {
		return nil, err
	}
	if err = s.migrate(); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", path, err)
	}
	if err = hide(path); err != nil {
		return nil, err
	}
	for range cap(s.readers) {
		c, err := dial(path, readerCache)
		if err != nil {
			return nil, err
		}
		s.readers <- c
		s.reading++
	}
	background, err := dial(path, readerCache)
	if err != nil {
		return nil, err
	}
	s.checkpoint = startCheckpointer(background, log)
	s.writer.db.WALHook(s.checkpoint.hook)
	go s.serve(s.writer)
	return s, nil
}

// create makes the file so that only its owner can read it.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the directory of the store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("create the store: %w", err)
	}
	return f.Close()
}

// hide does the same for the files that SQLite keeps beside it, which the driver
// lets everybody read. They hold no rows yet: the first are written after this.
func hide(path string) error {
	for _, file := range []string{path + "-wal", path + "-shm"} {
		if err := os.Chmod(file, 0o600); err != nil {
			return fmt.Errorf("hide the log of the store: %w", err)
		}
	}
	return nil
}

func (s *Store) migrate() error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	all, err := migrate.Load(dir)
	if err != nil {
		return err
	}
	// Two processes may start at once: the version is read under the write lock.
	return s.writer.transaction("BEGIN IMMEDIATE", func() error {
		var version int
		err := s.writer.prepare("PRAGMA user_version").each(func(c *columns) error {
			version = int(c.int())
			return nil
		})
		if err != nil {
			return err
		}
		missing, err := migrate.After(all, version)
		if err != nil {
			return err
		}
		for _, m := range missing {
			if err := s.writer.db.Exec(m.SQL); err != nil {
				return fmt.Errorf("%04d_%s: %w", m.Version, m.Name, err)
			}
			if err := s.writer.db.Exec(fmt.Sprintf("PRAGMA user_version = %d", m.Version)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close waits for the writes that were accepted and the reads that have begun,
// and closes the file. Whatever is asked of the store afterwards is ErrUnavailable.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.queue.Close()
		<-s.served
		s.closeError = s.closeConns()
	})
	return s.closeError
}

func (s *Store) closeConns() error {
	var errs []error
	if s.checkpoint != nil {
		errs = append(errs, s.checkpoint.stop())
	}
	for range s.reading {
		c := <-s.readers
		errs = append(errs, c.close())
	}
	close(s.readers)
	// Last, so that its close finds itself alone and leaves no log behind.
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	return errors.Join(errs...)
}

// read runs fn on a connection for reading. What it reads is bounded, so that it
// is not interrupted when ctx ends: an interrupted transaction could not even be
// rolled back.
func (s *Store) read(ctx context.Context, fn func(c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	var open bool
	select {
	case c, open = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !open {
		return queue.ErrClosed
	}
	defer func() { s.readers <- c }()
	return domainError(fn(c))
}

// Ping reports whether the store can be read.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, func(c *conn) error {
		return c.prepare("SELECT 1 FROM meta LIMIT 1").each(func(*columns) error { return nil })
	})
}

// Check reads the whole database and reports what is damaged.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, func(c *conn) error {
		var errs []error
		err := c.prepare("PRAGMA integrity_check").each(func(row *columns) error {
			if text := row.text(); text != "ok" {
				errs = append(errs, errors.New(text))
			}
			return nil
		})
		return errors.Join(append(errs, err)...)
	})
}

// domainError gives what the domain knows its own name and keeps the rest.
func domainError(err error) error {
	switch {
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.FULL), errors.Is(err, sqlite3.IOERR):
		return fmt.Errorf("%w: %w", mfa.ErrUnavailable, err)
	}
	return err
}
