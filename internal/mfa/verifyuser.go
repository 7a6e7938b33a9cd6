package mfa

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// maxTried is the largest number of factors whose secrets one code is compared with. A code
// of six digits is right for one of three steps of each, so more factors are more chances.
const maxTried = 10

// An unprompted is a kind whose codes need no challenge: the user always has one. Its check
// uses no field of a challenge.
type unprompted interface {
	unprompted() bool
}

func (totpKind) unprompted() bool { return true }

// isUnprompted reports whether the codes of f need no challenge.
func (f *Factor) isUnprompted() bool {
	k, _ := findKind(f.Type)
	u, ok := k.(unprompted)
	return ok && u.unprompted()
}

// A UserVerification is the answer to one code that was not for a certain factor.
type UserVerification struct {
	Valid    bool
	Factor   FactorID   // whose code it was; zero for a wrong code and for a bypass code
	Type     FactorType // of Factor
	Bypass   bool       // the code was a bypass code
	Recovery *RecoveryUse

	Receipt secret.String // if one was asked for and the code is valid

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero

	draft *draft // of the receipt, until it is signed
}

func (UserVerification) created() [16]byte { return [16]byte{} }

func (UserVerification) undecided() bool { return false }

func (UserVerification) marked() bool { return false }

func (UserVerification) replayed(a *idempotency.Answer) UserVerification {
	return UserVerification{Replayed: a}
}

// VerifyUser tries a code against the factors of a user whose codes need no challenge: at most
// maxTried totp factors, first the verified ones from the oldest on, then the others from the newest on, and for a code with the form of a recovery code the
// recovery codes. It is one guess: a wrong code counts once in the user, and once in each factor
// whose secret it was compared with, so no factor allows more guesses than with challenges.
// A right code counts only for its factor and the user. Locked and suspended factors
// are left out. The bypass code of the user is right too, also while the user is locked.
// Errors: ErrNotFound for a user without such factors; ErrTooManyAttempts if the user or all of
// them are locked; ErrSuspended if all are suspended.
func (s *Service) VerifyUser(ctx context.Context, by Caller, user string, p VerifyParams, req *idempotency.Request[UserVerification]) (UserVerification, error) {
	key, client, err := checkUser(by, user, p.Client)
	if err != nil {
		return UserVerification{}, err
	}
	if wrong := receiptFaults(p.Receipt); wrong != nil {
		return UserVerification{}, &InvalidError{Fields: wrong}
	}
	code := typedCode(p.Code)
	once := showing(begin(s, idempotency.Policy{Derived: false}, req), code)
	now := s.now()
	g := guessOfUser{env: by.Environment, key: key, code: code, sent: p.Code, now: now, events: journal{by: by, at: now, bucket: key.Bucket()}}
	if p.Receipt != nil {
		if g.receipt, err = s.draftUser(by.Environment, key, p.Receipt, now); err != nil {
			return UserVerification{}, err // before the code is used
		}
	}
	r, err := s.readsOfUser(ctx, by, &g)
	if err != nil {
		return UserVerification{}, err
	}
	defer g.recovery.done()
	v, err := decide(ctx, s, r, once, now, func(tx *Tx) (UserVerification, error) {
		v, err := s.tryUser(tx, client, g)
		if err == nil && once != nil { // the answer is recorded in the transaction; see signRecorded
			v.Receipt, err = s.signDraft(v.draft)
			v.draft = nil
		}
		return v, err
	})
	if err == nil && v.draft != nil {
		v.Receipt, err = s.signDraft(v.draft)
	}
	return v, err
}

// draftUser returns the receipt r of a right code of a user. Its factor is not known yet.
func (s *Service) draftUser(env Environment, user UserKey, r *receipt.Request, now time.Time) (*draft, error) {
	issuer, err := s.issuer(env)
	if err != nil {
		return nil, err
	}
	id, err := s.ids.Next(now, user.Bucket())
	if err != nil {
		return nil, err
	}
	text := ChallengeID(id).String() // there is no challenge: only the part after the prefix is used
	text = receiptPrefix + text[strings.LastIndexByte(text, '_')+1:]
	return &draft{r, receipt.Claims{Issuer: issuer, Subject: user.ID, ID: text, At: now}}, nil
}

// receiptPrefix begins the ids of receipts of verifications that have no challenge.
const receiptPrefix = "verification_"

