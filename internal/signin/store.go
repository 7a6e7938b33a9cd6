package signin

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Store keeps operators, passkeys and tickets. storetest.RunSignIn states its promises.
type Store interface {
	// ViewSignIn runs fn with a Reader.
	ViewSignIn(ctx context.Context, fn func(Reader) error) error
	// UpdateSignIn runs fn in one transaction, and commits if fn returns nil. Of concurrent
	// calls, on all nodes, one runs after another. fn runs once.
	UpdateSignIn(ctx context.Context, fn func(Tx) error) error
}

// A Reader reads rows. A row that is not stored is nil.
type Reader interface {
	Operator(name string) (*Operator, error)
	OperatorBySubject(subject string) (*Operator, error)
	Operators() ([]Operator, error) // by name
	Passkey(id []byte) (*Passkey, error)
	Passkeys(operator string) ([]Passkey, error) // oldest first; "" means all operators
	Ticket(h Hash) (*Ticket, error)
	Tickets(kind Kind, operator string) ([]Ticket, error) // oldest first; "" means all operators
}

// A Tx reads and writes rows. A put row replaces the stored one. Deleting a row that is not
// stored is not an error.
type Tx interface {
	Reader
	PutOperator(Operator) error // the subject of another operator is refused with ErrNameTaken
	PutPasskey(Passkey) error
	DeletePasskey(id []byte) error
	PutTicket(Ticket) error
	DeleteTicket(h Hash) error
	DeleteTickets(kind Kind, operator string) error
	// DeleteExpired deletes up to limit tickets that have expired at now.
	DeleteExpired(now time.Time, limit int) error
	// Append stores an event; the store sets its id, but keeps its bucket.
	Append(e mfa.Event) error
}
