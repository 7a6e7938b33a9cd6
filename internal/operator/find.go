package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// The largest numbers of rows in the view of a user. Its challenges were created in the
// newest maxSearched events.
const (
	maxFactors    = 100
	maxChallenges = 20
	maxSearched   = 250
)

// A reader reads rows for one view.
type reader struct {
	*Service
	keys   *secret.Keyset // nil if it cannot be opened
	sealed error          // why
	limits mfa.Limits
	now    time.Time
}

// reader returns a reader of this moment, with the keyset if it can be opened.
func (s *Service) reader(ctx context.Context) *reader {
	r := &reader{Service: s, now: s.now()}
	r.keys, r.sealed = s.opts.Keys(ctx)
	r.limits, _ = s.opts.Limits.WithDefaults() // the server refuses wrong limits
	return r
}

// User returns a user with factors, and the newest challenges and events. A user without
// factors is found with the keyset, as long as wrong codes or events of the user are kept. An
// operator.viewed event records the view; see viewAgain.
// Errors: mfa.NotFoundError for an unknown user; also ErrKeyset if the user has no factors and
// the keyset could not be opened.
func (s *Service) User(ctx context.Context, by By, env mfa.Environment, user string) (User, error) {
	if err := by.Check(); err != nil {
		return User{}, err
	}
	if user == "" { // factors without a user have no common owner
		return User{}, &mfa.NotFoundError{Entity: mfa.EntityUser}
	}
	r := s.reader(ctx)
	key := mfa.UserKey{Environment: env.ID, ID: user}
	u := User{Environment: env, ID: user, MaxFailures: r.limits.UserFailures, Sealed: r.sealed}
	factors, err := s.store.Factors(ctx, mfa.FactorQuery{User: key, Limit: maxFactors + 1})
	if err != nil {
		return User{}, err
	}
	if u.MoreFactors = len(factors) > maxFactors; u.MoreFactors {
		factors = factors[:maxFactors]
	}
	if u.Failures, err = r.userFailures(ctx, key, len(factors) > 0); err != nil {
		return User{}, err
	}
	u.Locked = u.Failures >= u.MaxFailures
	found, more, err := r.userEvents(ctx, events.Query{Environment: env.ID, User: user, Limit: maxSearched})
	if err != nil {
		return User{}, err
	}
	for i := range factors {
		f := r.factor(env, &factors[i])
		f.Suspension = suspensionIn(found, &f)
		f.Explanation = r.explainFactor(&f)
		u.Factors = append(u.Factors, f)
	}
	if u.Bypass, err = r.openBypass(ctx, mfa.Read{Bucket: key.Bucket(), Bypass: key.BypassKey()}); err != nil {
		return User{}, err
	}
	u.Timeline = timeline(found)
	if n := len(found) - maxEvents; n > 0 {
		u.Timeline, more = u.Timeline[n:], true
	}
	u.MoreEvents = more
	switch known := len(factors) > 0 || u.Failures > 0 || len(found) > 0; {
	case !known && r.sealed != nil:
		return User{}, fmt.Errorf("%w: %w: %w", &mfa.NotFoundError{Entity: mfa.EntityUser, ID: user}, ErrKeyset, r.sealed)
	case !known:
		return User{}, &mfa.NotFoundError{Entity: mfa.EntityUser, ID: user}
	}
	if u.Challenges, err = r.challengesOf(ctx, env, user, found); err != nil {
		return User{}, err
	}
	u.Explanation = r.explainUser(&u)
	return u, r.recordUser(ctx, by, key, factors)
}

// userFailures returns the consecutive wrong codes of a user. Without factors, only the keyset
// finds them.
func (r *reader) userFailures(ctx context.Context, user mfa.UserKey, hasFactors bool) (int, error) {
	name := user
	if !hasFactors && r.keys != nil {
		name = mfa.FormerUser(r.keys, user)
	}
	rows, err := r.store.View(ctx, mfa.Read{Bucket: user.Bucket(), User: name})
	if err != nil || rows.User == nil {
		return 0, err
	}
	return rows.User.Failures, nil
}

// challengesOf returns the challenges that were created in events of a user, newest first. The
// events are in their order.
func (r *reader) challengesOf(ctx context.Context, env mfa.Environment, user string, all []events.Event) (found []Challenge, err error) {
	of := make(map[mfa.ChallengeID][]events.Event)
	for i := range all {
		of[all[i].Challenge] = append(of[all[i].Challenge], all[i])
	}
	for i := len(all) - 1; i >= 0 && len(found) < maxChallenges; i-- {
		id := all[i].Challenge
		if all[i].Type != mfa.ChallengeCreated {
			continue
		}
		rows, err := r.store.View(ctx, mfa.Read{Bucket: id.Bucket(), Challenge: id})
		if err != nil {
			return nil, err
		}
		c, err := r.tell(ctx, env, id, rows, of[id], len(found) == 0)
		if err != nil {
			return nil, err
		}
		c.User, c.Timeline = user, nil
		found = append(found, c)
	}
	return found, nil
}

