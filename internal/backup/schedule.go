// Package backup backs up a store at regular times and keeps the newest backups. schedule.go
// decides when; record.go remembers which files are backups, so no other file is removed.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// Options say when and how to back up. All fields without a default are required.
type Options struct {
	Dir   string        // where the backups go
	Every time.Duration // the time from one to the next
	Keep  int           // how many stay

	// Make writes a backup to a new file, which appears when it is complete, and returns its
	// size in bytes.
	Make func(ctx context.Context, file string) (int64, error)
	// Need returns the number of bytes that a backup can need, and Free how many are free in
	// a directory. A nil Free means that this is not known.
	Need   func() int64
	Free   func(dir string) (int64, error)
	Logger *slog.Logger
	Now    func() time.Time // default time.Now
}

// spare is what a backup must leave free, in bytes: a full disk may be that of the store.
const spare = 64 << 20

// longestWait bounds the time until the clock is read again: it may be set.
const longestWait = time.Minute

// retryAfter is the time after a failure, unless Every is shorter.
const retryAfter = 5 * time.Minute

// A Schedule backs up a store. It is safe for concurrent use.
type Schedule struct {
	record record
	opts   Options

	mu    sync.Mutex
	state State
}

// A State is what a Schedule has done.
type State struct {
	Newest   File // zero before the first backup
	Failures int  // failed backups, since the start of the process
}

// New returns a Schedule of the store at path. Dir must exist: a directory that is missing may
// be a disk that is not mounted.
func New(path string, opts Options) (*Schedule, error) {
	opts.Now = wallclock.Or(opts.Now)
	info, err := os.Stat(opts.Dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", opts.Dir)
	}
	s := &Schedule{record: recordOf(path), opts: opts}
	return s, s.find()
}

// State returns what the Schedule has done.
func (s *Schedule) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// find takes the newest backup from the record.
func (s *Schedule) find() error {
	files, err := s.record.files(s.opts.Dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Newest = File{}
	if len(files) > 0 {
		s.state.Newest = files[len(files)-1]
	}
	return nil
}

// Run backs up until ctx ends: at once if the newest backup is older than Every, and then
// each time that it is. A failure is logged and counted, and tried again after five minutes
// or Every, if that is shorter.
func (s *Schedule) Run(ctx context.Context) {
	var notBefore time.Time // after a failure
	for {
		wait := s.wait(notBefore)
		if wait <= 0 {
			notBefore = time.Time{}
			if err := s.backUp(ctx); err != nil && ctx.Err() == nil {
				s.fail(err)
				notBefore = s.opts.Now().Add(min(retryAfter, s.opts.Every))
			}
			if ctx.Err() != nil {
				return // the backup is still due
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// wait returns the time until a backup is due, or to look again.
func (s *Schedule) wait(notBefore time.Time) time.Duration {
	now := s.opts.Now()
	newest := s.State().Newest.At
	if newest.After(now) { // the clock was set back
		newest = time.Time{}
	}
	due := newest.Add(s.opts.Every)
	if due.Before(notBefore) {
		due = notBefore
	}
	return min(due.Sub(now), longestWait)
}

func (s *Schedule) fail(err error) {
	s.mu.Lock()
	s.state.Failures++
	s.mu.Unlock()
	s.opts.Logger.Error("the store is not backed up; it is tried again", "dir", s.opts.Dir, "error", err)
}

// backUp makes one backup and removes those beyond Keep. It does nothing if another process
// on the same store has made a backup since.
func (s *Schedule) backUp(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.find(); err != nil {
		return err
	}
	if s.wait(time.Time{}) > 0 {
		return nil
	}
	if err := s.removePartial(); err != nil {
		return err
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	began := s.opts.Now()
	name := s.record.name(began)
	if err := s.record.add(name); err != nil {
		return err
	}
	size, err := s.opts.Make(ctx, filepath.Join(s.opts.Dir, name))
	if err != nil {
		return err
	}
	if err := s.find(); err != nil {
		return err
	}
	s.opts.Logger.Info("backed up the store", "file", name, "bytes", size, "took", s.opts.Now().Sub(began).Round(time.Millisecond).String())
	return s.prune()
}

// checkSpace returns an error if a backup could fill the disk.
func (s *Schedule) checkSpace() error {
	if s.opts.Free == nil {
		return nil
	}
	free, err := s.opts.Free(s.opts.Dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the free space: %w", err)
	}
	if need := s.opts.Need() + spare; free < need {
		return fmt.Errorf("%d MiB are free in %s, and a backup can need %d MiB; free some space, or lower backup_keep", free>>20, s.opts.Dir, need>>20)
	}
	return nil
}

// prune removes the oldest backups beyond Keep, and forgets the names of which no file is
// left.
func (s *Schedule) prune() error {
	files, err := s.record.files(s.opts.Dir)
	if err != nil {
		return err
	}
	for len(files) > s.opts.Keep {
		if err := os.Remove(files[0].Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an old backup: %w", err)
		}
		files = files[1:]
	}
	partial, err := s.record.partial(s.opts.Dir)
	if err != nil {
		return err
	}
	names := slices.Collect(maps.Keys(partial))
	for _, f := range files {
		names = append(names, filepath.Base(f.Path))
	}
	return s.record.write(names)
}

// removePartial removes what a killed process left of a backup. A file that was written to
// within the last hour may be that of a running process.
func (s *Schedule) removePartial() error {
	partial, err := s.record.partial(s.opts.Dir)
	if err != nil {
		return err
	}
	for _, path := range partial {
		info, err := os.Stat(path)
		if err == nil && s.opts.Now().Sub(info.ModTime()) > time.Hour {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an incomplete backup: %w", err)
		}
	}
	return nil
}
