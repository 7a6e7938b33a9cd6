package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
)

// An Operator is a person who is signed in to the console.
type Operator struct {
	Name string // as events record it
	Role access.Role
	// FreshUntil is when the operator must use a passkey again before an action that needs it.
	FreshUntil time.Time
}

// ErrSignedOut means that no operator is signed in.
var ErrSignedOut = errors.New("no operator is signed in")

// errStale means that the operator must use a passkey again before this action.
var errStale = errors.New("the last use of the passkey was too long ago")

// Development identifies every client as the operator "dev", an admin. It is for servers
// that only programs and people of one machine can reach.
func Development(r *http.Request) (Operator, error) {
	return Operator{Name: "dev", Role: access.RoleAdmin, FreshUntil: time.Unix(1<<40, 0)}, nil
}
