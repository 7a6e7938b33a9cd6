package signin

import (
	"context"
	"errors"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// BeginSignIn begins a sign-in with any passkey of the site. Error: *BlockedError.
func (s *Service) BeginSignIn(ctx context.Context, c Client) (b Begun, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.mayBegin(tx, c); err != nil {
			return err, nil
		}
		b, err = s.beginRequest(tx, c, "", nil, ceremonyData{Purpose: toSignIn})
		return nil, err
	})
	return b, err
}

// BeginConfirmation begins a use of a passkey by the operator of a session, which makes the
// session fresh. Errors: ErrSignedOut, *BlockedError, and ErrNotFound if the operator does not have a
// passkey.
func (s *Service) BeginConfirmation(ctx context.Context, c Client) (b Begun, err error) {
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.mayBegin(tx, c); err != nil {
			return err, nil
		}
		found, err := s.session(tx, c.Session, s.now())
		if err != nil {
			return nil, err
		}
		keys, err := tx.Passkeys(found.Operator.Name)
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 {
			return ErrNotFound, nil
		}
		b, err = s.beginRequest(tx, c, found.Operator.Name, keys, ceremonyData{Purpose: toConfirm, Session: found.hash})
		return nil, err
	})
	return b, err
}

// beginRequest stores a ceremony that uses a passkey.
func (s *Service) beginRequest(tx Tx, c Client, operator string, keys []Passkey, data ceremonyData) (b Begun, err error) {
	if data.Challenge, err = s.random(32); err != nil {
		return b, err
	}
	request := passkey.Request{Challenge: data.Challenge, UserVerification: passkey.Required, Timeout: ceremonyLife}
	for _, k := range keys {
		request.Allow = append(request.Allow, k.Credential)
	}
	if b.Options, err = s.site.RequestOptions(request); err != nil {
		return b, err
	}
	t, token, err := s.ceremony(operator, data)
	if err != nil {
		return b, err
	}
	b.Token, b.Name = secret.NewString(token), operator
	return b, s.begin(tx, c, t)
}

// FinishSignIn checks the response of a passkey and signs its operator in. It returns the
// secret of the session. Errors: ErrExpired, ErrRefused, *BlockedError.
func (s *Service) FinishSignIn(ctx context.Context, c Client, token secret.String, response []byte) (session secret.String, err error) {
	opened, err := s.token()
	if err != nil {
		return session, err
	}
	err = s.update(ctx, func(tx Tx) (outcome, err error) {
		if err := s.blocked(tx, failures, c); err != nil {
			return err, nil
		}
		t, data, err := s.take(tx, token.Reveal(), toSignIn)
		if err != nil {
			return nil, err
		}
		if t == nil {
			return s.fail(tx, c, "", "expired", ErrExpired)
		}
		o, k, outcome, err := s.use(tx, c, data, response)
		if o == nil {
			return outcome, err
		}
		if o.IsExternal() { // the provider must be asked whether the operator is still a member
			return s.fail(tx, c, o.Name, "external", ErrExternal)
		}
		if err := tx.DeleteTicket(counterOf(failures, c.Network)); err != nil {
			return nil, err
		}
		return nil, s.open(tx, c, o, opened, sessionData{Method: ByPasskey, Passkey: k.ID, FreshUntil: s.now().Add(s.opts.Fresh)})
	})
	if err != nil {
		return session, err
	}
	return secret.NewString(opened), nil
}

// Confirm checks the response of a passkey of the operator of a session, and makes the session
// fresh. Errors: ErrSignedOut, ErrExpired, ErrRefused, *BlockedError.
func (s *Service) Confirm(ctx context.Context, c Client, token secret.String, response []byte) error {
	return s.update(ctx, func(tx Tx) (outcome, err error) {
		found, err := s.session(tx, c.Session, s.now())
		if err != nil {
			return nil, err
		}
		if err := s.blocked(tx, failures, c); err != nil {
			return err, nil
		}
		t, data, err := s.take(tx, token.Reveal(), toConfirm)
		if err != nil {
			return nil, err
		}
		if t == nil || data.Session != found.hash {
			return s.fail(tx, c, found.Operator.Name, "expired", ErrExpired)
		}
		o, _, outcome, err := s.use(tx, c, data, response)
		if o == nil {
			return outcome, err
		}
		if o.Name != found.Operator.Name {
			return s.fail(tx, c, found.Operator.Name, "passkey_of_another", ErrRefused)
		}
		stored, err := tx.Ticket(found.hash)
		if err != nil || stored == nil {
			return ErrSignedOut, err
		}
		return nil, s.refresh(tx, c, stored, ByPasskey)
	})
}

