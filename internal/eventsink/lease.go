package eventsink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A lease lets one process at a time write. The process that writes changes the value of
// the mark every few seconds. Another process takes the mark over when it has seen no
// change for a while, so no two clocks are compared.
//
// A process that is stopped for that long and then continues may write a batch that the
// next one writes too. It cannot store a position after that: a position is stored only if
// it has not changed.
type lease struct {
	store    Store
	servable func(context.Context) error
}

const (
	metaHolder = "events_sink_holder"
	free       = "free"
	beat       = 2 * time.Second
	takeover   = 10 * time.Second // without a change of the mark
)

var errLost = errors.New("another node writes now")

// hold waits until this process may write and calls fn. The context of fn ends when another
// process may write. hold returns the error of fn or of the store.
func (l lease) hold(ctx context.Context, fn func(context.Context) error) error {
	var id [8]byte
	rand.Read(id[:]) // never fails
	mark, err := l.acquire(ctx, hex.EncodeToString(id[:]))
	if err != nil {
		return err
	}
	held, lose := context.WithCancelCause(ctx)
	kept := make(chan string, 1)
	go func() { kept <- l.keep(held, lose, mark) }()
	err = fn(held)
	if cause := context.Cause(held); cause != nil && ctx.Err() == nil {
		err = cause
	}
	lose(nil)
	l.release(ctx, <-kept)
	return err
}

// acquire returns the mark of this process once it is stored.
func (l lease) acquire(ctx context.Context, id string) (mark string, err error) {
	var seen []byte
	since := wallclock.Start()
	for {
		if err := l.servable(ctx); err != nil {
			return "", err
		}
		current, err := l.store.Meta(ctx, metaHolder)
		if err != nil {
			return "", err
		}
		if string(current) != string(seen) {
			seen, since = current, wallclock.Start()
		}
		if current == nil || string(current) == free || since.Elapsed() >= takeover {
			mark := id + " 0"
			swapped, err := l.store.SwapMeta(ctx, metaHolder, current, []byte(mark))
			if err != nil {
				return "", err
			}
			if swapped {
				return mark, nil
			}
		}
		if err := wait(ctx, beat); err != nil {
			return "", err
		}
	}
}

// keep changes the mark until ctx ends. It calls lose if the mark is lost, or if it could
// not be changed for so long that another process may take it over. It returns the last
// mark, or "" if it is lost.
func (l lease) keep(ctx context.Context, lose context.CancelCauseFunc, mark string) string {
	changed := wallclock.Start()
	for n := 1; ; n++ {
		if wait(ctx, beat) != nil {
			return mark
		}
		err := l.servable(ctx)
		swapped := false
		next := fmt.Sprintf("%s %d", mark[:16], n)
		if err == nil {
			trial, cancel := context.WithTimeout(ctx, takeover-2*beat)
			swapped, err = l.store.SwapMeta(trial, metaHolder, []byte(mark), []byte(next))
			cancel()
		}
		switch {
		case err == nil && swapped:
			mark, changed = next, wallclock.Start()
		case ctx.Err() != nil:
			return "" // whether the mark has changed is unknown: it expires
		case err == nil:
			lose(errLost)
			return ""
		case changed.Elapsed() >= takeover-2*beat:
			lose(fmt.Errorf("keep the mark of this node: %w", err))
			return ""
		}
	}
}

// release lets another process write at once.
func (l lease) release(ctx context.Context, mark string) {
	if mark == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if l.servable(ctx) == nil {
		// If this fails, the mark expires.
		_, _ = l.store.SwapMeta(ctx, metaHolder, []byte(mark), []byte(free))
	}
}
