package events

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// ErrCursor is the error of Check.
var ErrCursor = errors.New("the environment never had an event at this position")

// Check returns an error that matches ErrCursor unless a reader of an environment can
// continue after a position. The position is zero, that of an event of the environment, or
// older than all kept events: then its event may have been removed. It may also be a place
// in time, as mfa.FirstEventAt returns it.
func (s *Service) Check(ctx context.Context, env mfa.EnvironmentID, after mfa.EventID) error {
	if after == (mfa.EventID{}) || after == mfa.FirstEventAt(mfa.TimeOf(after)) {
		return nil
	}
	found, err := s.log.ReadEvents(ctx, Query{Environment: env, After: before(after), Limit: 1})
	switch {
	case err != nil:
		return fmt.Errorf("read the event of a cursor: %w", err)
	case len(found.Events) > 0 && found.Events[0].ID == after:
		return nil
	case mfa.TimeOf(after).Before(s.opts.Now().Add(-s.opts.Retention)):
		return nil
	}
	return ErrCursor
}

// before returns the position before another one, which is not zero.
func before(id mfa.EventID) mfa.EventID {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	if lo == 0 {
		hi--
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo-1)
	return id
}
