package signin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// The ways to sign in.
const (
	ByPasskey = "passkey"
	ByLink    = "link"
	ByOIDC    = "oidc"
)

// A Session is a browser in which an operator is signed in.
type Session struct {
	ID         string // not the secret
	Operator   Operator
	Method     string
	Browser    string
	CreatedAt  time.Time
	SeenAt     time.Time // to the minute
	ExpiresAt  time.Time
	FreshUntil time.Time // actions on people are allowed until then
	hash       Hash
}

// sessionData is the data of a ticket for a session.
type sessionData struct {
	Method     string
	Passkey    []byte `json:",omitempty"` // with which it began
	Browser    string
	EndsAt     time.Time // at the latest
	FreshUntil time.Time
}

// seenEvery is how often the last use of a session is stored.
const seenEvery = time.Minute

// mostSessions is how many sessions an operator has; a new one ends the oldest.
const mostSessions = 20

// Identify returns the session of a secret. Error: ErrSignedOut. It reads the store each
// time, so a session ends on all nodes at once.
func (s *Service) Identify(ctx context.Context, token secret.String) (Session, error) {
	now := s.now()
	found, err := s.Look(ctx, token)
	if err != nil || now.Sub(found.SeenAt) < seenEvery {
		return found, err
	}
	// A request must not fail because its time could not be stored.
	err = s.store.UpdateSignIn(ctx, func(tx Tx) error {
		t, err := tx.Ticket(found.hash)
		if err != nil || t == nil || t.Kind != KindSession {
			return err // it has ended
		}
		data, err := decode[sessionData](t)
		if err != nil {
			return err
		}
		t.SeenAt, t.ExpiresAt = now, earliest(now.Add(s.opts.Idle), data.EndsAt)
		found.SeenAt, found.ExpiresAt = t.SeenAt, t.ExpiresAt
		return tx.PutTicket(*t)
	})
	if err != nil && ctx.Err() != nil {
		return Session{}, err
	}
	return found, nil
}

// Look is Identify for a request that a page sends by itself. It does not count as a use: the
// session of an open page without a reader ends.
func (s *Service) Look(ctx context.Context, token secret.String) (found Session, err error) {
	now := s.now()
	err = s.store.ViewSignIn(ctx, func(r Reader) (err error) {
		found, err = s.session(r, token, now)
		return err
	})
	return found, err
}

// session reads the session of a secret.
func (s *Service) session(r Reader, token secret.String, now time.Time) (Session, error) {
	t, err := find(r, KindSession, token.Reveal(), now)
	if err != nil {
		return Session{}, err
	}
	if t == nil {
		return Session{}, ErrSignedOut
	}
	o, err := r.Operator(t.Operator)
	if err != nil {
		return Session{}, err
	}
	if o == nil || !o.DisabledAt.IsZero() {
		return Session{}, ErrSignedOut
	}
	return sessionOf(t, *o)
}

func sessionOf(t *Ticket, o Operator) (Session, error) {
	data, err := decode[sessionData](t)
	return Session{
		ID: t.ID(), Operator: o, Method: data.Method, Browser: data.Browser, CreatedAt: t.CreatedAt, SeenAt: t.SeenAt,
		ExpiresAt: t.ExpiresAt, FreshUntil: data.FreshUntil, hash: t.Hash,
	}, err
}

// open starts a session with a new secret. It ends the session that the browser had before.
func (s *Service) open(tx Tx, c Client, o *Operator, token string, data sessionData) error {
	now := s.now()
	if before := c.Session.Reveal(); before != "" {
		t, err := find(tx, KindSession, before, now)
		if err != nil {
			return err
		}
		if t != nil {
			if err := tx.DeleteTicket(t.Hash); err != nil {
				return err
			}
		}
	}
	all, err := tx.Tickets(KindSession, o.Name)
	if err != nil {
		return err
	}
	for i := 0; i <= len(all)-mostSessions; i++ {
		if err := tx.DeleteTicket(all[i].Hash); err != nil {
			return err
		}
	}
	data.Browser = cut(c.Browser)
	data.EndsAt = now.Add(s.opts.Absolute)
	if err := tx.DeleteExpired(now, swept); err != nil {
		return err
	}
	err = tx.PutTicket(Ticket{
		Hash: hashOf(token), Kind: KindSession, Operator: o.Name, CreatedAt: now, SeenAt: now,
		ExpiresAt: earliest(now.Add(s.opts.Idle), data.EndsAt), Data: encode(data),
	})
	if err != nil {
		return err
	}
	return s.happened(tx, c, mfa.OperatorSignedIn, o.Name, data.Method)
}