// use checks the response of a passkey and stores its new state. It returns nil and an outcome
// if the response is refused.
func (s *Service) use(tx Tx, c Client, data ceremonyData, response []byte) (o *Operator, k *Passkey, outcome, err error) {
	name := ""
	refuse := func(reason string) (*Operator, *Passkey, error, error) {
		outcome, err := s.fail(tx, c, name, reason, ErrRefused)
		return nil, nil, outcome, err
	}
	r, err := passkey.ReadResponse(response)
	if err != nil {
		return refuse("passkey_refused")
	}
	if k, err = tx.Passkey(r.CredentialID); err != nil {
		return nil, nil, nil, err
	}
	if k == nil {
		return refuse("unknown_passkey")
	}
	name = k.Operator
	if o, err = tx.Operator(k.Operator); err != nil {
		return nil, nil, nil, err
	}
	if o == nil {
		return refuse("unknown_passkey")
	}
	// The options of a confirmation list the passkeys of the operator: then authenticators may
	// leave the handle out.
	a, err := s.site.Check(r, k.Credential, passkey.Expectation{
		Challenge: data.Challenge, UserHandle: o.Handle, UserVerified: true, Named: data.Purpose == toConfirm,
	})
	switch {
	case errors.Is(err, passkey.ErrCloned):
		if err := s.happened(tx, c, mfa.PasskeyCloneSuspected, name, k.Name); err != nil {
			return nil, nil, nil, err
		}
		return refuse("passkey_cloned")
	case err != nil:
		return refuse("passkey_refused")
	case !o.DisabledAt.IsZero():
		return refuse("disabled")
	}
	if a.CounterFell {
		if err := s.happened(tx, c, mfa.PasskeyCloneSuspected, name, k.Name); err != nil {
			return nil, nil, nil, err
		}
	}
	k.SignCount, k.BackedUp, k.UsedAt = a.SignCount, a.BackedUp, s.now()
	return o, k, nil, tx.PutPasskey(*k)
}

// RemoveOwnPasskey removes a passkey of the operator of a session, which must be fresh, and
// ends the other sessions that began with it. Errors: ErrSignedOut, ErrStale, ErrNotFound,
// ErrLastPasskey.
func (s *Service) RemoveOwnPasskey(ctx context.Context, c Client, id []byte) error {
	return s.store.UpdateSignIn(ctx, func(tx Tx) error {
		now := s.now()
		found, err := s.session(tx, c.Session, now)
		if err != nil {
			return err
		}
		if !now.Before(found.FreshUntil) {
			return ErrStale
		}
		k, err := tx.Passkey(id)
		if err != nil {
			return err
		}
		if k == nil || k.Operator != found.Operator.Name {
			return ErrNotFound
		}
		all, err := tx.Passkeys(k.Operator)
		if err != nil {
			return err
		}
		if len(all) == 1 && !found.Operator.IsExternal() {
			return ErrLastPasskey
		}
		if err := s.removePasskey(tx, k, found.hash); err != nil {
			return err
		}
		return s.happened(tx, c, mfa.PasskeyRemoved, k.Operator, k.Name)
	})
}

// removePasskey deletes a passkey and the sessions that began with it, except one.
func (s *Service) removePasskey(tx Tx, k *Passkey, except Hash) error {
	sessions, err := tx.Tickets(KindSession, k.Operator)
	if err != nil {
		return err
	}
	for _, t := range sessions {
		data, err := decode[sessionData](&t)
		if err != nil {
			return err
		}
		if string(data.Passkey) == string(k.ID) && t.Hash != except {
			if err := tx.DeleteTicket(t.Hash); err != nil {
				return err
			}
		}
	}
	return tx.DeletePasskey(k.ID)
}
