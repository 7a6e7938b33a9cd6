package mfa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Verification is the answer to one submitted code.
type Verification struct {
	Challenge IssuedChallenge
	Valid     bool
	Bypass    bool         // the code was a bypass code
	Recovery  *RecoveryUse // the code was a recovery code; otherwise nil
	Extras

	// Why a code is not valid, if a guesser may know: TellSpentCode, or TellClockSkew with
	// the time by which the app's clock is ahead of the time that is expected of it, negative
	// if it is behind. "" for other codes.
	Reason string
	Skew   time.Duration

	Receipt secret.String // if one was asked for and the code is valid

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero

	draft *draft // of the receipt, until it is signed
}

func (Verification) created() [16]byte { return [16]byte{} }

func (Verification) undecided() bool { return false }

func (v Verification) marked() bool {
	return v.Replayed != nil || v.Valid && v.Challenge.VerifiedBy != idempotency.Mark{}
}

func (Verification) replayed(a *idempotency.Answer) Verification { return Verification{Replayed: a} }

// VerifyParams are one submitted code.
type VerifyParams struct {
	Code   string
	Client Client // where it was entered

	// Receipt asks for a receipt. Nil asks for that of the challenge, if it has one.
	Receipt *receipt.Request
}

// Verify tries a code against a challenge. A wrong code is an outcome, not an
// error. Errors: ErrNotFound, also for a challenge whose factor was deleted;
// ErrAlreadyVerified; ErrExpired; ErrSuspended; ErrTooManyAttempts while the challenge, its
// factor or its user may not be tried. Every code that is checked is counted
// before it is answered. Of the codes that are not checked, the first leaves an event, and
// later ones leave one by chance. The bypass code of the factor's owner is right too, and is
// checked even while the factor or the user is locked.
func (s *Service) Verify(ctx context.Context, by Caller, id ChallengeID, p VerifyParams, req *idempotency.Request[Verification]) (Verification, error) {
	client, wrong := p.Client.check()
	if wrong = append(wrong, receiptFaults(p.Receipt)...); wrong != nil {
		return Verification{}, &InvalidError{Fields: wrong}
	}
	// With a derived key, everyone who enters the same code would get the recorded answer,
	// and a spent code would be accepted. The challenge itself prevents that.
	code := typedCode(p.Code)
	once := showing(begin(s, idempotency.Policy{Derived: false}, req), code)
	now := s.now()
	if answer, err := claim(ctx, s, once, now); answer != nil || err != nil {
		return Verification{Replayed: answer}, err
	}
	events := journal{by: by, at: now, bucket: id.Bucket()}
	chance, err := s.ids.Random()
	if err != nil {
		return Verification{}, err
	}
	r, guess, err := s.readsOf(ctx, by, id, code)
	if err != nil {
		return Verification{}, err
	}
	defer guess.done()
	var to *recipient // of an sms factor whose messages are counted, before this code
	check := func(tx *Tx) (Verification, error) {
		c, f := tx.Challenge, tx.Factor
		if c == nil || f == nil || f.Environment != by.ID {
			return Verification{}, &NotFoundError{EntityChallenge, id.String()}
		}
		wrote, err := once.Wrote(c.VerifiedBy, c.VerifiedAt, [16]byte{}, now)
		if err != nil {
			return Verification{}, err
		}
		if wrote {
			return Verification{Replayed: once.Again(verified(c, code), [16]byte{})}, nil
		}
		if events.context, err = s.sealClient(client, f); err != nil {
			return Verification{}, err
		}
		bypass := tx.Bypass.IsOpen(now)
		set := guess.of(tx)
		if err := s.refuse(c, f, set, tx.User, bypass, now); err != nil {
			if c.leavesEvent(chance) {
				tx.put(c.Update())
				events.append(tx, Event{Type: ChallengeRefused, Factor: f.ID, Challenge: id, Kind: f.Type, Reason: refusalReason(err)})
			}
			return Verification{}, err
		}
		wants, err := s.receiptOf(c, p.Receipt)
		if err != nil {
			return Verification{}, err
		}
		mark := once.Mark()
		if wants != nil {
			if _, err := s.issuer(by.Environment); err != nil {
				return Verification{}, err // before the code is used
			}
			mark = idempotency.Mark{} // the row does not have the receipt: the answer is recorded
		}
		if bypass {
			v, err := s.tryBypass(tx, events, code, now)
			if err == nil && v.Valid && wants != nil {
				if v.draft, err = s.draftBypass(tx, by.Environment, wants, now); err == nil {
					err = s.signRecorded(&v, once)
				}
			}
			return v, err
		}
		if set != nil {
			v, err := s.tryRecovery(tx, events, guess, set, now)
			if err == nil && v.Valid && wants != nil {
				if v.draft, err = s.draftRecovery(tx, by.Environment, set, wants, now); err == nil {
					err = s.signRecorded(&v, once)
				}
			}
			return v, err
		}
		if by.Production {
			if to, err = s.recipient(f, now); err != nil {
				return Verification{}, err
			}
		}
		v, err := s.try(tx, events, attempt{by.Environment, c, f, code, p.Code, tx.AllOwned, now, wants}, mark)
		if err == nil {
			err = s.signRecorded(&v, once)
		}
		return v, err
	}
	v, err := decide(ctx, s, r, once, now, check)
	if needs, ok := errors.AsType[*needsOwned](err); ok {
		r.Owned = Owned{User: needs.user, All: true}
		v, err = decide(ctx, s, r, once, now, check)
	}
	if err == nil {
		err = s.sign(&v)
	}
	if err == nil && v.Valid && to != nil { // nil for a bypass code
		s.countVerified(ctx, by.Environment, *to, &v.Challenge.Challenge)
	}
	return v, err
}

