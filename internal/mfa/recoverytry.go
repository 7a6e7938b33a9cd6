package mfa

import (
	"context"
	"strconv"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A RecoveryUse describes the use of a recovery code.
type RecoveryUse struct {
	Remaining   int           // codes that are left
	Replacement secret.String // a new code in place of the used one; empty unless the environment replaces codes
}

// A recoveryGuess is a code with the form of a recovery code, hashed for the set that was
// stored before the transaction. The transaction compares it with the set that is stored then.
type recoveryGuess struct {
	set    FactorID
	hashed recoverySet // the salt and the iterations of slow
	slow   []byte      // nil if no code can be right now: the transaction refuses it

	replacement     secret.String // for a right code, if the environment replaces codes
	replacementSlow []byte

	end func() // ends the turn of the user; see done
}

// done ends the turn of the user, after the guess was counted. g may be nil.
func (g *recoveryGuess) done() {
	if g != nil {
		g.end()
	}
}

// showing returns o with a shorter time in which the answer is given again if typed has the form
// of a recovery code: the answer may show another code.
func showing[T any](o *idempotency.Operation[T], typed string) *idempotency.Operation[T] {
	if o == nil || len(typed) != recoveryLength {
		return o
	}
	return o.Show(showSecret)
}

// readsOf returns the rows that a verification with a typed code reads. For a code with the form
// of a bypass code, they have the bypass code of the owner. For one with the form of a
// recovery code, they have the recovery codes of the owner, and readsOf returns the guess;
// otherwise the guess is nil. The caller must call its done.
func (s *Service) readsOf(ctx context.Context, by Caller, id ChallengeID, typed string) (r Read, g *recoveryGuess, err error) {
	r = Read{Bucket: id.Bucket(), Challenge: id}
	if isBypassForm(typed) {
		r.Bypass, err = s.bypassKey(ctx, id)
		return r, nil, err
	}
	if code, ok := recoveryCode(typed); ok {
		g, err = s.guessRecovery(ctx, by, id, code)
	}
	if g != nil {
		r.Others = []FactorID{g.set}
	}
	return r, g, err
}

// guessRecovery hashes a code for the recovery codes of the owner of a challenge. It returns
// nil if the challenge does not accept recovery codes, or if its owner does not have any.
func (s *Service) guessRecovery(ctx context.Context, by Caller, id ChallengeID, code string) (g *recoveryGuess, err error) {
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return nil, err
	}
	c, f := rows.Challenge, rows.Factor
	if f == nil || f.Environment != by.ID || !c.acceptsRecovery(f, by.Environment) {
		return nil, nil
	}
	end, err := s.slow.turn(ctx, f.UserKey())
	if err != nil {
		return nil, err
	}
	defer func() {
		if g == nil {
			end()
		}
	}()
	if rows, err = s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id}); err != nil || rows.Factor == nil {
		return nil, err
	}
	c, f = rows.Challenge, rows.Factor
	set := f
	if f.Type != RecoveryCodes {
		owned, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Recovery: f.UserKey()})
		if err != nil || owned.Recovery == nil {
			return nil, err
		}
		set = owned.Recovery
	}
	return s.guess(ctx, by.Environment, set, code, s.refuseRecovery(c, f, set, rows.User, s.now()) != nil, end)
}

// acceptsRecovery reports whether a recovery code of its owner can verify c, a challenge of f.
func (c *Challenge) acceptsRecovery(f *Factor, env Environment) bool {
	return f.Type == RecoveryCodes || f.User != "" && (c.AcceptsRecovery || env.Settings.Values().AcceptRecovery)
}

// canRecover reports whether a recovery code of the user of tx can verify c, a new challenge of
// the factor of tx.
func (s *Service) canRecover(c *Challenge, tx *Tx, env Environment, now time.Time) bool {
	f, set := tx.Factor, tx.Recovery
	return set != nil && set.RecoveryLeft() > 0 && c.acceptsRecovery(f, env) && s.refuseRecovery(c, f, set, tx.User, now) == nil
}

// refuseRecovery returns why no recovery code can verify a challenge now. A lock of the
// challenged factor does not matter: the codes are another secret with another lock, and
// a person whose other factor is locked needs them.
func (s *Service) refuseRecovery(c *Challenge, f, set *Factor, u *User, now time.Time) error {
	if err := c.refuse(s.opts.Limits.Attempts, now); err != nil {
		return err
	}
	if err := f.refuseSuspended(); err != nil {
		return err
	}
	if err := set.refuseSuspended(); err != nil {
		return err
	}
	if err := u.refuse(s.opts.Limits); err != nil {
		return err
	}
	return set.refuse(s.opts.Limits, now)
}