// proves returns the receipt that g asks for, for a proof of the given methods; nil if it does not ask for one. f is nil for a
// bypass code. recovery says whether the code was for a person who cannot use a factor.
func (g *guessOfUser) proves(f *Factor, how methods, recovery bool) *draft {
	if g.receipt == nil {
		return nil
	}
	d := *g.receipt // the transaction may run again
	d.claims.FactorType, d.claims.Recovery = bypassType, recovery
	if f != nil {
		d.claims.FactorID, d.claims.FactorType = f.ID.String(), string(f.Type)
	}
	d.claims.Methods, d.claims.Class, d.claims.Verified = how.amr, how.class, how.verified
	return &d
}

// A guessOfUser is one code for all factors of a user.
type guessOfUser struct {
	env      Environment
	key      UserKey
	code     string // as typedCode returns it
	sent     string // as the caller sent it
	now      time.Time
	events   journal
	recovery *recoveryGuess // of a code with the form of a recovery code
	receipt  *draft         // that a right code returns, without its factor; or nil
}

// readsOfUser returns the rows that the verification of a code reads, and completes g.
func (s *Service) readsOfUser(ctx context.Context, by Caller, g *guessOfUser) (Read, error) {
	r := Read{Bucket: g.key.Bucket(), User: g.key}
	if isBypassForm(g.code) {
		r.Bypass = g.key.BypassKey()
	}
	owned, err := s.store.Factors(ctx, FactorQuery{User: g.key, Without: RecoveryCodes, Ascending: true, Limit: maxPage})
	if err != nil {
		return r, err
	}
	// Later enrollments, also of an attacker in a session of the application, must not displace the
	// factors in use. Of the unverified ones, the newest is most likely to be entered now.
	var verified, unverified []FactorID
	for i := range owned {
		switch f := &owned[i]; {
		case !f.isUnprompted():
		case f.IsVerified():
			verified = append(verified, f.ID)
		default:
			unverified = append(unverified, f.ID)
		}
	}
	slices.Reverse(unverified)
	all := slices.Concat(verified, unverified)
	r.Others = all[:min(len(all), maxTried)]
	if len(r.Others) == 0 && len(owned) > 0 && r.Bypass != (BypassKey{}) {
		r.Others = []FactorID{owned[0].ID} // a bypass code needs only some factor of the user
		return r, nil
	}
	code, ok := recoveryCode(g.code)
	if !ok && len(r.Others) > 0 {
		return r, nil
	}
	var end func()
	if ok {
		if end, err = s.slow.turn(ctx, g.key); err != nil {
			return r, err
		}
		defer func() {
			if g.recovery == nil {
				end()
			}
		}()
	}
	rows, err := s.store.View(ctx, Read{Bucket: r.Bucket, User: g.key, Recovery: g.key})
	if err != nil {
		return r, err
	}
	set := rows.Recovery
	switch {
	case set == nil && r.Others == nil:
		return r, &NotFoundError{EntityUser, g.key.ID}
	case set == nil:
		return r, nil
	case !ok: // only recovery codes, and the code does not have their form
		r.Others = append(r.Others, set.ID)
		return r, nil
	}
	refused := rows.User.refuse(s.opts.Limits) != nil || set.refuseSuspended() != nil || set.refuse(s.opts.Limits, g.now) != nil
	r.Others = []FactorID{set.ID}
	g.recovery, err = s.guess(ctx, by.Environment, set, code, refused, end)
	return r, err
}

// tryUser checks a code against the factors of tx, and counts it.
func (s *Service) tryUser(tx *Tx, client Client, g guessOfUser) (v UserVerification, err error) {
	all := g.owned(tx)
	if len(all) == 0 { // deleted since
		return v, &NotFoundError{EntityUser, g.key.ID}
	}
	if g.events.context, err = s.sealClient(client, all[0]); err != nil {
		return v, err
	}
	if tx.Bypass.IsOpen(g.now) {
		return s.tryUserBypass(tx, g, all)
	}
	if !all[0].isUnprompted() { // it was read only for its owner's bypass code
		return v, &NotFoundError{EntityUser, g.key.ID}
	}
	if err := tx.User.refuse(s.opts.Limits); err != nil {
		return v, err
	}
	tried, err := s.usable(all, g.now)
	if err != nil {
		return v, err
	}
	wrong := reasonWrongCode
	for _, f := range tried {
		before := f.FactorState
		r, use, err := s.checkUnprompted(f, g)
		if err != nil {
			return v, err
		}
		if r.wrong == "" {
			return s.userSucceeded(tx, g, f, &before, r, use)
		}
		if r.wrong == reasonSpentCode {
			wrong = r.wrong
		}
	}
	about := Event{Factor: tried[0].ID, Kind: tried[0].Type}
	about.Type, about.Reason = ChallengeFailed, wrong
	g.events.append(tx, about)
	for _, f := range tried {
		if f.record(false, s.opts.Limits, g.now) {
			g.events.append(tx, Event{Type: FactorLocked, Factor: f.ID, Kind: f.Type})
		}
		tx.put(f.Update())
	}
	s.recordOwner(tx, g.events, g.key, about, false)
	return v, nil
}

