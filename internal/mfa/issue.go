package mfa

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// ChallengeParams describe the message of a challenge.
type ChallengeParams struct {
	Template string // sms: the message, with {{code}} in it; default the text of the environment
	Locale   string // sms: of the environment's text, "de" or "pt-BR"; default that of the phone's country
}

// An IssuedChallenge is a challenge, with its code if the caller may see it.
type IssuedChallenge struct {
	Challenge
	Code secret.String // generic_otp: the code, for the caller to deliver; else empty

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero

	sent secret.String // sms: the code, which only the phone may get
	text secret.String // sms: the message with it
}

func (c IssuedChallenge) created() [16]byte { return c.ID }

func (IssuedChallenge) replayed(a *idempotency.Answer) IssuedChallenge {
	return IssuedChallenge{Replayed: a}
}

// errUnreserved undoes the creation of an sms challenge whose message was not counted
// yet: messages are counted in another bucket.
type errUnreserved struct {
	phone  Phone
	source SendSource
}

func (*errUnreserved) Error() string { return "message not reserved" }

// Challenge creates a challenge of a factor and sends its code if it is an sms
// factor. Errors: ErrNotFound; ErrTooManyAttempts for a factor that only an
// operator can unlock; ErrInvalid; for an sms factor ErrCountry, ErrNumberType,
// ErrSandboxNumber, ErrSendLimit, ErrDailyLimit, ErrPrefixPaused, ErrRecipientRefused
// and ErrDelivery.
// While the same request is being carried out elsewhere, Challenge waits for its outcome.
func (s *Service) Challenge(ctx context.Context, env Environment, id FactorID, p ChallengeParams, req *idempotency.Request[IssuedChallenge]) (IssuedChallenge, error) {
	if err := s.rulesOf(env).check(p); err != nil {
		return IssuedChallenge{}, err
	}
	once := begin(s, idempotency.Policy{Derived: true}, req)
	return s.awaited(ctx, func() (IssuedChallenge, error) {
		for {
			c, err := s.challenge(ctx, env, id, p, once)
			if c.Replayed == nil || !once.Derived || once.IsPast(c.Replayed.About) {
				return c, err
			}
			if again, err := s.untried(ctx, c.Replayed.About); again || err != nil {
				return c, err
			}
			once = once.Past(c.Replayed.About)
		}
	})
}

// awaited runs fn, and repeats it while the same request is being carried out elsewhere.
func (s *Service) awaited(ctx context.Context, fn func() (IssuedChallenge, error)) (IssuedChallenge, error) {
	c, err := fn()
	if !errors.Is(err, errPending) {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.SendTimeout)
	defer cancel()
	for errors.Is(err, errPending) {
		select {
		case <-ctx.Done():
			return IssuedChallenge{}, err
		case <-time.After(pendingPause):
		}
		c, err = fn()
	}
	return c, err
}

// pendingPause is the time between two runs of awaited.
const pendingPause = 25 * time.Millisecond

// untried reports whether no code of a challenge was tried yet. With a derived key, only
// the answer of such a challenge is given again: a tried code shows that the answer
// arrived, so the client now means another sign-in.
func (s *Service) untried(ctx context.Context, about [16]byte) (bool, error) {
	id := ChallengeID(about)
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return false, err
	}
	c := rows.Challenge
	return c != nil && c.Attempts == 0 && s.now().Before(c.ExpiresAt), nil
}

func (s *Service) challenge(ctx context.Context, env Environment, id FactorID, p ChallengeParams, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
	now := s.now()
	if answer, err := claim(ctx, s, once, now); answer != nil || err != nil {
		return IssuedChallenge{Replayed: answer}, err
	}
	c, err := s.newChallenge(id.Bucket(), now)
	if err != nil {
		return IssuedChallenge{}, err
	}
	created, err := s.create(ctx, env, id, c, once, now, false)
	unreserved, ok := errors.AsType[*errUnreserved](err)
	if !ok {
		return created, err
	}
	sent, err := s.createAndSend(ctx, env, id, c, p, unreserved, once, now)
	if _, limited := errors.AsType[*LimitError](err); limited && once != nil {
		// The same request may have been answered in between. Its message may then be counted
		// as the message of another sign-in, and cause this error.
		again, err := s.create(ctx, env, id, c, once, now, false)
		if _, unreserved := errors.AsType[*errUnreserved](err); !unreserved {
			return again, err
		}
	}
	return sent, err
}

// newChallenge returns a challenge with a new code, without its factor.
func (s *Service) newChallenge(b Bucket, now time.Time) (c IssuedChallenge, err error) {
	id, err := s.ids.next(now, b)
	if err != nil {
		return c, err
	}
	c.Challenge = Challenge{ID: id, CreatedAt: now, ExpiresAt: now.Add(s.opts.ChallengeTTL), ChallengeState: ChallengeState{UpdatedAt: now}}
	c.sent, err = newCode(s.opts.Rand)
	return c, err
}

// create stores c as a challenge of the factor id. For an sms factor its message
// must have been reserved; otherwise the error is an *errUnreserved.
func (s *Service) create(ctx context.Context, env Environment, id FactorID, c IssuedChallenge, once *idempotency.Operation[IssuedChallenge], now time.Time, reserved bool) (IssuedChallenge, error) {
	events, err := s.journal(env.ID, now, id.Bucket())
	if err != nil {
		return IssuedChallenge{}, err
	}
	return decide(ctx, s, Read{Bucket: id.Bucket(), Factor: id}, once, now, func(tx *Tx) (IssuedChallenge, error) {
		f := tx.Factor
		if f == nil || f.Environment != env.ID {
			return IssuedChallenge{}, &NotFoundError{EntityFactor, id.String()}
		}
		if err := s.refuseForGood(f, tx.User, now); err != nil {
			return IssuedChallenge{}, err
		}
		if m, ok := f.messenger(); ok && !reserved {
			phone, err := m.recipient(s, f)
			if err != nil {
				return IssuedChallenge{}, err
			}
			return IssuedChallenge{}, &errUnreserved{phone, f.source(now)}
		}
		kind, err := f.kind()
		if err != nil {
			return IssuedChallenge{}, err
		}
		c := c // each run of the transaction completes its own copy
		c.Factor, c.Type = f.ID, f.Type
		if err := kind.issue(s, &c); err != nil {
			return IssuedChallenge{}, err
		}
		tx.put(InsertChallenge{&c.Challenge})
		events.append(tx, Event{Type: ChallengeCreated, Factor: id, Challenge: c.ID})
		return c, nil
	})
}

// refuseForGood refuses a challenge that no code can ever verify. It ignores a wait, which
// may be over when the code arrives.
func (s *Service) refuseForGood(f *Factor, u *User, now time.Time) error {
	if err := u.refuse(s.opts.Limits); err != nil {
		return err
	}
	err := f.refuse(s.opts.Limits, now)
	if limit, ok := errors.AsType[*LimitError](err); ok && limit.After == 0 {
		return err
	}
	return nil
}
