package rows

import (
	"encoding/json"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/signin"
)

// Operator describes an operator.
func Operator(c Columns, o *signin.Operator) {
	c.Column("name", &o.Name)
	c.Column("role", (*string)(&o.Role))
	c.Column("handle", &o.Handle)
	c.Column("subject", &o.Subject)
	c.Column("created_at", &o.CreatedAt)
	c.Column("disabled_at", (*OptionalTime)(&o.DisabledAt))
}

// OperatorPasskey describes a passkey of an operator.
func OperatorPasskey(c Columns, k *signin.Passkey) {
	c.Column("id", &k.ID)
	c.Column("operator", &k.Operator)
	c.Column("name", &k.Name)
	c.Column("credential", (*credential)(&k.Credential))
	c.Column("created_at", &k.CreatedAt)
	c.Column("used_at", (*OptionalTime)(&k.UsedAt))
}

// Ticket describes a link, a session, a ceremony or a counter of attempts.
func Ticket(c Columns, t *signin.Ticket) {
	c.Column("hash", (*hash)(&t.Hash))
	c.Column("kind", (*string)(&t.Kind))
	c.Column("operator", (*Name)(&t.Operator))
	c.Column("count", &t.Count)
	c.Column("created_at", &t.CreatedAt)
	c.Column("seen_at", &t.SeenAt)
	c.Column("expires_at", &t.ExpiresAt)
	c.Column("data", &t.Data)
}

// A credential is stored as JSON, without its id.
type credential passkey.Credential

func (k *credential) Encode() []byte {
	stored := *k
	stored.ID = nil
	b, err := json.Marshal(stored)
	if err != nil {
		panic("rows: " + err.Error()) // it has only texts, numbers and bytes
	}
	return b
}

func (k *credential) Decode(b []byte) error {
	id := k.ID // a column before this one
	*k = credential{}
	if err := json.Unmarshal(b, k); err != nil {
		return fmt.Errorf("read a passkey: %w", err)
	}
	k.ID = id
	return nil
}
