package mfa

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// ChallengeParams describe a challenge.
type ChallengeParams struct {
	Template string           // sms: the message, with {{code}} in it; default the text of the environment
	Locale   string           // sms: of the environment's text, "de" or "pt-BR"; default that of the phone's country
	Client   Client           // where the user signs in
	Receipt  *receipt.Request // that the verification returns; or nil
	Passkey  PasskeyParams

	AcceptRecovery bool // whether a recovery code of the user can verify the challenge
}

func (p ChallengeParams) text() delivery.TextParams {
	return delivery.TextParams{Template: p.Template, Locale: p.Locale}
}

// An IssuedChallenge is a challenge, with its code if the caller may see it.
type IssuedChallenge struct {
	Challenge
	Code     secret.String // generic_otp: the code, for the caller to deliver; webauthn: the options for the browser; else empty
	Ceremony string        // webauthn: CeremonyCreate or CeremonyGet, if Code is set

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero

	sent    secret.String    // sms: the code, which only the phone may get
	text    secret.String    // sms: the message with it
	client  Client           // that asked for it
	wants   *receipt.Request // see ChallengeParams.Receipt
	passkey PasskeyParams    // webauthn
	owned   []*Factor        // all factors of the user; nil unless a kind asked for them with a *needsOwned
	to      *recipient       // set before the challenge exists: a message must be sent first
}

func (c IssuedChallenge) created() [16]byte { return c.ID }

func (c IssuedChallenge) undecided() bool { return c.to != nil }

func (c IssuedChallenge) marked() bool { return c.Replayed != nil || c.CreatedBy != idempotency.Mark{} }

func (IssuedChallenge) replayed(a *idempotency.Answer) IssuedChallenge {
	return IssuedChallenge{Replayed: a}
}

