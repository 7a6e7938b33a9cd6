package mfa

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Verification is the answer to one submitted code.
type Verification struct {
	Challenge IssuedChallenge
	Valid     bool

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero
}

func (Verification) created() [16]byte { return [16]byte{} }

func (Verification) undecided() bool { return false }

func (Verification) replayed(a *idempotency.Answer) Verification { return Verification{Replayed: a} }

// VerifyParams are one submitted code.
type VerifyParams struct {
	Code   string
	Client Client // where it was entered
}

// Verify tries a code against a challenge. A wrong code is an outcome, not an
// error. Errors: ErrNotFound, also for a challenge whose factor was deleted;
// ErrAlreadyVerified; ErrExpired; ErrTooManyAttempts while the challenge, its
// factor or its user may not be tried. Every code that is checked is counted
// before it is answered. Of the codes that are not checked, the first leaves an event, and
// later ones leave one by chance.
func (s *Service) Verify(ctx context.Context, by Caller, id ChallengeID, p VerifyParams, req *idempotency.Request[Verification]) (Verification, error) {
	client, wrong := p.Client.check()
	if wrong != nil {
		return Verification{}, &InvalidError{Fields: wrong}
	}
	// With a derived key, everyone who enters the same code would get the recorded answer,
	// and a spent code would be accepted. The challenge itself prevents that.
	once := begin(s, idempotency.Policy{Derived: false}, req)
	now := s.now()
	if answer, err := claim(ctx, s, once, now); answer != nil || err != nil {
		return Verification{Replayed: answer}, err
	}
	events := journal{by: by, at: now, bucket: id.Bucket()}
	chance, err := s.ids.Random()
	if err != nil {
		return Verification{}, err
	}
	code := typedCode(p.Code)
	var to *recipient // of an sms factor whose messages are counted, before this code
	v, err := decide(ctx, s, Read{Bucket: id.Bucket(), Challenge: id}, once, now, func(tx *Tx) (Verification, error) {
		c, f := tx.Challenge, tx.Factor
		if c == nil || f == nil || f.Environment != by.ID {
			return Verification{}, &NotFoundError{EntityChallenge, id.String()}
		}
		var err error
		if events.context, err = s.sealClient(client, f); err != nil {
			return Verification{}, err
		}
		if err := s.refuse(c, f, tx.User, now); err != nil {
			if c.leavesEvent(chance) {
				tx.put(c.Update())
				events.append(tx, Event{Type: ChallengeRefused, Factor: f.ID, Challenge: id, Kind: f.Type, Reason: refusalReason(err)})
			}
			return Verification{}, err
		}
		if by.Production {
			if to, err = s.recipient(f, now); err != nil {
				return Verification{}, err
			}
		}
		return s.try(tx, events, code, now)
	})
	if err == nil && v.Valid && to != nil {
		s.countVerified(ctx, by.Environment, *to, &v.Challenge.Challenge)
	}
	return v, err
}

// refuse returns why no code can succeed now. If there are several reasons, it returns the
// most important one for the caller.
func (s *Service) refuse(c *Challenge, f *Factor, u *User, now time.Time) error {
	if err := c.refuse(s.opts.Limits.Attempts, now); err != nil {
		return err
	}
	// The user's lock comes first: waiting does not end it, as it may end a factor's lock.
	if err := u.refuse(s.opts.Limits); err != nil {
		return err
	}
	return f.refuse(s.opts.Limits, now)
}

// try checks a code and counts it.
func (s *Service) try(tx *Tx, events journal, code string, now time.Time) (v Verification, err error) {
	c, f := tx.Challenge, tx.Factor
	before := *f
	c.Type = f.Type
	kind, err := f.kind()
	if err != nil {
		return v, err
	}
	wrong, err := kind.check(s, c, f, code, now)
	if err != nil {
		return v, err
	}
	v.Valid = wrong == ""
	switch {
	case c.SealedCode == nil: // replies do not show the code
	case v.Valid:
		v.Challenge.Code = secret.NewString(code) // the same code, without opening it
	default:
		if v.Challenge.Code, err = s.openCode(c); err != nil {
			return v, err
		}
	}
	if err := c.Attempt(v.Valid, s.opts.Limits.Attempts, now); err != nil {
		return v, err
	}
	v.Challenge.Challenge = *c
	tx.put(c.Update())
	if v.Valid {
		events.append(tx, Event{Type: ChallengeSucceeded, Factor: f.ID, Challenge: c.ID, Kind: f.Type})
	} else {
		events.append(tx, Event{Type: ChallengeFailed, Factor: f.ID, Challenge: c.ID, Kind: f.Type, Reason: wrong})
	}
	if f.record(v.Valid, s.opts.Limits, now) {
		events.append(tx, Event{Type: FactorLocked, Factor: f.ID, Challenge: c.ID, Kind: f.Type})
	}
	if f.LastStep != before.LastStep || f.Failures != before.Failures {
		tx.put(f.Update())
	}
	s.recordUser(tx, events, v.Valid)
	return v, nil
}

// recordUser counts a code in the user of the factor.
func (s *Service) recordUser(tx *Tx, events journal, right bool) {
	key, u := tx.Factor.UserKey(), tx.User
	switch {
	case key == UserKey{}:
	case right && u != nil:
		tx.put(DeleteUser{key})
	case !right:
		if u == nil {
			u = &User{UserKey: key}
		}
		if u.Failures++; u.Failures >= s.opts.Limits.UserFailures {
			events.append(tx, Event{Type: UserLocked, Factor: tx.Factor.ID, Challenge: tx.Challenge.ID, Kind: tx.Factor.Type})
		}
		tx.put(PutUser{u})
	}
}

func (s *Service) openCode(c *Challenge) (secret.String, error) {
	code, err := s.keys.Load().Open(c.SealedCode, c.associated())
	if err != nil {
		return secret.String{}, errors.Join(errors.New("open the code of "+c.ID.String()), err)
	}
	return secret.NewString(string(code)), nil
}

func refusalReason(err error) string {
	switch {
	case errors.Is(err, ErrAlreadyVerified):
		return reasonVerified
	case errors.Is(err, ErrExpired):
		return reasonExpired
	}
	return reasonTooManyAttempts
}
