package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

var (
	operators = newTable("operators", rows.Operator, "name")
	passkeys  = newTable("operator_passkeys", rows.OperatorPasskey, "id")
	tickets   = newTable("operator_tickets", rows.Ticket, "hash")
)

var (
	selectOperators         = `SELECT ` + operators.columns + ` FROM operators ORDER BY name`
	selectOperator          = `SELECT ` + operators.columns + ` FROM operators WHERE name = ?`
	selectOperatorBySubject = `SELECT ` + operators.columns + ` FROM operators WHERE subject = ?`
	selectPasskey           = `SELECT ` + passkeys.columns + ` FROM operator_passkeys WHERE id = ?`
	selectPasskeys          = `SELECT ` + passkeys.columns + ` FROM operator_passkeys WHERE operator = ? ORDER BY created_at, id`
	selectAllPasskeys       = `SELECT ` + passkeys.columns + ` FROM operator_passkeys ORDER BY created_at, id`
	selectTicket            = `SELECT ` + tickets.columns + ` FROM operator_tickets WHERE hash = ?`
	selectTickets           = `SELECT ` + tickets.columns + ` FROM operator_tickets WHERE kind = ? AND operator = ? ORDER BY created_at, hash`
	selectAllTickets        = `SELECT ` + tickets.columns + ` FROM operator_tickets WHERE kind = ? ORDER BY created_at, hash`

	// Unlike operators.put, it refuses the subject of another operator.
	putOperator = operators.insert + ` ON CONFLICT (name) DO UPDATE SET role = excluded.role, handle = excluded.handle, subject = excluded.subject,` +
		` created_at = excluded.created_at, disabled_at = excluded.disabled_at`

	exportOperators = `SELECT ` + operators.columns + ` FROM operators WHERE name > ? ORDER BY name LIMIT ?`
	exportPasskeys  = `SELECT ` + passkeys.columns + ` FROM operator_passkeys WHERE id > ? ORDER BY id LIMIT ?`
)

const (
	deletePasskey = `DELETE FROM operator_passkeys WHERE id = ?`
	deleteTicket  = `DELETE FROM operator_tickets WHERE hash = ?`
	deleteTickets = `DELETE FROM operator_tickets WHERE kind = ? AND operator = ?`
	deleteOverdue = `DELETE FROM operator_tickets WHERE hash IN (SELECT hash FROM operator_tickets WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`
)

// ViewSignIn reads operators, passkeys and tickets; see signin.Store.
func (s *Store) ViewSignIn(ctx context.Context, fn func(signin.Reader) error) error {
	return s.read(ctx, func(c *conn) error { return fn(signInTx{c}) })
}

// UpdateSignIn changes operators, passkeys and tickets; see signin.Store. There is one writer,
// so calls run one after another.
func (s *Store) UpdateSignIn(ctx context.Context, fn func(signin.Tx) error) error {
	return s.changeWebhooks(ctx, func(c *conn) error { return domainError(fn(signInTx{c})) })
}

// A signInTx implements signin.Tx.
type signInTx struct{ c *conn }

func (t signInTx) Operator(name string) (*signin.Operator, error) {
	return operators.one(t.c.prepare(selectOperator).text(name))
}

func (t signInTx) OperatorBySubject(subject string) (*signin.Operator, error) {
	return operators.one(t.c.prepare(selectOperatorBySubject).text(subject))
}

func (t signInTx) Operators() (found []signin.Operator, err error) {
	err = operators.list(t.c.prepare(selectOperators), &found)
	return found, err
}

func (t signInTx) Passkey(id []byte) (*signin.Passkey, error) {
	return passkeys.one(t.c.prepare(selectPasskey).blob(id))
}

func (t signInTx) Passkeys(operator string) (found []signin.Passkey, err error) {
	query := t.c.prepare(selectAllPasskeys)
	if operator != "" {
		query = t.c.prepare(selectPasskeys).text(operator)
	}
	err = passkeys.list(query, &found)
	return found, err
}

func (t signInTx) Ticket(h signin.Hash) (*signin.Ticket, error) {
	return tickets.one(t.c.prepare(selectTicket).blob(h[:]))
}

func (t signInTx) Tickets(kind signin.Kind, operator string) (found []signin.Ticket, err error) {
	query := t.c.prepare(selectAllTickets).string(string(kind))
	if operator != "" {
		query = t.c.prepare(selectTickets).string(string(kind)).string(operator)
	}
	err = tickets.list(query, &found)
	return found, err
}

func (t signInTx) PutOperator(o signin.Operator) error {
	_, err := operators.bind(t.c.prepare(putOperator), &o).exec()
	if errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) {
		return signin.ErrNameTaken
	}
	return err
}

func (t signInTx) PutPasskey(k signin.Passkey) error {
	return passkeys.bind(t.c.prepare(passkeys.put), &k).one()
}

func (t signInTx) DeletePasskey(id []byte) error {
	_, err := t.c.prepare(deletePasskey).blob(id).exec()
	return err
}

func (t signInTx) PutTicket(ticket signin.Ticket) error {
	return tickets.bind(t.c.prepare(tickets.put), &ticket).one()
}

func (t signInTx) DeleteTicket(h signin.Hash) error {
	_, err := t.c.prepare(deleteTicket).blob(h[:]).exec()
	return err
}

func (t signInTx) DeleteTickets(kind signin.Kind, operator string) error {
	_, err := t.c.prepare(deleteTickets).string(string(kind)).string(operator).exec()
	return err
}

func (t signInTx) DeleteExpired(now time.Time, limit int) error {
	_, err := t.c.prepare(deleteOverdue).time(now).int(int64(limit)).exec()
	return err
}

func (t signInTx) Append(e mfa.Event) error { return appendEvent(t.c, e, nil) }
