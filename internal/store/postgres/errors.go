package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	connectTimeout = 5 * time.Second
	// roundTrip bounds one round trip of a transaction, waits for locks included.
	roundTrip = 10 * time.Second
)

var (
	errClosed  = fmt.Errorf("%w: it is closed", mfa.ErrUnavailable)
	errStandby = fmt.Errorf("%w: the server is a standby", mfa.ErrUnavailable)
	// errUnknown means that the connection broke while COMMIT was on its way: it
	// may or may not have happened.
	errUnknown = fmt.Errorf("%w: it is not known whether the commit happened", mfa.ErrUnavailable)
)

// SQLSTATEs that say something about what to do next.
const (
	uniqueViolation      = "23505"
	readOnly             = "25006"
	serializationFailure = "40001"
	deadlock             = "40P01"
	lockNotAvailable     = "55P03"
)

func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// isConflict reports whether a transaction failed because of another one, so that
// it may succeed if it is run again. A row that was not there when it was looked
// for, and then was when it was inserted, is such a case.
func isConflict(err error) bool {
	switch sqlState(err) {
	case serializationFailure, deadlock, lockNotAvailable, uniqueViolation:
		return true
	}
	return false
}

// isServerError reports whether the server itself answered with err, and so has
// not committed.
func isServerError(err error) bool { return sqlState(err) != "" }

// isOutage reports whether err comes from the state of the server or the way to
// it, not from the statement: classes 08, 25006, 53, 57 and 58, and whatever is
// no answer of the server at all.
func isOutage(err error) bool {
	state := sqlState(err)
	if state == "" {
		return true
	}
	switch state[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return state == readOnly
}

// domainError gives what the domain knows its own name and keeps the rest.
func domainError(err error) error {
	switch {
	case err == nil, errors.Is(err, mfa.ErrUnavailable), errors.Is(err, pgx.ErrNoRows):
		return err
	case errors.Is(err, context.Canceled) && !isServerError(err):
		return err
	case isOutage(err), isConflict(err) && sqlState(err) != uniqueViolation:
		return fmt.Errorf("%w: %w", mfa.ErrUnavailable, err)
	}
	return err
}