// guess hashes a code for a set, unless it is refused anyway. For a right code it also prepares
// a replacement, if the environment wants one. end ends the turn of the user; the caller calls it after an
// error.
func (s *Service) guess(ctx context.Context, env Environment, set *Factor, code string, refused bool, end func()) (*recoveryGuess, error) {
	g := &recoveryGuess{set: set.ID, end: end}
	if refused {
		return g, nil
	}
	keys := s.keys.Load()
	codes, err := set.openRecovery(keys)
	if err != nil {
		return nil, err
	}
	g.hashed = recoverySet{iterations: codes.iterations, salt: codes.salt}
	if g.slow, err = s.slow.run(ctx, code, codes); err != nil {
		return nil, err
	}
	if !replacesRecovery(env) || codes.find(set.recoveryDigest(keys, g.slow)) < 0 {
		return g, nil
	}
	if g.replacement, err = s.drawRecoveryCode(); err != nil {
		return nil, err
	}
	if g.replacementSlow, err = s.slow.run(ctx, g.replacement.Reveal(), codes); err != nil {
		return nil, err
	}
	return g, nil
}

// replacesRecovery reports whether each used recovery code is replaced by a new one (NIST SP
// 800-63B, 4.2.1.1).
func replacesRecovery(env Environment) bool {
	return env.Settings.Values().RecoveryProfile == RecoveryReplace
}

// of returns the recovery codes for the guess that tx has read: nil without a guess, and if the
// codes were deleted since.
func (g *recoveryGuess) of(tx *Tx) *Factor {
	if g == nil || tx.Others[0] == nil {
		return nil
	}
	if tx.Others[0].ID == tx.Factor.ID {
		return tx.Factor
	}
	return tx.Others[0]
}

// check compares the guess with a set, as the transaction has read it, and spends a right
// code. use is nil for a wrong one.
func (g *recoveryGuess) check(keys *secret.Keyset, set *Factor) (use *RecoveryUse, wrong string, err error) {
	codes, err := set.openRecovery(keys)
	if err != nil {
		return nil, "", err
	}
	if g.slow == nil || !g.hashed.sameHash(codes) { // the set was replaced since the code was hashed
		return nil, reasonWrongCode, nil
	}
	i := codes.find(set.recoveryDigest(keys, g.slow))
	if i < 0 {
		return nil, reasonWrongCode, nil
	}
	if set.LastStep&(1<<i) != 0 {
		return nil, reasonSpentCode, nil
	}
	if g.replacementSlow == nil {
		set.LastStep |= 1 << i
		return &RecoveryUse{Remaining: set.RecoveryLeft()}, "", nil
	}
	codes.digests[i] = set.recoveryDigest(keys, g.replacementSlow)
	if err := set.seal(keys, codes.encode()); err != nil {
		return nil, "", err
	}
	return &RecoveryUse{set.RecoveryLeft(), g.replacement}, "", nil
}

// tryRecovery checks a guess against the recovery codes of the user of tx's factor, and counts it in the challenge, in the codes and in the user. Another factor
// stays as it is: a recovery code proves nothing about it.
func (s *Service) tryRecovery(tx *Tx, events journal, g *recoveryGuess, set *Factor, now time.Time) (v Verification, err error) {
	c, f := tx.Challenge, tx.Factor
	use, wrong, err := g.check(s.keys.Load(), set)
	if err != nil {
		return v, err
	}
	c.Type = f.Type
	v.Challenge.Challenge = *c
	if err := s.show(&v.Challenge); err != nil {
		return v, err
	}
	v.Valid, v.Recovery = use != nil, use
	if err := c.Attempt(v.Valid, s.opts.Limits.Attempts, now); err != nil {
		return v, err
	}
	v.Challenge.Challenge = *c
	tx.put(c.Update())
	happened := Event{Type: ChallengeFailed, Factor: f.ID, Challenge: c.ID, Kind: f.Type, Reason: wrong}
	if v.Valid {
		happened.Type, happened.Reason = ChallengeSucceeded, reasonRecovery
	}
	events.append(tx, happened)
	s.countRecovery(tx, events, set, c.ID, use, now)
	s.recordUser(tx, events, v.Valid)
	return v, nil
}

// draftRecovery returns the receipt r of a verification of tx by a code of a set.
func (s *Service) draftRecovery(tx *Tx, env Environment, set *Factor, r *receipt.Request, now time.Time) (*draft, error) {
	d, err := s.draft(tx, env, r, recoveryKind{}.methods(set, nil), now)
	if err == nil {
		d.claims.FactorID, d.claims.FactorType, d.claims.Recovery = set.ID.String(), string(set.Type), true
	}
	return d, err
}

// countRecovery counts a guess in a set of recovery codes, and stores the set. use is nil for a
// wrong one; c is zero without a challenge.
func (s *Service) countRecovery(tx *Tx, events journal, set *Factor, c ChallengeID, use *RecoveryUse, now time.Time) {
	about := Event{Factor: set.ID, Challenge: c, Kind: set.Type}
	if use != nil {
		set.use(now)
		about.Reason = strconv.Itoa(use.Remaining)
		about.Type = RecoveryUsed
		events.append(tx, about)
		if use.Remaining <= recoveryLow {
			about.Type = RecoveryLow
			events.append(tx, about)
		}
	}
	if set.record(use != nil, s.opts.Limits, now) {
		about.Type, about.Reason = FactorLocked, ""
		events.append(tx, about)
	}
	tx.put(set.Update())
}
