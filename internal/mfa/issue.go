package mfa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// ChallengeParams say how to challenge a factor.
type ChallengeParams struct {
	Template string // sms: the message, with {{code}} in it; "" for the default text
}

// An Issued is a challenge with what its caller may see of its code.
type Issued struct {
	Challenge
	Code secret.String // generic_otp: the code, for the caller to deliver; else empty

	sent secret.String // sms: the code, for the phone alone
}

// made returns the id of what is new.
func (c Issued) made() [16]byte { return c.ID }

const (
	codePlace       = "{{code}}"
	defaultTemplate = "Your verification code is: " + codePlace
	maxTemplate     = 1600 // characters, the most that carriers join into one message
)

// errUnreserved undoes the creation of an sms challenge whose message has not
// been counted yet: that is done in the phone number's own bucket.
type errUnreserved struct{ phone Phone }

func (*errUnreserved) Error() string { return "message not reserved" }

// Challenge creates a challenge of a factor and sends its code if it is an sms
// factor. Errors: ErrNotFound; ErrTooManyAttempts for a factor that only an
// operator can unlock; ErrCountry; ErrNumberType; ErrSendLimit; ErrDelivery;
// ErrInvalid. While the same
// request is being carried out, it waits for what becomes of that.
func (s *Service) Challenge(ctx context.Context, env Environment, id FactorID, p ChallengeParams, once *Once[Issued]) (Issued, error) {
	if err := p.check(); err != nil {
		return Issued{}, err
	}
	wait, cancel := context.WithTimeout(ctx, s.opts.SendTimeout)
	defer cancel()
	for {
		c, err := s.challenge(ctx, env, id, p, once)
		if replayed, ok := errors.AsType[*Replayed](err); ok && once.Derived && once.past != replayed.about {
			again, viewErr := s.untried(ctx, replayed.about)
			if viewErr != nil {
				return Issued{}, viewErr
			}
			if !again {
				anew := *once
				anew.past = replayed.about
				once = &anew
				continue
			}
		}
		if !errors.Is(err, errPending) {
			return c, err
		}
		select {
		case <-wait.Done():
			return Issued{}, err
		case <-time.After(pendingPause):
		}
	}
}

// pendingPause is between two looks at a request that is being carried out.
const pendingPause = 25 * time.Millisecond

// untried reports whether a challenge is as it was when it was made. Under a
// derived key only such a one is given again: a code that was tried shows that the
// answer arrived, and that whoever asks now means another sign-in.
func (s *Service) untried(ctx context.Context, about [16]byte) (bool, error) {
	id := ChallengeID(about)
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return false, err
	}
	c := rows.Challenge
	return c != nil && c.Attempts == 0 && s.now().Before(c.ExpiresAt), nil
}

func (s *Service) challenge(ctx context.Context, env Environment, id FactorID, p ChallengeParams, once *Once[Issued]) (Issued, error) {
	now := s.now()
	if err := claim(ctx, s, once, now); err != nil {
		return Issued{}, err
	}
	c, err := s.newChallenge(id.Bucket(), now)
	if err != nil {
		return Issued{}, err
	}
	created, err := s.create(ctx, env, id, c, once, now, false)
	if unreserved, ok := errors.AsType[*errUnreserved](err); ok {
		return s.createAndSend(ctx, env, id, c, p, unreserved.phone, once, now)
	}
	return created, err
}

func (p ChallengeParams) check() error {
	switch t := p.Template; {
	case t == "":
		return nil
	case !strings.Contains(t, codePlace):
		return invalid("sms_template", "missing_code", "sms_template must contain {{code}}, where the code goes")
	case utf8.RuneCountInString(t) > maxTemplate:
		return invalid("sms_template", "too_long", fmt.Sprintf("sms_template must have at most %d characters", maxTemplate))
	}
	return nil
}

// newChallenge makes a challenge with a code that no factor claims yet.
func (s *Service) newChallenge(b Bucket, now time.Time) (c Issued, err error) {
	id, err := s.ids.next(now, b)
	if err != nil {
		return c, err
	}
	c.Challenge = Challenge{ID: id, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(s.opts.ChallengeTTL)}
	c.sent, err = newCode(s.opts.Rand)
	return c, err
}

