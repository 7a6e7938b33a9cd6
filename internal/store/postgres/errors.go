package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const (
	connectTimeout = 5 * time.Second
	// roundTrip bounds a transaction until its COMMIT is answered, waits for locks and
	// a second try on another connection included.
	roundTrip = 10 * time.Second
	// patience is how long a group waits for a lock before the jobs that need it are
	// separated from it. Transactions of other nodes rarely take as long.
	patience = 200 * time.Millisecond
	// stallAfter is how long a COMMIT may take, without any other being answered,
	// before requests are refused at once.
	stallAfter = 5 * time.Second
	// resolveFor bounds the search for the result of a commit.
	resolveFor   = 4 * time.Second
	resolvePause = 100 * time.Millisecond
)

var (
	errPooler   = errors.New("a pooler between gives statements to servers that have not prepared them: add default_query_exec_mode=cache_describe to the URL")
	errReadOnly = fmt.Errorf("%w: the server takes no writes", mfa.ErrUnavailable)
)

// An unknownError means that the connection broke while COMMIT was on its way: it
// may or may not have happened.
type unknownError struct {
	backend uint32 // the process of the server that ran the transaction
	cause   error
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("%v: it is not known whether the commit happened: %v", mfa.ErrUnavailable, e.cause)
}

func (e *unknownError) Unwrap() []error { return []error{mfa.ErrUnavailable, e.cause} }

// SQLSTATEs that say something about what to do next.
const (
	uniqueViolation      = "23505"
	readOnly             = "25006"
	serializationFailure = "40001"
	deadlock             = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014" // by a statement timeout
	noSuchStatement      = "26000"
	statementExists      = "42P05"
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
	case serializationFailure, deadlock:
		return isRefused(err)
	case uniqueViolation:
		return isRefused(err) && !isDuplicateID(err)
	}
	return false
}

// isDuplicateID reports whether a unique violation comes from a table whose rows
// are inserted without looking for them first, so that running again cannot help.
// A shard's name begins with that of its table.
func isDuplicateID(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.ContainsFunc([]string{"factors", "challenges", "events"}, func(table string) bool {
		return strings.HasPrefix(e.TableName, table)
	})
}

// isRefused reports whether the server answered a statement with err, and so has
// not committed. A FATAL error does not count as an answer: the server, or a pooler before
// it, ends a connection with one, and the statements before it may have succeeded.
func isRefused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && cmp.Or(e.SeverityUnlocalized, e.Severity) == "ERROR"
}

// isPooler reports whether a statement that the driver has prepared is not there, or
// one that it prepares already is: a pooler has changed the server between.
func isPooler(err error) bool {
	return sqlState(err) == noSuchStatement || sqlState(err) == statementExists
}

// A rowError means that a row is not what this program stores. It says nothing of the
// server, and concerns only who asked for the row.
type rowError struct{ cause error }

func (e *rowError) Error() string { return "a stored row cannot be read: " + e.cause.Error() }

func (e *rowError) Unwrap() error { return e.cause }

func isRowError(err error) bool {
	_, ok := errors.AsType[*rowError](err)
	return ok
}

// isLocked reports whether a transaction was given up because a lock was not to be had.
func isLocked(err error) bool { return isRefused(err) && sqlState(err) == lockNotAvailable }

// isBusy reports whether a statement was given up because it took too long, as it
// does when another transaction keeps a lock.
func isBusy(err error) bool {
	state := sqlState(err)
	return isRefused(err) && (state == lockNotAvailable || state == queryCanceled)
}

// isOutage reports whether err comes from the state of the server or the way to
// it, not from the statement: classes 08, 53, 57 and 58, a server that is
// read-only, and whatever is no answer to a statement.
func isOutage(err error) bool {
	if isBusy(err) || isRowError(err) {
		return false
	}
	state := sqlState(err)
	if !isRefused(err) || state == readOnly {
		return true
	}
	switch state[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return false
}

// domainError gives what the domain knows its own name and keeps the rest.
func domainError(err error) error {
	switch {
	case err == nil, errors.Is(err, mfa.ErrUnavailable), errors.Is(err, pgx.ErrNoRows):
		return err
	case errors.Is(err, context.Canceled) && !isRefused(err):
		return err
	case isPooler(err):
		return fmt.Errorf("%w; %w", err, errPooler)
	case isOutage(err), isBusy(err), isConflict(err) && sqlState(err) != uniqueViolation:
		return fmt.Errorf("%w: %w", mfa.ErrUnavailable, err)
	}
	return err
}
