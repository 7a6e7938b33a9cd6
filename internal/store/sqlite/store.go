package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Store is a database file. It is safe for concurrent use; other processes may
// use the same file at the same time.
type Store struct {
	files      *files
	now        func() time.Time
	health     health
	writes     *queue.Queue[func(*conn) error]
	reads      *queue.Queue[func(*conn) error]
	serving    sync.WaitGroup // goroutines that answer writes and reads
	closing    sync.Once
	closeError error
	writer     *conn
	readers    []*conn
	scanners   chan *conn // closed together with the store
	scanning   int        // how many scanners exist
	checkpoint *checkpointer
	log        *slog.Logger

	segmentSize int // of events; see segments.go
}

// The sizes of the page caches of connections, in pages of 4 KiB.
const (
	writerCache = 8192
	readerCache = 2048
	scanCache   = 256
)

// Open opens the database file at path, creates it if it does not exist, and updates
// its schema. A nil log means slog.Default().
func Open(path string, log *slog.Logger) (*Store, error) { return open(path, log, true) }

// OpenExisting is like Open, but refuses a file that does not exist or is empty.
func OpenExisting(path string, log *slog.Logger) (*Store, error) { return open(path, log, false) }

func open(path string, log *slog.Logger, create bool) (_ *Store, err error) {
	if log == nil {
		log = slog.Default()
	}
	files, err := claim(path, create)
	if err != nil {
		return nil, err
	}
	s := &Store{
		files: files,
		now:   wallclock.Or(nil),

		segmentSize: segmentSize,

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
	if s.writer, err = dial(files, writerCache); err != nil {
		return nil, err
	}
	if err = upgrade(s.writer); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", files.path, err)
	}
	for range runtime.GOMAXPROCS(0) {
		c, err := dial(files, readerCache)
		if err != nil {
			return nil, err
		}
		s.readers = append(s.readers, c)
	}
	for range scanners {
		c, err := dial(files, scanCache)
		if err != nil {
			return nil, err
		}
		s.scanners <- c
		s.scanning++
	}
	background, err := dial(files, scanCache)
	if err != nil {
		return nil, err
	}
	s.checkpoint = startCheckpointer(background, s.writer.log, log)
	s.writer.recent = new(memory)
	s.writer.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		s.committed()
		s.checkpoint.hook(pages)
		return nil
	})
	s.serving.Go(s.serve)
	for _, c := range s.readers {
		s.serving.Go(func() {
			s.reads.Serve(maxShared, nil, func(group []*job, _ *queue.Hold) { readGroup(c, group) }, func() {})
		})
	}
	return s, nil
}

// Close waits for the accepted writes and reads, and closes the file. Later calls
// return ErrUnavailable.
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
	// The writer closes last: SQLite removes the log when the last connection closes.
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	errs = append(errs, s.files.release())
	return errors.Join(errs...)
}

// Check reads the whole database and reports damage.
func (s *Store) Check(ctx context.Context) error {
	return s.scan(ctx, (*conn).integrity)
}

// domainError adds mfa.ErrUnavailable to an error with a cause outside the database,
// and returns other errors unchanged.
func domainError(err error) error {
	if isOutage(err) && !errors.Is(err, mfa.ErrUnavailable) {
		return fmt.Errorf("%w: %w", mfa.ErrUnavailable, err)
	}
	return err
}
