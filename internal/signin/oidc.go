package signin

import (
	"context"
	"crypto/subtle"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// An Authorization is a visit to the identity provider that waits for its answer.
type Authorization struct {
	Token    secret.String // the browser returns it in a cookie
	State    string        // the provider returns it in the address
	Nonce    string        // the provider returns it in the token
	Verifier string        // of PKCE
	Back     string        // where the operator goes afterwards
	Confirm  bool          // the operator is signed in and must be asked again
	begun    time.Time
	session  Hash
}

// BeginOIDC begins a visit to the identity provider. With confirm, it makes the session of
// the client fresh and does not begin a new one. Errors: ErrSignedOut, *BlockedError.
func (s *Service) BeginOIDC(ctx context.Context, c Client, back string, confirm bool) (a Authorization, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.mayBegin(tx, c); err != nil {
			return err, nil
		}
		data := ceremonyData{Purpose: toOIDC, Back: back, At: s.now()}
		name := ""
		if confirm {
			found, err := s.session(tx, c.Session, s.now())
			if err != nil {
				return nil, err
			}
			data.Session, name = found.hash, found.Operator.Name
		}
		for _, part := range []*string{&data.State, &data.Nonce, &data.Verifier} {
			if *part, err = s.token(); err != nil {
				return nil, err
			}
		}
		t, token, err := s.ceremony(name, data)
		if err != nil {
			return nil, err
		}
		a = authorization(data)
		a.Token = secret.NewString(token)
		return nil, s.begin(tx, c, t)
	})
	return a, err
}

func authorization(data ceremonyData) Authorization {
	return Authorization{
		State: data.State, Nonce: data.Nonce, Verifier: data.Verifier, Back: data.Back,
		Confirm: data.Session != Hash{}, begun: data.At, session: data.Session,
	}
}

// ResumeOIDC returns the visit that an answer of the provider belongs to, and ends it: a
// second answer is refused. Errors: ErrExpired, *BlockedError.
func (s *Service) ResumeOIDC(ctx context.Context, c Client, token secret.String, state string) (a Authorization, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.blocked(tx, failures, c); err != nil {
			return err, nil
		}
		t, data, err := s.take(tx, token.Reveal(), toOIDC)
		if err != nil {
			return nil, err
		}
		if t == nil || subtle.ConstantTimeCompare([]byte(state), []byte(data.State)) != 1 {
			return s.fail(tx, c, "", "expired", ErrExpired)
		}
		a = authorization(data)
		return nil, nil
	})
	return a, err
}

// RefuseOIDC records an answer of the provider that was not accepted, for a reason of few
// words, and returns ErrRefused.
func (s *Service) RefuseOIDC(ctx context.Context, c Client, reason string) error {
	return s.update(ctx, func(tx Tx) (outcome, err error) { return s.fail(tx, c, "", reason, ErrRefused) })
}

// An Identity is a person as the identity provider describes it.
type Identity struct {
	Issuer   string
	Subject  string
	Name     string // for a new operator
	Role     access.Role
	AuthTime time.Time // when the provider last asked the person to sign in; zero if it does not tell
}

func (i Identity) subject() string { return i.Issuer + " " + i.Subject }

// clockSkew is how far the clock of the provider may be behind.
const clockSkew = time.Minute

// FinishOIDC signs the person in, or makes the session fresh. It returns the secret of a new
// session, or the zero String. Errors: ErrRefused, ErrNoRole, ErrNameTaken, ErrSignedOut.
func (s *Service) FinishOIDC(ctx context.Context, c Client, a Authorization, who Identity) (session secret.String, err error) {
	opened, err := s.token()
	if err != nil {
		return session, err
	}
	handle, err := s.random(32)
	if err != nil {
		return session, err
	}
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		o, err := tx.OperatorBySubject(who.subject())
		if err != nil {
			return nil, err
		}
		if a.Confirm {
			return s.confirmOIDC(tx, c, a, who, o)
		}
		isNew := o == nil
		if isNew {
			if (operator.By{Operator: who.Name}).Check() != nil {
				return s.fail(tx, c, "", "name_refused", ErrRefused)
			}
			other, err := tx.Operator(who.Name)
			if err != nil {
				return nil, err
			}
			if other != nil {
				return s.fail(tx, c, who.Name, "name_taken", ErrNameTaken)
			}
			o = &Operator{Name: who.Name, Role: who.Role, Handle: handle, Subject: who.subject(), CreatedAt: s.now()}
		}
		if !o.DisabledAt.IsZero() {
			return s.fail(tx, c, o.Name, "disabled", ErrRefused)
		}
		if outcome, err := s.adoptRole(tx, c, o, who.Role); outcome != nil || err != nil {
			return outcome, err
		}
		if isNew {
			if err := s.happened(tx, c, mfa.OperatorCreated, o.Name, string(who.Role)); err != nil {
				return nil, err
			}
			if err := tx.PutOperator(*o); err != nil {
				return nil, err
			}
		}
		return nil, s.open(tx, c, o, opened, sessionData{Method: ByOIDC})
	})
	if err != nil || a.Confirm {
		return session, err
	}
	return secret.NewString(opened), nil
}

// confirmOIDC makes a session fresh if the provider has just asked its operator to sign in.
func (s *Service) confirmOIDC(tx Tx, c Client, a Authorization, who Identity, o *Operator) (outcome, err error) {
	now := s.now()
	t, err := tx.Ticket(a.session)
	if err != nil {
		return nil, err
	}
	if t == nil || t.Kind != KindSession || !now.Before(t.ExpiresAt) {
		return ErrSignedOut, nil
	}
	if o == nil || o.Name != t.Operator || !o.DisabledAt.IsZero() {
		return s.fail(tx, c, t.Operator, "another_person", ErrRefused)
	}
	if who.AuthTime.Before(a.begun.Add(-clockSkew)) {
		return s.fail(tx, c, t.Operator, "not_asked_again", ErrRefused)
	}
	if outcome, err := s.adoptRole(tx, c, o, who.Role); outcome != nil || err != nil {
		return outcome, err
	}
	return nil, s.refresh(tx, c, t, ByOIDC)
}

// adoptRole gives a stored operator the role that the groups of the provider decide now. A
// person who has left the groups loses the sessions in all browsers, and the outcome is
// ErrNoRole.
func (s *Service) adoptRole(tx Tx, c Client, o *Operator, role access.Role) (outcome, err error) {
	if role == "" {
		if err := tx.DeleteTickets(KindSession, o.Name); err != nil {
			return nil, err
		}
		return s.fail(tx, c, o.Name, "no_role", ErrNoRole)
	}
	if o.Role == role {
		return nil, nil
	}
	if err := s.happened(tx, c, mfa.OperatorRoleChanged, o.Name, o.Name+": "+string(role)); err != nil {
		return nil, err
	}
	o.Role = role
	return nil, tx.PutOperator(*o)
}

// A ProviderError means that the identity provider did not answer, or that its answer was not
// accepted.
type ProviderError struct {
	Reason string // few words with underscores, for an event
	Cause  error  // for the log; without secrets
}

func (e *ProviderError) Error() string {
	return "the identity provider: " + e.Reason + ": " + e.Cause.Error()
}
func (e *ProviderError) Unwrap() error { return e.Cause }
