package signin

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Begun is a ceremony that waits for the answer of the browser.
type Begun struct {
	Token   secret.String // the browser returns it in a cookie
	Options []byte        // for navigator.credentials
	Name    string        // of the operator, if it is known
}

// ceremonyData is the data of a ticket for a ceremony.
type ceremonyData struct {
	Purpose   string
	Challenge []byte `json:",omitempty"`
	Link      Hash   `json:",omitzero"` // through which the operator came
	Session   Hash   `json:",omitzero"` // of the operator

	// OpenID Connect.
	State    string    `json:",omitempty"`
	Nonce    string    `json:",omitempty"`
	Verifier string    `json:",omitempty"`
	Back     string    `json:",omitempty"`
	At       time.Time `json:",omitzero"`
}

// The purposes of ceremonies. The answer to one does not count for another.
const (
	toSignIn  = "sign in"
	toEnroll  = "enroll"  // the first passkey, through a link
	toAdd     = "add"     // a further passkey
	toConfirm = "confirm" // that the operator is still there
	toOIDC    = "oidc"
)

// ceremony makes a ticket for a ceremony and its secret.
func (s *Service) ceremony(operator string, data ceremonyData) (t Ticket, token string, err error) {
	if token, err = s.token(); err != nil {
		return t, "", err
	}
	now := s.now()
	return Ticket{
		Hash: hashOf(token), Kind: KindCeremony, Operator: operator, CreatedAt: now, SeenAt: now,
		ExpiresAt: now.Add(ceremonyLife), Data: encode(data),
	}, token, nil
}

// take returns a ceremony and deletes it, so it has one answer. It returns nil if there is
// no such ceremony, or if it had another purpose.
func (s *Service) take(tx Tx, token, purpose string) (*Ticket, ceremonyData, error) {
	t, err := find(tx, KindCeremony, token, s.now())
	if err != nil || t == nil {
		return nil, ceremonyData{}, err
	}
	if err := tx.DeleteTicket(t.Hash); err != nil {
		return nil, ceremonyData{}, err
	}
	data, err := decode[ceremonyData](t)
	if err != nil || data.Purpose != purpose {
		return nil, ceremonyData{}, err
	}
	return t, data, nil
}

// BeginEnrollment begins to register a passkey through a one-time link. The link stays good
// until the passkey is registered. Errors: ErrLink, *BlockedError.
func (s *Service) BeginEnrollment(ctx context.Context, c Client, link secret.String) (b Begun, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.mayBegin(tx, c); err != nil {
			return err, nil
		}
		t, err := find(tx, KindLink, link.Reveal(), s.now())
		if err != nil {
			return nil, err
		}
		if t == nil {
			return s.fail(tx, c, "", "link_invalid", ErrLink)
		}
		o, err := tx.Operator(t.Operator)
		if err != nil {
			return nil, err
		}
		if o == nil || !o.DisabledAt.IsZero() {
			return s.fail(tx, c, t.Operator, "disabled", ErrLink)
		}
		b, err = s.beginCreation(tx, c, o, ceremonyData{Purpose: toEnroll, Link: t.Hash})
		return nil, err
	})
	return b, err
}

// BeginPasskey begins to register a further passkey for the operator of a session. Errors:
// ErrSignedOut, ErrStale, *BlockedError.
func (s *Service) BeginPasskey(ctx context.Context, c Client) (b Begun, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.mayBegin(tx, c); err != nil {
			return err, nil
		}
		now := s.now()
		found, err := s.session(tx, c.Session, now)
		if err != nil {
			return nil, err
		}
		if !now.Before(found.FreshUntil) {
			return ErrStale, nil
		}
		b, err = s.beginCreation(tx, c, &found.Operator, ceremonyData{Purpose: toAdd, Session: found.hash})
		return nil, err
	})
	return b, err
}

// beginCreation stores a ceremony that creates a passkey.
func (s *Service) beginCreation(tx Tx, c Client, o *Operator, data ceremonyData) (Begun, error) {
	keys, err := tx.Passkeys(o.Name)
	if err != nil {
		return Begun{}, err
	}
	if data.Challenge, err = s.random(32); err != nil {
		return Begun{}, err
	}
	exclude := make([]passkey.Credential, len(keys))
	for i, k := range keys {
		exclude[i] = k.Credential
	}
	options, err := s.site.CreationOptions(passkey.Creation{
		Challenge: data.Challenge, User: passkey.User{Handle: o.Handle, Name: o.Name}, Exclude: exclude,
		UserVerification: passkey.Required, ResidentKey: passkey.Required, Timeout: ceremonyLife,
	})
	if err != nil {
		return Begun{}, err
	}
	t, token, err := s.ceremony(o.Name, data)
	if err != nil {
		return Begun{}, err
	}
	return Begun{Token: secret.NewString(token), Options: options, Name: o.Name}, s.begin(tx, c, t)
}

