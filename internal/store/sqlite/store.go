// Package sqlite keeps everything in one SQLite database, for one machine.
//
// All writes go through one goroutine that commits in groups: it runs every
// write that waits, commits once, then answers all. One fsync serves many
// requests, and none is answered before its commit.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// A Store is a database file. It is safe for concurrent use; other processes may
// use the same file at the same time.
type Store struct {
	writes     *queue.Queue[func(*conn) error]
	reads      *queue.Queue[func(*conn) error]
	serving    sync.WaitGroup // who answers both
	closing    sync.Once
	closeError error
	writer     *conn
	readers    []*conn
	scanners   chan *conn // closed with the store
	scanning   int        // how many scanners there are
	checkpoint *checkpointer
	log        *slog.Logger
}

// How much of the file connections keep in memory, in pages of 4 KiB.
const (
	writerCache = 8192
	readerCache = 2048
	scanCache   = 256
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
		writes:   queue.New[func(*conn) error](maxWaiting),
		reads:    queue.New[func(*conn) error](maxWaiting),
		scanners: make(chan *conn, scanners),
		log:      log,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeConns())
		}
	}()
	if s.writer, err = dial(path, writerCache); err != nil {
		return nil, err
	}
	if err = upgrade(s.writer); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", path, err)
	}
	if err = hide(path); err != nil {
		return nil, err
	}
	for range runtime.GOMAXPROCS(0) {
		c, err := dial(path, readerCache)
		if err != nil {
			return nil, err
		}
		s.readers = append(s.readers, c)
	}
	for range scanners {
		c, err := dial(path, scanCache)
		if err != nil {
			return nil, err
		}
		s.scanners <- c
		s.scanning++
	}
	background, err := dial(path, scanCache)
	if err != nil {
		return nil, err
	}
	s.checkpoint = startCheckpointer(background, log)
	s.writer.recent = new(memory)
	s.writer.db.WALHook(s.checkpoint.hook)
	s.serving.Go(func() { s.serve(s.writer) })
	for _, c := range s.readers {
		s.serving.Go(func() {
			s.reads.Serve(maxShared, nil, func(group []*job) { readGroup(c, group) }, func() {})
		})
	}
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

// Close waits for the writes and reads that were accepted, and closes the file.
// Whatever is asked of the store afterwards is ErrUnavailable.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.writes.Close()
		s.reads.Close()
		s.serving.Wait()
		s.closeError = s.closeConns()
	})
	return s.closeError
}

func (s *Store) closeConns() error {
	var errs []error
	if s.checkpoint != nil {
		errs = append(errs, s.checkpoint.stop())
	}
	for range s.scanning {
		c := <-s.scanners
		errs = append(errs, c.close())
	}
	close(s.scanners)
	for _, c := range s.readers {
		errs = append(errs, c.close())
	}
	// Last, so that its close finds itself alone and leaves no log behind.
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	return errors.Join(errs...)
}

// Ping reports whether the store can be read.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, func(c *conn) error {
		return c.prepare("SELECT 1 FROM meta LIMIT 1").each(func(*columns) error { return nil })
	})
}

// Check reads the whole database and reports what is damaged.
func (s *Store) Check(ctx context.Context) error {
	return s.scan(ctx, func(c *conn) error {
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
