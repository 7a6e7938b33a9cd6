package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A devClock is the clock of the machine and the time by which tests have moved it forward.
// A file keeps that time for the next start, because the store has rows of that time.
type devClock struct {
	path  string
	start time.Duration // ahead at the start of the process
	mu    sync.Mutex
	ahead atomic.Int64 // nanoseconds
}

func readDevClock(path string) (*devClock, error) {
	c := &devClock{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	} else if err != nil {
		return nil, err
	}
	ahead, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.start = ahead
	c.ahead.Store(int64(ahead))
	return c, nil
}

func (c *devClock) Now() time.Time       { return wallclock.Or(nil)().Add(c.Ahead()) }
func (c *devClock) Ahead() time.Duration { return time.Duration(c.ahead.Load()) }

// Advance moves the clock forward, after the file has the new time.
func (c *devClock) Advance(by time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set(c.Ahead() + by)
}

// Reset moves the clock back to where it was at the start of the process. The store must have
// no row of a later time.
func (c *devClock) Reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Ahead() == c.start {
		return nil
	}
	return c.set(c.start)
}

func (c *devClock) set(ahead time.Duration) error {
	if err := atomicfile.Replace(c.path, []byte(ahead.String()+"\n"), 0o600); err != nil {
		return err
	}
	c.ahead.Store(int64(ahead))
	return nil
}