// Factor returns a factor of any environment with its newest events. A deleted factor is told
// from its events, as long as they are kept. An operator.viewed event records the view. Error:
// mfa.NotFoundError for an unknown factor.
func (s *Service) Factor(ctx context.Context, by By, id mfa.FactorID) (Factor, error) {
	if err := by.Check(); err != nil {
		return Factor{}, err
	}
	r := s.reader(ctx)
	rows, err := s.store.View(ctx, mfa.Read{Bucket: id.Bucket(), Factor: id})
	if err != nil {
		return Factor{}, err
	}
	of := mfa.EnvironmentID(0)
	if rows.Factor != nil {
		of = rows.Factor.Environment
	}
	found, more, err := r.events().NewestOfFactor(ctx, of, id, maxEvents)
	if err != nil {
		return Factor{}, err
	}
	var f Factor
	switch {
	case rows.Factor != nil:
		env, err := s.environmentOf(ctx, rows.Factor.Environment)
		if err != nil {
			return Factor{}, err
		}
		f = r.factor(env, rows.Factor)
		f.userLocked = rows.User != nil && rows.User.Failures >= r.limits.UserFailures
		f.Suspension = suspensionIn(found, &f)
		if f.Bypass, err = r.openBypass(ctx, mfa.Read{Bucket: id.Bucket(), Bypass: rows.Factor.BypassKey()}); err != nil {
			return Factor{}, err
		}
	case len(found) > 0:
		last := found[len(found)-1]
		env, err := s.environmentOf(ctx, last.Environment)
		if err != nil {
			return Factor{}, err
		}
		f = Factor{
			ID: id, Environment: env, Type: last.Kind, User: last.User, State: FactorGone,
			MaxFailures: r.limits.FactorFailures, CreatedAt: mfa.TimeOf(id), Sealed: r.sealed,
		}
	default:
		return Factor{}, &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: id.String()}
	}
	if !by.sees(f.Environment.ID) {
		return Factor{}, &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: id.String()}
	}
	f.Timeline, f.MoreEvents = timeline(found), more
	f.Explanation = r.explainFactor(&f)
	e := mfa.Event{Reason: viewFactor, Factor: id, Kind: f.Type}
	return f, r.recordView(ctx, by, f.Environment.ID, id.Bucket(), id.String(), e, nil)
}

// Challenge returns a challenge of any environment with its events. A challenge that was
// removed is told from its events, as long as they are kept. An operator.viewed event records the
// view. Error: mfa.NotFoundError for an unknown challenge.
func (s *Service) Challenge(ctx context.Context, by By, id mfa.ChallengeID) (Challenge, error) {
	if err := by.Check(); err != nil {
		return Challenge{}, err
	}
	r := s.reader(ctx)
	c, err := r.findChallenge(ctx, id)
	if err != nil {
		return Challenge{}, err
	}
	if !by.sees(c.Environment.ID) {
		return Challenge{}, &mfa.NotFoundError{Entity: mfa.EntityChallenge, ID: id.String()}
	}
	e := mfa.Event{Reason: viewChallenge, Factor: c.Factor, Challenge: id, Kind: c.Type}
	return c, r.recordView(ctx, by, c.Environment.ID, id.Bucket(), id.String(), e, nil)
}

// findChallenge returns a challenge with its timeline and explanation.
func (r *reader) findChallenge(ctx context.Context, id mfa.ChallengeID) (c Challenge, err error) {
	rows, err := r.store.View(ctx, mfa.Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return c, err
	}
	found, more, err := r.events().NewestOfChallenge(ctx, id, maxChallengeEvents)
	if err != nil {
		return c, err
	}
	of := mfa.EnvironmentID(0)
	switch {
	case rows.Challenge != nil:
		of = rows.Factor.Environment
	case len(found) > 0:
		of = found[0].Environment
	default:
		return c, &mfa.NotFoundError{Entity: mfa.EntityChallenge, ID: id.String()}
	}
	env, err := r.environmentOf(ctx, of)
	if err != nil {
		return c, err
	}
	c, err = r.tell(ctx, env, id, rows, found, true)
	c.MoreEvents = more
	return c, err
}

// completeFactor reads who suspended a factor, and its bypass code.
func (r *reader) completeFactor(ctx context.Context, v *Factor, f *mfa.Factor) (err error) {
	if v.State == mfa.StatusSuspended {
		found, _, err := r.events().NewestOfFactor(ctx, f.Environment, f.ID, maxEvents)
		if err != nil {
			return err
		}
		v.Suspension = suspensionIn(found, v)
	}
	v.Bypass, err = r.openBypass(ctx, mfa.Read{Bucket: f.ID.Bucket(), Bypass: f.BypassKey()})
	return err
}

// tell returns a challenge with its events. next says whether to tell when the next message may
// be sent, and of a bypass code.
func (r *reader) tell(ctx context.Context, env mfa.Environment, id mfa.ChallengeID, rows mfa.Rows, found []events.Event, next bool) (c Challenge, err error) {
	if rows.Challenge != nil {
		c = r.challenge(env, rows)
	} else {
		c = r.removedChallenge(env, id, found)
	}
	c.Timeline = timeline(found)
	c.Explanation, err = r.explainChallenge(ctx, &c, rows, next)
	return c, err
}