// FinishEnrollment registers the passkey of a one-time link, uses the link up, and signs the
// operator in. It returns the secret of the session. Errors: ErrExpired, ErrLink, ErrRefused,
// ErrTooMany, ErrName, *BlockedError.
func (s *Service) FinishEnrollment(ctx context.Context, c Client, token secret.String, name string, response []byte) (session secret.String, err error) {
	if err := checkPasskeyName(name); err != nil {
		return session, err
	}
	opened, err := s.token()
	if err != nil {
		return session, err
	}
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.blocked(tx, failures, c); err != nil {
			return err, nil
		}
		t, data, err := s.take(tx, token.Reveal(), toEnroll)
		if err != nil {
			return nil, err
		}
		if t == nil {
			return s.fail(tx, c, "", "expired", ErrExpired)
		}
		link, err := tx.Ticket(data.Link)
		if err != nil {
			return nil, err
		}
		if link == nil || link.Kind != KindLink || !s.now().Before(link.ExpiresAt) {
			return s.fail(tx, c, t.Operator, "link_invalid", ErrLink)
		}
		k, outcome, err := s.register(tx, c, t.Operator, name, data, response)
		if k == nil {
			return outcome, err
		}
		if err := tx.DeleteTicket(data.Link); err != nil {
			return nil, err
		}
		o, err := tx.Operator(t.Operator)
		if err != nil {
			return nil, err
		}
		return nil, s.open(tx, c, o, opened, sessionData{Method: ByLink, Passkey: k.ID, FreshUntil: s.now().Add(s.opts.Fresh)})
	})
	if err != nil {
		return session, err
	}
	return secret.NewString(opened), nil
}

// FinishPasskey registers a further passkey of the operator of a session. Errors:
// ErrSignedOut, ErrExpired, ErrRefused, ErrTooMany, ErrName, *BlockedError.
func (s *Service) FinishPasskey(ctx context.Context, c Client, token secret.String, name string, response []byte) error {
	if err := checkPasskeyName(name); err != nil {
		return err
	}
	return s.update(ctx, func(tx Tx) (outcome, err error) {
		found, err := s.session(tx, c.Session, s.now())
		if err != nil {
			return nil, err
		}
		if err := s.blocked(tx, failures, c); err != nil {
			return err, nil
		}
		t, data, err := s.take(tx, token.Reveal(), toAdd)
		if err != nil {
			return nil, err
		}
		if t == nil || data.Session != found.hash {
			return s.fail(tx, c, found.Operator.Name, "expired", ErrExpired)
		}
		_, outcome, err = s.register(tx, c, found.Operator.Name, name, data, response)
		return outcome, err
	})
}

// mostPasskeys is how many passkeys an operator has.
const mostPasskeys = 20

// register checks the response of a ceremony and stores the passkey. It returns nil and an
// outcome if the response is refused.
func (s *Service) register(tx Tx, c Client, operator, name string, data ceremonyData, response []byte) (k *Passkey, outcome, err error) {
	refuse := func(reason string, with error) (*Passkey, error, error) {
		outcome, err := s.fail(tx, c, operator, reason, with)
		return nil, outcome, err
	}
	o, err := tx.Operator(operator)
	if err != nil {
		return nil, nil, err
	}
	if o == nil || !o.DisabledAt.IsZero() {
		return refuse("disabled", ErrRefused)
	}
	made, err := s.site.CheckCreation(response, passkey.Expectation{Challenge: data.Challenge, UserHandle: o.Handle, UserVerified: true})
	if err != nil {
		return refuse("passkey_refused", ErrRefused)
	}
	known, err := tx.Passkey(made.ID)
	if err != nil {
		return nil, nil, err
	}
	if known != nil {
		return refuse("passkey_known", ErrRefused)
	}
	all, err := tx.Passkeys(operator)
	if err != nil {
		return nil, nil, err
	}
	if len(all) >= mostPasskeys {
		return nil, ErrTooMany, nil
	}
	k = &Passkey{Credential: made, Operator: operator, Name: strings.TrimSpace(name), CreatedAt: s.now()}
	if err := tx.PutPasskey(*k); err != nil {
		return nil, nil, err
	}
	return k, nil, s.happened(tx, c, mfa.PasskeyAdded, operator, k.Name)
}

// ErrName means that a passkey cannot have a name.
var ErrName = errors.New("the name of a passkey must have 1 to 64 characters of one line")

func checkPasskeyName(name string) error {
	name = strings.TrimSpace(name)
	n := utf8.RuneCountInString(name)
	if n < 1 || n > 64 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return ErrName
	}
	return nil
}
