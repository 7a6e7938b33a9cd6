package signin

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Link is a one-time link with which an operator registers a passkey.
type Link struct {
	Token     secret.String // to be shown once
	Operator  Operator
	ExpiresAt time.Time
}

// CreateLink makes a one-time link for the operator of that name, and the operator if the
// name is new. It replaces an earlier link. A role of "" keeps the role; a new operator is a
// viewer then. Errors: ErrExternal, ErrDisabled, ErrExpiringKey, or one that describes the fault of a name or a role.
func (s *Service) CreateLink(ctx context.Context, by operator.By, name string, role access.Role) (l Link, err error) {
	if err := by.Check(); err != nil {
		return l, err
	}
	if err := mayGrant(by); err != nil {
		return l, err
	}
	if err := (operator.By{Operator: name}).Check(); err != nil {
		return l, err
	}
	if role != "" {
		if _, err := access.ParseRole(string(role)); err != nil {
			return l, err
		}
	}
	token, err := s.token()
	if err != nil {
		return l, err
	}
	handle, err := s.random(32)
	if err != nil {
		return l, err
	}
	err = s.store.UpdateSignIn(ctx, func(tx Tx) error {
		now := s.now()
		o, err := tx.Operator(name)
		switch {
		case err != nil:
			return err
		case o == nil:
			if role == "" {
				role = access.RoleViewer
			}
			o = &Operator{Name: name, Role: role, Handle: handle, CreatedAt: now}
			err = s.act(tx, by, mfa.OperatorCreated, name, string(role))
		case o.IsExternal():
			return ErrExternal
		case !o.DisabledAt.IsZero():
			return ErrDisabled
		case role != "" && role != o.Role:
			o.Role = role
			err = s.act(tx, by, mfa.OperatorRoleChanged, name, string(role))
		}
		if err != nil {
			return err
		}
		l = Link{Token: secret.NewString(token), Operator: *o, ExpiresAt: now.Add(linkLife)}
		if err := tx.PutOperator(*o); err != nil {
			return err
		}
		if err := tx.DeleteTickets(KindLink, name); err != nil {
			return err
		}
		if err := tx.DeleteExpired(now, swept); err != nil {
			return err
		}
		t := Ticket{Hash: hashOf(token), Kind: KindLink, Operator: name, CreatedAt: now, SeenAt: now, ExpiresAt: l.ExpiresAt}
		if err := tx.PutTicket(t); err != nil {
			return err
		}
		return s.act(tx, by, mfa.OperatorLinkCreated, name, "")
	})
	return l, err
}

// A Status says whether an operator may sign in.
type Status string

// The statuses.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// A Change says what of an operator is to change. Empty fields stay as they are.
type Change struct {
	Role   access.Role
	Status Status
}

// Update changes an operator, at once in all sessions on every node. A disabled operator cannot
// sign in, and has no sessions and links. Errors: ErrNotFound; ErrExternal for another role;
// ErrExpiringKey for a role or for enabling.
func (s *Service) Update(ctx context.Context, by operator.By, name string, c Change) error {
	if c.Role != "" {
		if _, err := access.ParseRole(string(c.Role)); err != nil {
			return err
		}
	}
	return s.change(ctx, by, name, func(tx Tx, o *Operator) error {
		if c.Role != "" {
			if err := s.setRole(tx, by, o, c.Role); err != nil {
				return err
			}
		}
		switch c.Status {
		case Enabled:
			return s.enable(tx, by, o)
		case Disabled:
			return s.disable(tx, by, o)
		}
		return nil
	})
}

// mayGrant returns ErrExpiringKey if by must not give access to an operator: a key could
// otherwise keep its access after it expires.
func mayGrant(by operator.By) error {
	if !by.KeyExpires.IsZero() {
		return ErrExpiringKey
	}
	return nil
}

func (s *Service) setRole(tx Tx, by operator.By, o *Operator, role access.Role) error {
	if o.IsExternal() {
		return ErrExternal
	}
	if o.Role == role {
		return nil
	}
	if err := mayGrant(by); err != nil {
		return err
	}
	o.Role = role
	if err := tx.PutOperator(*o); err != nil {
		return err
	}
	return s.act(tx, by, mfa.OperatorRoleChanged, o.Name, string(role))
}