// Challenge creates a challenge of a factor and sends its code if it is an sms
// factor. Errors: ErrNotFound; ErrSuspended; ErrTooManyAttempts for a factor that only an
// operator can unlock; ErrInvalid; for an sms factor the errors of package
// delivery: if no provider accepts the message, the challenge is deleted.
// While the same request is being carried out elsewhere, Challenge waits for its outcome.
func (s *Service) Challenge(ctx context.Context, by Caller, id FactorID, p ChallengeParams, req *idempotency.Request[IssuedChallenge]) (IssuedChallenge, error) {
	if err := s.check(by.Environment, &p); err != nil {
		return IssuedChallenge{}, err
	}
	once := begin(s, idempotency.Policy{Derived: true}, req)
	return s.awaited(ctx, func() (IssuedChallenge, error) {
		for {
			c, err := s.challenge(ctx, by, id, p, once)
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

// check brings p into the usual form, or returns an *InvalidError with its wrong fields.
func (s *Service) check(env Environment, p *ChallengeParams) error {
	var wrong []FieldError
	for _, f := range s.policy.Check(env.Tenant(), p.text()) {
		field := messageFields[f.Part]
		wrong = append(wrong, FieldError{field, f.Code, field + " " + f.Must})
	}
	client, faults := p.Client.check()
	wrong = append(append(append(wrong, faults...), receiptFaults(p.Receipt)...), p.Passkey.faults()...)
	if wrong != nil {
		return &InvalidError{Fields: wrong}
	}
	if p.Receipt != nil {
		if _, err := s.issuer(env); err != nil {
			return err
		}
	}
	p.Client = client
	return nil
}

// messageFields has the fields of a request by the parts of a delivery.Fault.
var messageFields = map[string]string{"template": "sms_template", "locale": "locale"}

// awaited runs fn, and repeats it while the same request is being carried out elsewhere.
func (s *Service) awaited(ctx context.Context, fn func() (IssuedChallenge, error)) (IssuedChallenge, error) {
	c, err := fn()
	if !errors.Is(err, errPending) {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.policy.Timeout())
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

func (s *Service) challenge(ctx context.Context, by Caller, id FactorID, p ChallengeParams, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
	now := s.now()
	if answer, err := claim(ctx, s, once, now); answer != nil || err != nil {
		return IssuedChallenge{Replayed: answer}, err
	}
	c, err := s.newChallenge(id.Bucket(), now)
	if err != nil {
		return IssuedChallenge{}, err
	}
	c.client, c.passkey, c.wants, c.AcceptsRecovery = p.Client, p.Passkey, p.Receipt, p.AcceptRecovery
	found, err := s.findRecipient(ctx, by, id, once, now)
	if found.to == nil && err == nil {
		found, err = s.create(ctx, by, id, c, once, now)
	}
	if found.to == nil {
		return found, err
	}
	sent, err := s.createAndSend(ctx, by, id, c, p, *found.to, once, now)
	if _, limited := errors.AsType[*LimitError](err); limited && once != nil {
		// The same request may have been answered in between. Its message may then be counted
		// as the message of another sign-in, and cause this error.
		if again, err := s.create(ctx, by, id, c, once, now); again.to == nil {
			return again, err
		}
	}
	return sent, err
}

// newChallenge returns a challenge with a new code, without its factor.
func (s *Service) newChallenge(b Bucket, now time.Time) (c IssuedChallenge, err error) {
	id, err := s.ids.Next(now, b)
	if err != nil {
		return c, err
	}
	c.Challenge = Challenge{ID: id, CreatedAt: now, ExpiresAt: now.Add(s.opts.ChallengeTTL), ChallengeState: ChallengeState{UpdatedAt: now}}
	c.sent, err = newCode(s.opts.Rand)
	return c, err
}

// findRecipient returns the recipient of the message of a challenge in IssuedChallenge.to,
// without a transaction; nil if create has to find out. The id of the factor tells whether
// it is worth looking.
func (s *Service) findRecipient(ctx context.Context, by Caller, id FactorID, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	if !isMarked(id) {
		return IssuedChallenge{}, nil
	}
	return lookAt(ctx, s, Read{Bucket: id.Bucket(), Factor: id}, once, now, func(rows Rows) (IssuedChallenge, error) {
		if err := s.mayChallenge(by, id, rows, now); err != nil {
			return IssuedChallenge{}, err
		}
		to, err := s.recipient(rows.Factor, now)
		return IssuedChallenge{to: to}, err
	})
}

// create makes c a challenge of the factor id. If its code must be sent first, create
// stores nothing and returns the recipient of the message in IssuedChallenge.to. If the factor
// or its user is locked, but an operator has issued a bypass code, create makes c a challenge
// that only this code can verify, and nothing is sent. The same applies to a locked factor if
// c accepts the recovery codes of its user.
func (s *Service) create(ctx context.Context, by Caller, id FactorID, c IssuedChallenge, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	r := Read{Bucket: id.Bucket(), Factor: id, Created: once.Mark().Key}
	issued, err := s.createOrLook(ctx, by, id, c, r, once, now)
	if locked, ok := errors.AsType[*lockedError](err); ok {
		r.Bypass, r.Recovery = locked.bypass, locked.user
		issued, err = s.createOrLook(ctx, by, id, c, r, once, now)
	}
	if needs, ok := errors.AsType[*needsOwned](err); ok {
		r.Owned = Owned{User: needs.user, All: true}
		return s.createOrLook(ctx, by, id, c, r, once, now)
	}
	return issued, err
}

// createOrLook is create. It returns a *lockedError if the bypass code must be read first.
func (s *Service) createOrLook(ctx context.Context, by Caller, id FactorID, c IssuedChallenge, r Read, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	events := journal{by: by, at: now, bucket: id.Bucket()}
	return decide(ctx, s, r, once, now, func(tx *Tx) (IssuedChallenge, error) {
		c.owned = tx.AllOwned
		if tx.Factor != nil && tx.Created != nil {
			if wrote, err := once.Wrote(tx.Created.CreatedBy, tx.Created.CreatedAt, tx.Created.ID, now); wrote || err != nil {
				return s.answerAgain(tx.Created, once, err)
			}
		}
		if err := s.mayChallenge(by, id, tx.Rows, now); err != nil {
			switch _, locked := errors.AsType[*LimitError](err); {
			case locked && r.Bypass == BypassKey{}:
				return IssuedChallenge{}, &lockedError{err, tx.Factor.BypassKey(), tx.Factor.UserKey()}
			case locked && (tx.Bypass.IsOpen(now) || s.canRecover(&c.Challenge, tx, by.Environment, now)):
				return s.insert(tx, c, events)
			}
			return IssuedChallenge{}, err
		}
		if to, err := s.recipient(tx.Factor, now); to != nil || err != nil {
			return IssuedChallenge{to: to}, err
		}
		c.CreatedBy = once.Mark()
		return s.insert(tx, c, events)
	})
}

// answerAgain returns the answer to the request that created c, or err.
func (s *Service) answerAgain(c *Challenge, once *idempotency.Operation[IssuedChallenge], err error) (IssuedChallenge, error) {
	if err != nil {
		return IssuedChallenge{}, err
	}
	then := IssuedChallenge{Challenge: *c}
	if err := s.show(&then); err != nil {
		return IssuedChallenge{}, err
	}
	then.ChallengeState = ChallengeState{UpdatedAt: c.CreatedAt}
	return IssuedChallenge{Replayed: once.Again(then, c.ID)}, nil
}

// createCounted makes c, whose message is counted, a challenge of the factor id.
func (s *Service) createCounted(ctx context.Context, by Caller, id FactorID, c IssuedChallenge, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	events := journal{by: by, at: now, bucket: id.Bucket()}
	return decide(ctx, s, Read{Bucket: id.Bucket(), Factor: id}, once, now, func(tx *Tx) (IssuedChallenge, error) {
		if err := s.mayChallenge(by, id, tx.Rows, now); err != nil {
			return IssuedChallenge{}, err
		}
		return s.insert(tx, c, events)
	})
}

// mayChallenge returns an error if no challenge of a factor may be created.
func (s *Service) mayChallenge(by Caller, id FactorID, rows Rows, now time.Time) error {
	f := rows.Factor
	if f == nil || f.Environment != by.ID {
		return &NotFoundError{EntityFactor, id.String()}
	}
	return s.refuseForGood(f, rows.User, now)
}

// insert puts c into tx as a challenge of the factor of tx.
func (s *Service) insert(tx *Tx, c IssuedChallenge, events journal) (IssuedChallenge, error) {
	kind, err := tx.Factor.kind()
	if err != nil {
		return IssuedChallenge{}, err
	}
	c.Factor, c.Type = tx.Factor.ID, tx.Factor.Type
	if err := kind.issue(s, events.by.Environment, tx.Factor, &c); err != nil {
		return IssuedChallenge{}, err
	}
	if c.wants != nil {
		if err := s.bind(&c.Challenge, c.wants); err != nil {
			return IssuedChallenge{}, err
		}
	}
	if events.context, err = s.sealClient(c.client, tx.Factor); err != nil {
		return IssuedChallenge{}, err
	}
	tx.put(InsertChallenge{&c.Challenge})
	events.append(tx, Event{Type: ChallengeCreated, Factor: c.Factor, Challenge: c.ID, Kind: c.Type})
	return c, nil
}

// refuseForGood refuses a challenge that no code can ever verify. It ignores a wait, which
// may be over when the code arrives.
func (s *Service) refuseForGood(f *Factor, u *User, now time.Time) error {
	if err := f.refuseSuspended(); err != nil {
		return err
	}
	if err := u.refuse(s.opts.Limits); err != nil {
		return err
	}
	err := f.refuse(s.opts.Limits, now)
	if limit, ok := errors.AsType[*LimitError](err); ok && limit.After == 0 {
		return err
	}
	return nil
}