// sealCode gives a challenge to its factor and keeps of its code what that type
// of factor needs.
func (s *Service) sealCode(c Issued, f *Factor) (_ Issued, err error) {
	c.Factor = f.ID
	if f.Type == TOTP {
		c.sent = secret.String{}
		return c, nil
	}
	if c.CodeMAC, err = s.keys.Load().MAC(c.codeMessage(c.sent.Reveal())); err != nil {
		return c, fmt.Errorf("authenticate a code: %w", err)
	}
	if f.Type == GenericOTP {
		c.Code = c.sent
		if c.SealedCode, err = s.keys.Load().Seal([]byte(c.Code.Reveal()), c.associated()); err != nil {
			return c, fmt.Errorf("seal a code: %w", err)
		}
	}
	return c, nil
}

// create stores c as a challenge of the factor id. For an sms factor its message
// must have been reserved; otherwise the error is an *errUnreserved.
func (s *Service) create(ctx context.Context, env Environment, id FactorID, c Issued, once *Once[Issued], now time.Time, reserved bool) (Issued, error) {
	events, err := s.journal(env.ID, now, id.Bucket())
	if err != nil {
		return Issued{}, err
	}
	return decide(ctx, s, Read{Bucket: id.Bucket(), Factor: id}, once, now, func(tx *Tx) (Issued, error) {
		f := tx.Factor
		if f == nil || f.Environment != env.ID {
			return Issued{}, &NotFoundError{EntityFactor, id.String()}
		}
		if err := s.refuseForGood(f, tx.User, now); err != nil {
			return Issued{}, err
		}
		if f.Type == SMS && !reserved {
			number, err := s.open(f)
			if err != nil {
				return Issued{}, err
			}
			return Issued{}, &errUnreserved{newPhone(string(number))}
		}
		c, err := s.sealCode(c, f)
		if err != nil {
			return Issued{}, err
		}
		tx.put(InsertChallenge{&c.Challenge})
		events.append(tx, Event{Type: ChallengeCreated, Factor: id, Challenge: c.ID})
		return c, nil
	})
}

// refuseForGood refuses a challenge that no code could ever verify. A wait is no
// reason: it may be over when the code arrives.
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

// createAndSend counts the message of c against its phone number, stores c and
// then sends it. If anything fails on the way, what it took is given back, unless
// the message may have been sent.
func (s *Service) createAndSend(ctx context.Context, env Environment, id FactorID, c Issued, p ChallengeParams, phone Phone, once *Once[Issued], now time.Time) (Issued, error) {
	if err := s.refuseDestination(env, phone); err != nil {
		return Issued{}, err
	}
	if s.sender == nil {
		return Issued{}, fmt.Errorf("%w: no SMS provider is configured", ErrDelivery)
	}
	// From here on a caller who hangs up must not leave a message half sent.
	ctx = context.WithoutCancel(ctx)
	ref, keep := SendRef(c.ID[8:]), time.Duration(0)
	if once != nil {
		sending := *once
		sending.pending = s.opts.SendTimeout
		once, ref, keep = &sending, once.ref(id), once.Keep
	}
	if err := s.reserve(ctx, env.ID, phone, ref, keep, now); err != nil {
		return Issued{}, err
	}
	created, err := s.create(ctx, env, id, c, once, now, true)
	if isReplayed(err) || errors.Is(err, ErrKeyReused) || errors.Is(err, errPending) {
		return Issued{}, err // another request under the key came first, and counted the message
	}
	if err != nil {
		return Issued{}, errors.Join(err, s.changeLimit(ctx, env.ID, phone, ref, (*PhoneLimit).giveBack))
	}
	undo := func(err error) error {
		change := (*PhoneLimit).giveBack
		if errors.Is(err, errUncertain) {
			change = (*PhoneLimit).keepFor // it stays counted, and another try is another message
		}
		// The count first: once the record is gone, the same request may come again
		// and must be counted itself.
		return errors.Join(err, s.changeLimit(ctx, env.ID, phone, ref, change), s.void(ctx, env, created, once))
	}
	finished := false
	defer func() {
		if !finished {
			undo(nil) // the sender panicked
		}
	}()
	err = s.send(ctx, env, created, phone, p)
	finished = true
	if err != nil {
		return Issued{}, undo(err)
	}
	created.sent = secret.String{}
	if err := settle(ctx, s, created.ID.Bucket(), once); err != nil {
		// The challenge stands and its message is out. Only a repetition of the
		// request has to wait until the record counts as settled by itself.
		s.opts.Logger.Warn("settle a recorded answer", "challenge", created.ID.String(), "error", err)
	}
	if once != nil && once.Derived {
		// The next message under this key may be for another sign-in: it is counted.
		if err := s.changeLimit(ctx, env.ID, phone, ref, (*PhoneLimit).keepFor); err != nil {
			s.opts.Logger.Warn("count messages apart", "challenge", created.ID.String(), "error", err)
		}
	}
	return created, nil
}