// refresh marks a session as fresh.
func (s *Service) refresh(tx Tx, c Client, t *Ticket, method string) error {
	data, err := decode[sessionData](t)
	if err != nil {
		return err
	}
	data.FreshUntil = s.now().Add(s.opts.Fresh)
	t.Data = encode(data)
	if err := tx.PutTicket(*t); err != nil {
		return err
	}
	return s.happened(tx, c, mfa.OperatorConfirmed, t.Operator, method)
}

// SignOut ends a session. It is not an error if it has ended.
func (s *Service) SignOut(ctx context.Context, c Client) error {
	return s.store.UpdateSignIn(ctx, func(tx Tx) error {
		t, err := find(tx, KindSession, c.Session.Reveal(), s.now())
		if err != nil || t == nil {
			return err
		}
		if err := tx.DeleteTicket(t.Hash); err != nil {
			return err
		}
		return s.happened(tx, c, mfa.OperatorSignedOut, t.Operator, "")
	})
}

// SignOutEverywhere ends all sessions of the operator of a session. Error: ErrSignedOut.
func (s *Service) SignOutEverywhere(ctx context.Context, c Client) error {
	return s.store.UpdateSignIn(ctx, func(tx Tx) error {
		found, err := s.session(tx, c.Session, s.now())
		if err != nil {
			return err
		}
		if err := tx.DeleteTickets(KindSession, found.Operator.Name); err != nil {
			return err
		}
		return s.happened(tx, c, mfa.OperatorSignedOut, found.Operator.Name, "everywhere")
	})
}

// EndOwnSession ends another session of the operator of a session. Errors: ErrSignedOut,
// ErrNotFound.
func (s *Service) EndOwnSession(ctx context.Context, c Client, id string) error {
	return s.store.UpdateSignIn(ctx, func(tx Tx) error {
		found, err := s.session(tx, c.Session, s.now())
		if err != nil {
			return err
		}
		t, err := byID(tx, found.Operator.Name, id)
		if err != nil {
			return err
		}
		if err := tx.DeleteTicket(t.Hash); err != nil {
			return err
		}
		return s.happened(tx, c, mfa.OperatorSignedOut, found.Operator.Name, "session "+id)
	})
}

// byID returns a session of an operator, or of all for "". Error: ErrNotFound.
func byID(r Reader, operator, id string) (*Ticket, error) {
	all, err := r.Tickets(KindSession, operator)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID() == id {
			return &all[i], nil
		}
	}
	return nil, ErrNotFound
}

// An Account is an operator with passkeys and sessions.
type Account struct {
	Operator
	Passkeys []Passkey
	Sessions []Session // the newest first
	Link     time.Time // when the one-time link expires; zero without one
}

// Account returns the operator of that name. Error: ErrNotFound.
func (s *Service) Account(ctx context.Context, name string) (a Account, err error) {
	err = s.store.ViewSignIn(ctx, func(r Reader) error {
		o, err := r.Operator(name)
		if err != nil {
			return err
		}
		if o == nil {
			return ErrNotFound
		}
		a.Operator = *o
		all, err := s.accounts(r, name, []Account{a})
		if err == nil {
			a = all[0]
		}
		return err
	})
	return a, err
}

// Accounts returns all operators, by name.
func (s *Service) Accounts(ctx context.Context) (all []Account, err error) {
	err = s.store.ViewSignIn(ctx, func(r Reader) error {
		operators, err := r.Operators()
		if err != nil {
			return err
		}
		for _, o := range operators {
			all = append(all, Account{Operator: o})
		}
		all, err = s.accounts(r, "", all)
		return err
	})
	return all, err
}

// accounts adds passkeys, sessions and links to the accounts.
func (s *Service) accounts(r Reader, name string, all []Account) ([]Account, error) {
	now := s.now()
	index := map[string]*Account{}
	for i := range all {
		index[all[i].Name] = &all[i]
	}
	keys, errKeys := r.Passkeys(name)
	for _, k := range keys {
		if a := index[k.Operator]; a != nil {
			a.Passkeys = append(a.Passkeys, k)
		}
	}
	links, errLinks := r.Tickets(KindLink, name)
	for _, t := range links {
		if a := index[t.Operator]; a != nil && now.Before(t.ExpiresAt) {
			a.Link = t.ExpiresAt
		}
	}
	sessions, err := r.Tickets(KindSession, name)
	if err := errors.Join(errKeys, errLinks, err); err != nil {
		return nil, err
	}
	for i := len(sessions) - 1; i >= 0; i-- {
		a := index[sessions[i].Operator]
		if a == nil || !now.Before(sessions[i].ExpiresAt) {
			continue
		}
		found, err := sessionOf(&sessions[i], a.Operator)
		if err != nil {
			return nil, err
		}
		a.Sessions = append(a.Sessions, found)
	}
	return all, nil
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// cut returns a text of at most 200 bytes that can be stored.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "")
	text = strings.ReplaceAll(text, "\x00", "")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "")
	}
	return text
}