func (s *Service) disable(tx Tx, by operator.By, o *Operator) error {
	if !o.DisabledAt.IsZero() {
		return nil
	}
	o.DisabledAt = s.now()
	if err := tx.PutOperator(*o); err != nil {
		return err
	}
	for _, kind := range []Kind{KindSession, KindLink, KindCeremony} {
		if err := tx.DeleteTickets(kind, o.Name); err != nil {
			return err
		}
	}
	return s.act(tx, by, mfa.OperatorDisabled, o.Name, "")
}

func (s *Service) enable(tx Tx, by operator.By, o *Operator) error {
	if o.DisabledAt.IsZero() {
		return nil
	}
	if err := mayGrant(by); err != nil {
		return err
	}
	o.DisabledAt = time.Time{}
	if err := tx.PutOperator(*o); err != nil {
		return err
	}
	return s.act(tx, by, mfa.OperatorEnabled, o.Name, "")
}

// SetRole changes the role of an operator; see Update.
func (s *Service) SetRole(ctx context.Context, by operator.By, name string, role access.Role) error {
	if _, err := access.ParseRole(string(role)); err != nil {
		return err
	}
	return s.Update(ctx, by, name, Change{Role: role})
}

// Disable keeps an operator from signing in; see Update.
func (s *Service) Disable(ctx context.Context, by operator.By, name string) error {
	return s.Update(ctx, by, name, Change{Status: Disabled})
}

// Enable lets a disabled operator sign in again; see Update.
func (s *Service) Enable(ctx context.Context, by operator.By, name string) error {
	return s.Update(ctx, by, name, Change{Status: Enabled})
}

// EndSessions ends all sessions of an operator, or the one with the given id. Error:
// ErrNotFound.
func (s *Service) EndSessions(ctx context.Context, by operator.By, name, id string) error {
	return s.change(ctx, by, name, func(tx Tx, o *Operator) error {
		what := "all sessions"
		if id == "" {
			if err := tx.DeleteTickets(KindSession, name); err != nil {
				return err
			}
		} else {
			t, err := byID(tx, name, id)
			if err != nil {
				return err
			}
			if err := tx.DeleteTicket(t.Hash); err != nil {
				return err
			}
			what = "session " + id
		}
		return s.act(tx, by, mfa.OperatorSessionsEnded, name, what)
	})
}

// RemovePasskey removes a passkey of an operator and ends the sessions that began with it.
// Error: ErrNotFound.
func (s *Service) RemovePasskey(ctx context.Context, by operator.By, name string, id []byte) error {
	return s.change(ctx, by, name, func(tx Tx, o *Operator) error {
		k, err := tx.Passkey(id)
		if err != nil {
			return err
		}
		if k == nil || k.Operator != name {
			return ErrNotFound
		}
		if err := s.removePasskey(tx, k, Hash{}); err != nil {
			return err
		}
		return s.act(tx, by, mfa.PasskeyRemoved, name, k.Name)
	})
}

// change runs fn in a transaction with an operator. Error: ErrNotFound.
func (s *Service) change(ctx context.Context, by operator.By, name string, fn func(tx Tx, o *Operator) error) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.store.UpdateSignIn(ctx, func(tx Tx) error {
		o, err := tx.Operator(name)
		if err != nil {
			return err
		}
		if o == nil {
			return ErrNotFound
		}
		return fn(tx, o)
	})
}

// act appends the event of an action of by on an operator. The reason of the event names the
// operator and describes the change; the reason of by follows.
func (s *Service) act(tx Tx, by operator.By, typ mfa.EventType, name, what string) error {
	reason := name
	if what != "" {
		reason += ": " + what
	}
	if by.Reason != "" {
		reason += " (" + by.Reason + ")"
	}
	caller := mfa.Caller{Operator: by.Operator, Key: by.Key, Request: by.Request}
	return tx.Append(caller.Append(mfa.Event{Type: typ, Reason: reason}, s.now(), 0).Event)
}
