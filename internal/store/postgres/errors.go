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
	// roundTrip limits the time of a transaction until COMMIT is answered, including
	// waits for locks and a second try on another connection.
	roundTrip = 10 * time.Second
	// patience is how long a group waits for a lock before it continues without the jobs
	// that need the lock. Transactions of other nodes are usually shorter.
	patience = 200 * time.Millisecond
	// stallAfter is how long a COMMIT may take. If no COMMIT is answered during that time,
	// requests are refused immediately.
	stallAfter = 5 * time.Second
	// idleFor limits the time between the two round trips of a transaction. A node that stops
	// there keeps its locks that long, and the events of all nodes cannot be read.
	idleFor = 4 * time.Second
	// resolveFor limits the time to find the result of a commit.
	resolveFor   = 4 * time.Second
	resolvePause = 100 * time.Millisecond
)

var (
	errPooler   = errors.New("a pooler between gives statements to servers that have not prepared them: add default_query_exec_mode=cache_describe to the URL")
	errReadOnly = fmt.Errorf("%w: the server takes no writes", mfa.ErrUnavailable)
)

// An unknownError means that the connection broke before COMMIT was answered: the server
// may or may not have committed. On distributed tables, it also means that the coordinator
// lost the worker before the worker answered.
type unknownError struct {
	backend uint32 // the server process that ran the transaction; 0: the server has answered
	cause   error
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("%v: it is not known whether the commit happened: %v", mfa.ErrUnavailable, e.cause)
}

func (e *unknownError) Unwrap() []error { return []error{mfa.ErrUnavailable, e.cause} }

// errNotStored means that a COMMIT without an answer did not succeed, and never will.
var errNotStored = fmt.Errorf("%w: a worker has not committed the transaction", mfa.ErrUnavailable)

// SQLSTATEs that decide how the store continues.
const (
	uniqueViolation      = "23505"
	readOnly             = "25006"
	serializationFailure = "40001"
	deadlock             = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014" // by a statement timeout
	internalError        = "XX000" // of Citus: a worker did not answer COMMIT, or refused it
	noSuchStatement      = "26000"
	notSupported         = "0A000" // of Citus: a statement of a group, on distributed tables
	statementExists      = "42P05"
)

func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// isConflict reports whether a transaction failed because of another one and may
// succeed if it runs again. For example, another transaction may insert a row after this
// one has looked for it and before this one inserts it.
func isConflict(err error) bool {
	if errors.Is(err, errNotStored) {
		return true
	}
	switch sqlState(err) {
	case serializationFailure, deadlock:
		return isRefused(err)
	case uniqueViolation:
		return isRefused(err) && !isDuplicateID(err)
	}
	return false
}

// isDuplicateID reports whether a unique violation comes from a table whose rows
// are inserted without looking for them first. Another run would fail in the same way.
// The name of a shard begins with the name of its table. The recovery codes of a user are
// looked for first.
func isDuplicateID(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && !strings.HasPrefix(e.ConstraintName, "factors_recovery") && slices.ContainsFunc([]string{"factors", "challenges", "events"}, func(table string) bool {
		return strings.HasPrefix(e.TableName, table)
	})
}

// isRefused reports whether the server answered a statement with err and has therefore
// not committed. A FATAL error does not count as an answer: a server or a pooler sends it
// when it ends a connection, and earlier statements may have succeeded.
func isRefused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && cmp.Or(e.SeverityUnlocalized, e.Severity) == "ERROR"
}

// isPooler reports whether the server lacks a statement that the driver has prepared, or
// already has one that the driver prepares. A pooler has then switched the connection to
// another server connection.
func isPooler(err error) bool {
	return sqlState(err) == noSuchStatement || sqlState(err) == statementExists
}

// A rowError means that a row has a form that this program does not store. It does not
// show a fault of the server, and only requests for that row fail.
type rowError struct{ cause error }

func (e *rowError) Error() string { return "a stored row cannot be read: " + e.cause.Error() }

func (e *rowError) Unwrap() error { return e.cause }

func isRowError(err error) bool {
	_, ok := errors.AsType[*rowError](err)
	return ok
}

// isLocked reports whether a transaction failed because it could not get a lock.
func isLocked(err error) bool { return isRefused(err) && sqlState(err) == lockNotAvailable }

// isBusy reports whether a statement was stopped because it took too long, for example
// because another transaction keeps a lock.
func isBusy(err error) bool {
	state := sqlState(err)
	return isRefused(err) && (state == lockNotAvailable || state == queryCanceled)
}

// isOutage reports whether the cause of err is the server or the connection to it, not
// the statement: classes 08, 53, 57 and 58, a read-only server, and errors that are not
// an answer to a statement.
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

// domainError wraps an error in mfa.ErrUnavailable if the store is unusable or too busy,
// explains an error of a pooler with errPooler, and returns other errors unchanged.
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