// refuse returns why no code can succeed now. If there are several reasons, it returns the
// most important one for the caller. A bypass code can succeed in spite of locks, and a
// recovery code in spite of the lock of the factor; set is nil for another code.
func (s *Service) refuse(c *Challenge, f, set *Factor, u *User, bypass bool, now time.Time) error {
	if set != nil {
		return s.refuseRecovery(c, f, set, u, now)
	}
	if err := c.refuse(s.opts.Limits.Attempts, now); err != nil {
		return err
	}
	if err := f.refuseSuspended(); err != nil || bypass {
		return err
	}
	// The user's lock comes first: waiting does not end it, as it may end a factor's lock.
	if err := u.refuse(s.opts.Limits); err != nil {
		return err
	}
	return f.refuse(s.opts.Limits, now)
}

// verified returns the answer to the right code of c, which is not an sms challenge.
func verified(c *Challenge, code string) Verification {
	v := Verification{Valid: true, Challenge: IssuedChallenge{Challenge: *c}}
	if c.CodeMAC != nil { // the reply shows the code
		v.Challenge.Code = secret.NewString(code)
	}
	return v
}

// try checks a code and counts it. by is the mark of the request.
func (s *Service) try(tx *Tx, events journal, a attempt, by idempotency.Mark) (v Verification, err error) {
	before := a.factor.FactorState
	kind, err := a.factor.kind()
	if err != nil {
		return v, err
	}
	checked, err := kind.check(s, a)
	if err != nil {
		return v, err
	}
	// Receipts change the answer of an sms challenge.
	if _, sends := kind.(messenger); checked.wrong == "" && !sends && !checked.replyOnly {
		a.challenge.VerifiedBy = by
	}
	v, err = s.count(tx, events, &before, checked, a.now)
	if err == nil && v.Valid && a.wants != nil {
		v.draft, err = s.draft(tx, a.env, a.wants, kind.methods(a.factor, &checked), a.now)
	}
	return v, err
}

// count counts a code that was checked. before is the stored state of the factor.
func (s *Service) count(tx *Tx, events journal, before *FactorState, checked result, now time.Time) (v Verification, err error) {
	c, f := tx.Challenge, tx.Factor
	c.Type = f.Type
	v.Valid = checked.wrong == ""
	v.Reason, v.Skew = checked.told, checked.skew
	v.Challenge.Code, v.Extras = checked.code, checked.Extras
	if c.SealedCode != nil && checked.code.Reveal() == "" && !checked.replyOnly {
		v.Challenge.Challenge = *c
		if err := s.show(&v.Challenge); err != nil {
			return v, err
		}
	}
	if err := c.Attempt(v.Valid, s.opts.Limits.Attempts, now); err != nil {
		return v, err
	}
	v.Challenge.Challenge = *c
	tx.put(c.Update())
	happened := Event{Type: ChallengeFailed, Factor: f.ID, Challenge: c.ID, Kind: f.Type, Reason: checked.wrong, ClockOffset: checked.clockOffset}
	if v.Valid {
		happened.Type = ChallengeSucceeded
		if m, ok := c.Messages.Latest(now); ok {
			happened.Message = m.Trace()
		}
	}
	events.append(tx, happened)
	for _, e := range checked.events {
		e.Factor, e.Challenge, e.Kind = f.ID, c.ID, f.Type
		events.append(tx, e)
	}
	if f.record(v.Valid, s.opts.Limits, now) {
		events.append(tx, Event{Type: FactorLocked, Factor: f.ID, Challenge: c.ID, Kind: f.Type})
	}
	if v.Valid {
		f.use(now)
	}
	if f.changed(before) {
		tx.put(f.Update())
	}
	s.recordUser(tx, events, v.Valid)
	return v, nil
}

// recordUser counts a code in the user of the factor.
func (s *Service) recordUser(tx *Tx, events journal, right bool) {
	f := tx.Factor
	s.recordOwner(tx, events, f.UserKey(), Event{Factor: f.ID, Challenge: tx.Challenge.ID, Kind: f.Type}, right)
}

// recordOwner counts a code in a user; the zero key means no user. about has the subject of an event.
func (s *Service) recordOwner(tx *Tx, events journal, key UserKey, about Event, right bool) {
	u := tx.User
	switch {
	case key == UserKey{}:
	case right && u != nil:
		tx.put(DeleteUser{key})
	case !right:
		if u == nil {
			u = &User{UserKey: key}
		}
		if u.Failures++; u.Failures >= s.opts.Limits.UserFailures {
			about.Type, about.Reason = UserLocked, ""
			events.append(tx, about)
		}
		tx.put(PutUser{u})
	}
}

// show sets what replies show of a challenge that keeps a sealed value.
func (s *Service) show(c *IssuedChallenge) error {
	if c.SealedCode == nil {
		return nil
	}
	plain, err := s.keys.Load().Open(c.SealedCode, c.associated())
	if err != nil {
		return fmt.Errorf("open the code of %s: %w", c.ID, err)
	}
	k, _ := findKind(c.Type)
	if k, ok := k.(shower); ok {
		return k.show(c, plain)
	}
	c.Code = secret.NewString(string(plain))
	return nil
}

func refusalReason(err error) string {
	switch {
	case errors.Is(err, ErrAlreadyVerified):
		return reasonVerified
	case errors.Is(err, ErrExpired):
		return reasonExpired
	case errors.Is(err, ErrSuspended):
		return reasonSuspended
	}
	return reasonTooManyAttempts
}