// suspensionIn returns who suspended a factor, by its events in their order.
func suspensionIn(found []events.Event, f *Factor) Suspension {
	for i := len(found) - 1; i >= 0 && f.State == mfa.StatusSuspended; i-- {
		if e := &found[i]; e.Type == mfa.FactorSuspended && e.Factor == f.ID {
			return Suspension{strings.TrimPrefix(e.Caller, "operator:"), e.Reason}
		}
	}
	return Suspension{}
}

// environmentOf returns the environment with an id.
func (s *Service) environmentOf(ctx context.Context, id mfa.EnvironmentID) (mfa.Environment, error) {
	all, err := s.access.Environments(ctx)
	if err != nil {
		return mfa.Environment{}, err
	}
	for _, env := range all {
		if env.ID == id {
			return env, nil
		}
	}
	return mfa.Environment{ID: id}, nil
}

// factor returns the view of a stored factor.
func (r *reader) factor(env mfa.Environment, f *mfa.Factor) Factor {
	v := Factor{
		ID: f.ID, Environment: env, Type: f.Type, User: f.User,
		State: f.Status(r.limits, r.now), Failures: f.Failures, MaxFailures: r.limits.FactorFailures,
		LastUsed: f.LastUse(), CreatedAt: f.CreatedAt, Sealed: r.sealed,
	}
	switch v.State {
	case mfa.StatusSuspended:
		v.SuspendedAt = f.SuspendedAt
	case mfa.StatusLocked:
		if f.Failures < r.limits.FactorFailures {
			v.LockedUntil = f.LockedUntil
		}
	}
	if f.Type.IsRecovery() {
		v.Recovery = &RecoveryCodes{Total: mfa.RecoveryTotal, Remaining: f.RecoveryLeft()}
	}
	if r.keys == nil {
		return v
	}
	d, err := f.Open(r.keys)
	if err != nil {
		v.Sealed = err
		return v
	}
	v.Name, v.Phone, v.Issuer, v.Account = d.Name, d.Phone, d.Issuer, d.Account
	if v.Recovery != nil {
		v.Recovery.CreatedAt = d.Recovery.CreatedAt
	}
	return v
}

// challenge returns the view of a stored challenge, whose factor and user are among rows.
func (r *reader) challenge(env mfa.Environment, rows mfa.Rows) Challenge {
	c, f := rows.Challenge, rows.Factor
	v := Challenge{
		ID: c.ID, Environment: env, Factor: c.Factor, Type: f.Type, User: f.User,
		Stored: true, Attempts: c.Attempts, MaxAttempts: r.limits.Attempts,
		CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, VerifiedAt: c.VerifiedAt,
		State: ChallengeOpen, Sealed: r.sealed,
	}
	for _, m := range c.Messages {
		shown := Message{Provider: m.Provider, State: m.State, Reason: m.Reason, Segments: m.Segments, SentAt: m.At, UpdatedAt: m.UpdatedAt}
		if r.now.Before(m.UpdatedAt) { // a message to a test number changes later
			shown.State, shown.Reason, shown.UpdatedAt = delivery.Queued, "", m.At
		}
		shown.Meaning = delivery.Meaning(shown.Provider, shown.Reason)
		v.Messages = append(v.Messages, shown)
	}
	locked := f.IsSuspended() || f.IsLocked(r.limits, r.now) || rows.User != nil && rows.User.Failures >= r.limits.UserFailures
	switch {
	case !c.VerifiedAt.IsZero():
		v.State = ChallengeVerified
	case c.Attempts >= r.limits.Attempts:
		v.State = ChallengeExhausted
	case !r.now.Before(c.ExpiresAt):
		v.State = ChallengeExpired
	case locked:
		v.State = ChallengeBlocked
	}
	return v
}

// removedChallenge returns the view of a challenge that is not stored, from its events.
func (r *reader) removedChallenge(env mfa.Environment, id mfa.ChallengeID, found []events.Event) Challenge {
	v := Challenge{
		ID: id, Environment: env, Factor: found[0].Factor, Type: found[0].Kind, State: ChallengeExpired,
		MaxAttempts: r.limits.Attempts, CreatedAt: mfa.TimeOf(id), Sealed: r.sealed,
	}
	for _, e := range found {
		if e.User != "" {
			v.User = e.User
		}
		switch e.Type {
		case mfa.ChallengeSucceeded:
			v.Attempts++
			v.State, v.VerifiedAt = ChallengeVerified, e.At
		case mfa.ChallengeFailed:
			v.Attempts++
		case mfa.ChallengeVoided:
			v.State = ChallengeNotSent
		}
	}
	if v.State == ChallengeExpired && v.Attempts >= v.MaxAttempts {
		v.State = ChallengeExhausted
	}
	return v
}
