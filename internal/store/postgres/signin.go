package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var (
	operators = newTable("operators", 1, rows.Operator)
	passkeys  = newTable("operator_passkeys", 1, rows.OperatorPasskey)
	tickets   = newTable("operator_tickets", 1, rows.Ticket)
)

var (
	selectOperators         = `SELECT ` + operators.list("o") + ` FROM operators o ORDER BY o.name COLLATE "C"`
	selectOperator          = `SELECT ` + operators.list("o") + ` FROM operators o WHERE o.name = $1`
	selectOperatorBySubject = `SELECT ` + operators.list("o") + ` FROM operators o WHERE o.subject = $1`
	selectPasskey           = `SELECT ` + passkeys.list("k") + ` FROM operator_passkeys k WHERE k.id = $1`
	selectPasskeys          = `SELECT ` + passkeys.list("k") + ` FROM operator_passkeys k WHERE k.operator = $1 ORDER BY k.created_at, k.id`
	selectAllPasskeys       = `SELECT ` + passkeys.list("k") + ` FROM operator_passkeys k ORDER BY k.created_at, k.id`
	selectTicket            = `SELECT ` + tickets.list("t") + ` FROM operator_tickets t WHERE t.hash = $1`
	selectTickets           = `SELECT ` + tickets.list("t") + ` FROM operator_tickets t WHERE t.kind = $1 AND t.operator = $2 ORDER BY t.created_at, t.hash`
	selectAllTickets        = `SELECT ` + tickets.list("t") + ` FROM operator_tickets t WHERE t.kind = $1 ORDER BY t.created_at, t.hash`

	putOperator = operators.insert + ` ON CONFLICT (name) DO UPDATE SET role = excluded.role, handle = excluded.handle, subject = excluded.subject,` +
		` created_at = excluded.created_at, disabled_at = excluded.disabled_at`
	putPasskey = passkeys.insert + ` ON CONFLICT (id) DO UPDATE SET operator = excluded.operator, name = excluded.name, credential = excluded.credential,` +
		` created_at = excluded.created_at, used_at = excluded.used_at`
	putTicket = tickets.insert + ` ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, operator = excluded.operator, count = excluded.count,` +
		` created_at = excluded.created_at, seen_at = excluded.seen_at, expires_at = excluded.expires_at, data = excluded.data`

	exportOperators = `SELECT ` + operators.list("o") + ` FROM operators o WHERE o.name COLLATE "C" > $1 ORDER BY o.name COLLATE "C" LIMIT $2`
	exportPasskeys  = `SELECT ` + passkeys.list("k") + ` FROM operator_passkeys k WHERE k.id > $1 ORDER BY k.id LIMIT $2`
)

const (
	deletePasskey = `DELETE FROM operator_passkeys WHERE id = $1`
	deleteTicket  = `DELETE FROM operator_tickets WHERE hash = $1`
	deleteTickets = `DELETE FROM operator_tickets WHERE kind = $1 AND operator = $2`
	deleteOverdue = `DELETE FROM operator_tickets WHERE hash IN (SELECT hash FROM operator_tickets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`

	// signInLock makes changes of all nodes run one after another. They are rare.
	signInLock    = `SELECT pg_advisory_xact_lock($1)`
	signInLockKey = 0x436f756e73676e69 // "Counsgni"
)

// ViewSignIn reads operators, passkeys and tickets; see signin.Store.
func (s *Store) ViewSignIn(ctx context.Context, fn func(signin.Reader) error) error {
	if s.stalled.Load() {
		return errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	return domainError(s.begun(ctx, func(tx pgx.Tx) error { return fn(&signInTx{ctx: ctx, db: tx}) }))
}

// UpdateSignIn changes operators, passkeys and tickets; see signin.Store.
func (s *Store) UpdateSignIn(ctx context.Context, fn func(signin.Tx) error) error {
	if s.stalled.Load() {
		return errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, s.wait.roundTrip)
	defer cancel()
	return domainError(s.change(ctx, func(db pgx.Tx) error {
		if _, err := db.Exec(ctx, signInLock, int64(signInLockKey)); err != nil {
			return err
		}
		tx := &signInTx{ctx: ctx, db: db}
		if err := fn(tx); err != nil {
			return err
		}
		// The events of all nodes wait for this transaction from here on, so they come last.
		batch := &pgx.Batch{}
		if _, err := s.queueEvents(ctx, db, batch, tx.events); err != nil || batch.Len() == 0 {
			return err
		}
		return db.SendBatch(ctx, batch).Close()
	}))
}

// A signInTx implements signin.Tx. It lives as long as its transaction, and so does ctx.
type signInTx struct {
	ctx    context.Context
	db     pgx.Tx
	events []mfa.Event
}

func (t *signInTx) exec(sql string, args ...any) error {
	_, err := t.db.Exec(t.ctx, sql, args...)
	return err
}

func (t *signInTx) Operator(name string) (*signin.Operator, error) {
	return first(t.ctx, t.db, operators, selectOperator, name)
}

func (t *signInTx) OperatorBySubject(subject string) (*signin.Operator, error) {
	return first(t.ctx, t.db, operators, selectOperatorBySubject, subject)
}

func (t *signInTx) Operators() ([]signin.Operator, error) {
	return listed(t, operators, selectOperators)
}

func (t *signInTx) Passkey(id []byte) (*signin.Passkey, error) {
	return first(t.ctx, t.db, passkeys, selectPasskey, id)
}

func (t *signInTx) Passkeys(operator string) ([]signin.Passkey, error) {
	if operator == "" {
		return listed(t, passkeys, selectAllPasskeys)
	}
	return listed(t, passkeys, selectPasskeys, operator)
}

func (t *signInTx) Ticket(h signin.Hash) (*signin.Ticket, error) {
	return first(t.ctx, t.db, tickets, selectTicket, h[:])
}

func (t *signInTx) Tickets(kind signin.Kind, operator string) ([]signin.Ticket, error) {
	if operator == "" {
		return listed(t, tickets, selectAllTickets, string(kind))
	}
	return listed(t, tickets, selectTickets, string(kind), operator)
}

// listed returns the rows of a query.
func listed[R any](t *signInTx, of *table[R], sql string, args ...any) (found []R, err error) {
	batch := &pgx.Batch{}
	batch.Queue(sql, args...).Query(each(of.scanner(func(r *R) { found = append(found, *r) })))
	return found, t.db.SendBatch(t.ctx, batch).Close()
}

func (t *signInTx) PutOperator(o signin.Operator) error {
	err := t.exec(putOperator, operators.values(&o)...)
	if sqlState(err) == uniqueViolation {
		return signin.ErrNameTaken
	}
	return err
}

func (t *signInTx) PutPasskey(k signin.Passkey) error {
	return t.exec(putPasskey, passkeys.values(&k)...)
}

func (t *signInTx) DeletePasskey(id []byte) error { return t.exec(deletePasskey, id) }

func (t *signInTx) PutTicket(ticket signin.Ticket) error {
	return t.exec(putTicket, tickets.values(&ticket)...)
}

func (t *signInTx) DeleteTicket(h signin.Hash) error { return t.exec(deleteTicket, h[:]) }

func (t *signInTx) DeleteTickets(kind signin.Kind, operator string) error {
	return t.exec(deleteTickets, string(kind), operator)
}

func (t *signInTx) DeleteExpired(now time.Time, limit int) error {
	return t.exec(deleteOverdue, now, limit)
}

func (t *signInTx) Append(e mfa.Event) error {
	t.events = append(t.events, e)
	return nil
}
