package mfa

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Resend sends the code of a challenge again, in the same words. The expiry of the challenge
// does not change. Errors: ErrNotFound; ErrNotSent for a challenge of another type of
// factor, and for one that only a bypass code can verify; ErrAlreadyVerified; ErrExpired; ErrSuspended; ErrTooManyAttempts; ErrResendLimit; and the
// errors of Challenge for a message that may not be sent. If the message cannot be
// delivered, the challenge does not change.
func (s *Service) Resend(ctx context.Context, by Caller, id ChallengeID, req *idempotency.Request[IssuedChallenge]) (IssuedChallenge, error) {
	// A derived key is the same for each request for another message.
	once := begin(s, idempotency.Policy{Derived: false}, req)
	return s.awaited(ctx, func() (IssuedChallenge, error) {
		now := s.now()
		found, err := s.findUnsent(ctx, by, id, once, now)
		if found.to == nil {
			return found, err
		}
		unique, err := s.ids.Next(now, id.Bucket())
		if err != nil {
			return IssuedChallenge{}, err
		}
		d, err := s.plan(by, *found.to, id, unique, once, now)
		if err != nil {
			return IssuedChallenge{}, err
		}
		return s.dispatch(ctx, d, func(ctx context.Context, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
			return s.addMessage(ctx, by, id, once, now)
		})
	})
}

// findUnsent returns the recipient of another message of a challenge in IssuedChallenge.to.
// It reads without writing; only a refusal and a recorded answer need a transaction.
func (s *Service) findUnsent(ctx context.Context, by Caller, id ChallengeID, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	r := Read{Bucket: id.Bucket(), Challenge: id}
	look := func(rows Rows) (IssuedChallenge, error) {
		if err := s.mayResend(by, id, rows, now); err != nil {
			return IssuedChallenge{}, err
		}
		to, err := s.recipient(rows.Factor, now)
		return IssuedChallenge{to: to}, err
	}
	if found, err := lookAt(ctx, s, r, once, now, look); found.undecided() || err != nil {
		return found, err
	}
	return decide(ctx, s, r, once, now, func(tx *Tx) (IssuedChallenge, error) { return look(tx.Rows) })
}

// mayResend returns an error if the code of a challenge may not be sent again.
func (s *Service) mayResend(by Caller, id ChallengeID, rows Rows, now time.Time) error {
	c, f := rows.Challenge, rows.Factor
	if c == nil || f == nil || f.Environment != by.ID {
		return &NotFoundError{EntityChallenge, id.String()}
	}
	if _, ok := f.messenger(); !ok || len(c.Messages) == 0 {
		return ErrNotSent
	}
	if err := c.refuse(s.opts.Limits.Attempts, now); err != nil {
		return err
	}
	if err := s.refuseForGood(f, rows.User, now); err != nil {
		return err
	}
	if c.Messages.Resends() >= s.opts.Limits.Resends {
		return ErrResendLimit
	}
	return nil
}

// addMessage adds a message, which is counted, to a challenge.
func (s *Service) addMessage(ctx context.Context, by Caller, id ChallengeID, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	return decide(ctx, s, Read{Bucket: id.Bucket(), Challenge: id}, once, now, func(tx *Tx) (c IssuedChallenge, err error) {
		if err := s.mayResend(by, id, tx.Rows, now); err != nil {
			return c, err
		}
		c.Challenge = *tx.Challenge
		c.Type = tx.Factor.Type
		if len(c.Messages) == 0 || c.Messages[0].Sealed == nil {
			return c, ErrNotSent // a release that did not keep texts created it
		}
		kept, err := s.keys.Load().Open(c.Messages[0].Sealed, c.associatedMessage())
		if err != nil {
			return c, fmt.Errorf("open the message of %s: %w", id, err)
		}
		c.sent, c.text = secret.NewString(string(kept[:codeDigits])), secret.NewString(string(kept[codeDigits:]))
		c.Messages = c.Messages.With(c.Messages[0].Again(now))
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
	return max(0, s.opts.Limits.Resends-c.Messages.Resends())
}

// FindChallenge returns a challenge of env, or ErrNotFound. It has a code only if the code is
// public and can be used.
func (s *Service) FindChallenge(ctx context.Context, by Caller, id ChallengeID) (IssuedChallenge, error) {
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return IssuedChallenge{}, err
	}
	if rows.Challenge == nil || rows.Factor == nil || rows.Factor.Environment != by.ID {
		return IssuedChallenge{}, fmt.Errorf("find a challenge: %w", &NotFoundError{EntityChallenge, id.String()})
	}
	c := IssuedChallenge{Challenge: *rows.Challenge}
	c.Type = rows.Factor.Type
	if k, _ := findKind(c.Type); c.refuse(s.opts.Limits.Attempts, s.now()) == nil {
		if _, ok := k.(shower); ok {
			return c, s.show(&c)
		}
	}
	return c, nil
}
