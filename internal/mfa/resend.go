package mfa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Resend sends the code of a challenge again, in the same words. The expiry of the challenge
// does not change. Errors: ErrNotFound; ErrNotSent for a challenge of another type of
// factor; ErrAlreadyVerified; ErrExpired; ErrTooManyAttempts; ErrResendLimit; and the
// errors of Challenge for a message that may not be sent. If the message cannot be
// delivered, the challenge does not change.
func (s *Service) Resend(ctx context.Context, env Environment, id ChallengeID, req *idempotency.Request[IssuedChallenge]) (IssuedChallenge, error) {
	// A derived key is the same for each request for another message.
	once := begin(s, idempotency.Policy{Derived: false}, req)
	return s.awaited(ctx, func() (IssuedChallenge, error) {
		now := s.now()
		c, err := s.repeat(ctx, env, id, once, now, false)
		unreserved, ok := errors.AsType[*errUnreserved](err)
		if !ok {
			return c, err
		}
		to, err := s.destination(env, unreserved.phone)
		if err != nil {
			return IssuedChallenge{}, err
		}
		ref, err := s.ids.next(now, id.Bucket())
		if err != nil {
			return IssuedChallenge{}, err
		}
		sh := dispatch{
			env: env, phone: unreserved.phone, to: to, once: once, ref: newSendRef(ref[:]), now: now,
			store: func(ctx context.Context, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
				return s.repeat(ctx, env, id, once, now, true)
			},
		}
		if once != nil {
			sh.ref, sh.keep = newSendRef(id[:], once.Identity()), once.Keep
		}
		sh.ref = sh.ref.from(unreserved.source)
		return s.dispatch(ctx, sh)
	})
}

// repeat adds a message to a challenge. The message must have been reserved; otherwise the
// error is an *errUnreserved.
func (s *Service) repeat(ctx context.Context, env Environment, id ChallengeID, once *idempotency.Operation[IssuedChallenge], now time.Time, reserved bool) (IssuedChallenge, error) {
	return decide(ctx, s, Read{Bucket: id.Bucket(), Challenge: id}, once, now, func(tx *Tx) (c IssuedChallenge, err error) {
		f := tx.Factor
		if tx.Challenge == nil || f == nil || f.Environment != env.ID {
			return c, &NotFoundError{EntityChallenge, id.String()}
		}
		c.Challenge = *tx.Challenge
		c.Type = f.Type
		m, ok := f.messenger()
		if !ok {
			return c, ErrNotSent
		}
		if err := tx.Challenge.refuse(s.opts.Limits.Attempts, now); err != nil {
			return c, err
		}
		if err := s.refuseForGood(f, tx.User, now); err != nil {
			return c, err
		}
		if c.resends() >= s.opts.Limits.Resends {
			return c, ErrResendLimit
		}
		if !reserved {
			phone, err := m.recipient(s, f)
			if err != nil {
				return c, err
			}
			return c, &errUnreserved{phone, f.source(now)}
		}
		if len(c.Messages) == 0 || c.Messages[0].Sealed == nil {
			return c, ErrNotSent // a release that did not keep texts created it
		}
		kept, err := s.keys.Load().Open(c.Messages[0].Sealed, c.associatedMessage())
		if err != nil {
			return c, fmt.Errorf("open the message of %s: %w", id, err)
		}
		c.sent, c.text = secret.NewString(string(kept[:codeDigits])), secret.NewString(string(kept[codeDigits:]))
		c.Messages = slices.Clone(c.Messages)
		if n := len(c.Messages) - 1; n > 0 && c.Messages[n].undone() {
			c.Messages = c.Messages[:n]
		}
		c.Messages = append(c.Messages, newDelivery(c.text.Reveal(), now))
		tx.put(c.Challenge.Update())
		return c, nil
	})
}

// ResendsLeft returns how often the code of an sms challenge may still be sent again: 0 if
// the code cannot succeed any more.
func (s *Service) ResendsLeft(c *Challenge) int {
	if c.refuse(s.opts.Limits.Attempts, s.now()) != nil {
		return 0
	}
	return max(0, s.opts.Limits.Resends-c.resends())
}

// FindChallenge returns a challenge of env, without its code, or ErrNotFound.
func (s *Service) FindChallenge(ctx context.Context, env Environment, id ChallengeID) (IssuedChallenge, error) {
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return IssuedChallenge{}, err
	}
	if rows.Challenge == nil || rows.Factor == nil || rows.Factor.Environment != env.ID {
		return IssuedChallenge{}, fmt.Errorf("find a challenge: %w", &NotFoundError{EntityChallenge, id.String()})
	}
	c := IssuedChallenge{Challenge: *rows.Challenge}
	c.Type = rows.Factor.Type
	return c, nil
}