// owned returns the factors of tx that are stored, in the order of readsOfUser.
func (g *guessOfUser) owned(tx *Tx) (all []*Factor) {
	for _, f := range tx.Others {
		if f != nil && f.UserKey() == g.key {
			all = append(all, f)
		}
	}
	return all
}

// usable returns the factors that may be tried now. If no factor may be tried, the error says why: a lock,
// with the time until the first lock ends, or else a suspension.
func (s *Service) usable(all []*Factor, now time.Time) (usable []*Factor, err error) {
	err = ErrSuspended
	for _, f := range all {
		if f.IsSuspended() {
			continue
		}
		refusal := f.refuse(s.opts.Limits, now)
		if refusal == nil {
			usable = append(usable, f)
			continue
		}
		first, found := errors.AsType[*LimitError](err)
		limit, _ := errors.AsType[*LimitError](refusal)
		if !found || first.After == 0 || limit.After != 0 && limit.After < first.After {
			err = refusal
		}
	}
	if usable != nil {
		return usable, nil
	}
	return nil, err
}

// checkUnprompted checks the code of g against one factor. use is set for a right recovery code.
func (s *Service) checkUnprompted(f *Factor, g guessOfUser) (r result, use *RecoveryUse, err error) {
	if g.recovery != nil {
		use, r.wrong, err = g.recovery.check(s.keys.Load(), f)
		return r, use, err
	}
	kind, err := f.kind()
	if err != nil {
		return r, nil, err
	}
	r, err = kind.check(s, attempt{env: g.env, factor: f, code: g.code, sent: g.sent, now: g.now})
	return r, nil, err
}

// userSucceeded counts a right code of f. before is the stored state of f.
func (s *Service) userSucceeded(tx *Tx, g guessOfUser, f *Factor, before *FactorState, r result, use *RecoveryUse) (v UserVerification, err error) {
	kind, err := f.kind()
	if err != nil {
		return v, err
	}
	about := Event{Type: ChallengeSucceeded, Factor: f.ID, Kind: f.Type, ClockOffset: r.clockOffset}
	g.events.append(tx, about)
	if use != nil {
		s.countRecovery(tx, g.events, f, ChallengeID{}, use, g.now)
	} else {
		f.record(true, s.opts.Limits, g.now)
		f.use(g.now)
		if f.changed(before) {
			tx.put(f.Update())
		}
	}
	s.recordOwner(tx, g.events, g.key, about, true)
	return UserVerification{
		Valid: true, Factor: f.ID, Type: f.Type, Recovery: use,
		draft: g.proves(f, kind.methods(f, &r), use != nil),
	}, nil
}

// tryUserBypass checks a code against the bypass code of tx. It does not count a wrong one in the
// factors: their secrets were not compared with it.
func (s *Service) tryUserBypass(tx *Tx, g guessOfUser, all []*Factor) (v UserVerification, err error) {
	i := slices.IndexFunc(all, func(f *Factor) bool { return !f.IsSuspended() })
	if i < 0 {
		return v, ErrSuspended
	}
	b, about := tx.Bypass, Event{Factor: all[i].ID, Kind: all[i].Type}
	if !b.matches(s.keys.Load(), g.code) {
		about.Type, about.Reason = ChallengeFailed, reasonWrongCode
		g.events.append(tx, about)
		s.recordOwner(tx, g.events, g.key, about, false)
		s.countBypassGuess(tx, g.events, about)
		return v, nil
	}
	tx.put(DeleteBypass{b.Bucket, b.Key})
	about.Type, about.Reason = ChallengeSucceeded, reasonBypass
	g.events.append(tx, about)
	about.Type, about.Reason = BypassUsed, b.Reason
	g.events.append(tx, about)
	return UserVerification{Valid: true, Bypass: true, draft: g.proves(nil, bypassMethods, true)}, nil
}