func (s *Service) send(ctx context.Context, env Environment, c Issued, phone Phone, p ChallengeParams) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.SendTimeout)
	defer cancel()
	text := strings.ReplaceAll(firstNonEmpty(p.Template, defaultTemplate), codePlace, c.sent.Reveal())
	err := s.sender.Send(ctx, Message{
		Environment: env.ID, Production: env.Production, Challenge: c.ID, To: phone,
		Text: secret.NewString(text), Code: c.sent, At: c.CreatedAt, ExpiresAt: c.ExpiresAt,
	})
	switch {
	case err == nil:
		return nil
	case isUncertain(err):
		return fmt.Errorf("%w: %w: %s", ErrDelivery, errUncertain, redact(err, phone, c.sent))
	}
	return fmt.Errorf("%w: %s", ErrDelivery, redact(err, phone, c.sent))
}

// errUncertain means that a message may have been sent, though its sender failed.
var errUncertain = errors.New("perhaps sent")

// isUncertain reports whether a sender's error came after the message may have
// left: a time-out, or a connection that broke without an answer.
func isUncertain(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// redact returns the text of a sender's error without the number and the code: the
// errors of HTTP clients quote URLs, in which gateways have them.
func redact(err error, phone Phone, code secret.String) string {
	digits := strings.TrimPrefix(phone.E164(), "+")
	return strings.NewReplacer(digits, "[phone]", code.Reveal(), "[code]").Replace(err.Error())
}

// reserve counts a message to phone, or returns a *LimitError.
func (s *Service) reserve(ctx context.Context, env EnvironmentID, phone Phone, ref SendRef, keep time.Duration, now time.Time) error {
	r := s.readPhone(env, phone)
	return s.store.Update(ctx, r, func(tx *Tx) error {
		limit := tx.Phone
		if limit == nil {
			limit = &PhoneLimit{Bucket: r.Bucket, Key: r.Phone}
		}
		if err := limit.reserve(ref, keep, s.opts.Limits, now); err != nil {
			return err
		}
		tx.put(PutPhone{limit})
		return nil
	})
}

// changeLimit changes what a phone number's limit remembers of ref.
func (s *Service) changeLimit(ctx context.Context, env EnvironmentID, phone Phone, ref SendRef, change func(*PhoneLimit, SendRef)) error {
	return s.store.Update(ctx, s.readPhone(env, phone), func(tx *Tx) error {
		if tx.Phone != nil {
			change(tx.Phone, ref)
			tx.put(PutPhone{tx.Phone})
		}
		return nil
	})
}

// readPhone names the limit of a phone number by its keyed hash.
func (s *Service) readPhone(env EnvironmentID, phone Phone) Read {
	key := PhoneKey(s.keys.Load().Index(fmt.Appendf(nil, "phone/%d/%s", env, phone.E164())))
	return Read{Bucket: key.Bucket(), Phone: key}
}

// settle makes the recorded answer certain, now that its message was sent.
func settle[T any](ctx context.Context, s *Service, b Bucket, once *Once[T]) error {
	if once == nil {
		return nil
	}
	return s.store.Update(ctx, Read{Bucket: b, Replay: once.Key}, func(tx *Tx) error {
		if tx.Replay != nil {
			tx.Replay.PendingUntil = time.Time{}
			tx.put(PutReplay{tx.Replay})
		}
		return nil
	})
}

// void removes a challenge whose message was not sent, and the record of its
// answer, so that the same request may be tried again.
func (s *Service) void(ctx context.Context, env Environment, c Issued, once *Once[Issued]) error {
	bucket := c.ID.Bucket()
	events, err := s.journal(env.ID, s.now(), bucket)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, Read{Bucket: bucket}, func(tx *Tx) error {
		tx.put(DeleteChallenge{c.ID})
		if once != nil {
			tx.put(DeleteReplay{bucket, once.Key})
		}
		events.append(tx, Event{Type: ChallengeVoided, Factor: c.Factor, Challenge: c.ID, Reason: reasonDelivery})
		return nil
	})
}
