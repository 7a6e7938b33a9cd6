package mfa_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// rules has the expected result of every request, computed in the simplest way: all
// requests are kept in memory, without a store.
type rules struct {
	now      func() time.Time
	failures map[mfa.UserKey]int
	sends    map[string][]ruledSend // by environment and number
	events   map[mfa.Bucket][]string
	bypasses map[mfa.BypassKey]*ruledBypass
	answers  map[string]mfa.ChallengeID // the challenges of the responses of authenticators
	sets     map[mfa.UserKey]*ruledFactor
	created  map[mfa.UserKey][]time.Time // when recovery codes were created, oldest first
	messages int
}

// A ruledBypass is the newest bypass code of a person.
type ruledBypass struct {
	code    string
	until   time.Time
	guesses int
}

// bypass returns the bypass code of the owner of f that can be used now, or nil.
func (r *rules) bypass(f *ruledFactor) *ruledBypass {
	b := r.bypasses[f.BypassKey()]
	if b == nil || !r.now().Before(b.until) || b.guesses >= 5 {
		return nil
	}
	return b
}

// bypassHappened is happened for an event that names any factor of the person.
func (r *rules) bypassHappened(f *ruledFactor, c mfa.ChallengeID, typ mfa.EventType, reason string) {
	b := f.ID.Bucket()
	r.events[b] = append(r.events[b], fmt.Sprintln(typ, reason, mfa.FactorID{}, c))
}

const (
	ruledAttempts       = 5
	ruledFactorFailures = 10
	ruledUserFailures   = 14
	ruledResends        = 3
	ruledFactors        = 4
)

var ruledOptions = mfa.Options{RecoveryIterations: 1, Limits: mfa.Limits{FactorFailures: ruledFactorFailures, UserFailures: ruledUserFailures}}

type ruledFactor struct {
	mfa.Enrollment
	phone        string
	key          []byte
	spent        int64 // the last step; recovery codes: a bit for each one that was used
	ahead        int64 // totp: the learned difference of the clocks, in steps
	missed       int64 // totp: the step of the last code that was wrong only because of the time
	missedBefore int64 // missed before the code that is checked
	failures     int
	locked       time.Time
	used         time.Time            // as it is stored
	paused       bool                 // suspended
	passkey      *passkeytest.Passkey // webauthn: nil while it is pending
	codes        []string             // recovery codes: as they are now
	former       []string             // recovery codes: that were replaced
	deleted      bool
}

func (f *ruledFactor) user() mfa.UserKey { return mfa.UserKey{Environment: f.Environment, ID: f.User} }

// A ruledSend is a message that was counted.
type ruledSend struct {
	at     time.Time
	of     *ruledFactor
	proven bool // of was
}

// proven reports whether a code of f was entered in the last 180 days.
func (r *rules) proven(f *ruledFactor) bool {
	return f.spent > 0 && totp.Step(r.now())-f.spent < 180*24*120
}

type ruledChallenge struct {
	*ruledFactor
	id       mfa.ChallengeID
	accepts  bool                 // recovery codes
	code     string               // that was sent; webauthn: the options
	creates  bool                 // webauthn: asks for a new passkey
	offered  *passkeytest.Passkey // webauthn: the newest one that answered
	proven   time.Time            // when it was verified
	used     bool                 // as the proof of a deletion
	made     time.Time
	attempts int
	resends  int
	unsent   bool // only a bypass code can verify it
	verified bool
	refused  bool
	gone     bool
}

// A fate is what happens to a message.
type fate string

const (
	sent     fate = "sent"
	lost     fate = "error and not sent"
	unsure   fate = "error but sent"
	timedOut fate = "sent, and no answer"
)

func (r *rules) happened(f *ruledFactor, c mfa.ChallengeID, typ mfa.EventType, reason string) {
	b := f.ID.Bucket()
	r.events[b] = append(r.events[b], fmt.Sprintln(typ, reason, f.ID, c))
}

func (r *rules) enroll(f *ruledFactor) {
	r.happened(f, mfa.ChallengeID{}, mfa.FactorEnrolled, "")
	if f.Challenge != nil {
		r.happened(f, f.Challenge.ID, mfa.ChallengeCreated, "")
	}
}

// challenge says what an attempt to challenge f ends in. The id is that of the
// challenge, if there is one.
func (r *rules) challenge(f *ruledFactor, env mfa.EnvironmentID, id mfa.ChallengeID, accept bool, fate fate) string {
	switch {
	case f.deleted || f.Environment != env:
		return "not found"
	case f.paused:
		return "suspended"
	case r.lockedForGood(f) && r.bypass(f) == nil && !r.canRecover(f, accept):
		return "too many attempts, wait 0s"
	}
	if f.Type != mfa.SMS || r.lockedForGood(f) {
		r.happened(f, id, mfa.ChallengeCreated, "")
		return "done"
	}
	became := r.send(f, fate)
	if became == "done" {
		r.happened(f, id, mfa.ChallengeCreated, "")
		r.happened(f, id, "message.queued", "")
	}
	return became
}

// lockedForGood reports whether only an operator can unlock f or its user.
func (r *rules) lockedForGood(f *ruledFactor) bool {
	return f.failures >= ruledFactorFailures || f.User != "" && r.failures[f.user()] >= ruledUserFailures
}

// send returns the outcome of a message to f. The message counts if it arrived or may have arrived.
func (r *rules) send(f *ruledFactor, fate fate) string {
	number := fmt.Sprint(f.Environment, f.phone)
	if wait := r.waitToSend(number, f); wait > 0 {
		return fmt.Sprint("send limit, wait ", wait)
	}
	if fate != lost {
		r.messages++
	}
	if fate == sent || fate == timedOut {
		r.sends[number] = append(r.sends[number], ruledSend{r.now(), f, r.proven(f)})
	}
	if fate != sent {
		return "not delivered"
	}
	return "done"
}

// resend says what an attempt to send the code of c again ends in.
func (r *rules) resend(c *ruledChallenge, env mfa.EnvironmentID, fate fate) string {
	f := c.ruledFactor
	switch {
	case c.gone || f.deleted || f.Environment != env:
		return "not found"
	case f.Type != mfa.SMS || c.unsent:
		return "not sent"
	case c.verified:
		return "already verified"
	case !r.now().Before(c.made.Add(10 * time.Minute)):
		return "expired"
	case c.attempts >= ruledAttempts:
		return "too many attempts, wait 0s"
	case f.paused:
		return "suspended"
	case r.lockedForGood(f):
		return "too many attempts, wait 0s"
	case c.resends >= ruledResends:
		return "sent too often"
	}
	became := r.send(f, fate)
	switch became {
	case "done":
		c.resends++
		r.happened(f, c.id, "message.queued", "")
	case "not delivered":
		if fate == timedOut {
			c.resends++
		}
		r.happened(f, c.id, "message.failed", "delivery_failed")
	}
	return became
}

// waitToSend looks for the first instant at which a message of a factor is allowed.
func (r *rules) waitToSend(number string, of *ruledFactor) time.Duration {
	windows := map[time.Duration]int{30 * time.Second: 1, 10 * time.Minute: 5, time.Hour: 10, 24 * time.Hour: 20}
	allowed := func(t time.Time) bool {
		for span, most := range windows {
			own, all := 0, 0
			for _, s := range r.sends[number] {
				if t.Sub(s.at) >= span {
					continue
				}
				all++
				if r.proven(of) && s.of == of || !r.proven(of) && !s.proven {
					own++
				}
			}
			if own >= most || most > 1 && all >= 2*most {
				return false
			}
		}
		return true
	}
	candidates := []time.Time{r.now()}
	for _, s := range r.sends[number] {
		for span := range windows {
			if t := s.at.Add(span); t.After(r.now()) {
				candidates = append(candidates, t)
			}
		}
	}
	slices.SortFunc(candidates, time.Time.Compare)
	for _, t := range candidates {
		if allowed(t) {
			return t.Sub(r.now())
		}
	}
	panic("a message is never allowed")
}

func (r *rules) verify(c *ruledChallenge, env mfa.EnvironmentID, code string) string {
	f := c.ruledFactor
	refuse := func(reason string) {
		if !c.refused { // further ones leave events by chance
			r.happened(f, c.id, mfa.ChallengeRefused, reason)
		}
		c.refused = true
	}
	var bypass *ruledBypass
	if len(code) == 10 {
		bypass = r.bypass(f)
	}
	set := r.setFor(f, c.accepts, code)
	switch {
	case c.gone || f.deleted || f.Environment != env:
		return "not found"
	case c.verified:
		refuse("previously_verified")
		return "already verified"
	case !r.now().Before(c.made.Add(10 * time.Minute)):
		refuse("expired")
		return "expired"
	case c.attempts >= ruledAttempts:
		refuse("too_many_attempts")
		return "too many attempts, wait 0s"
	case f.paused:
		refuse("suspended")
		return "suspended"
	case bypass != nil:
	case set != nil && set.paused:
		refuse("suspended")
		return "suspended"
	case set != nil:
		if refusal := r.lockOf(set); refusal != "" {
			refuse("too_many_attempts")
			return refusal
		}
	case r.lockedForGood(f):
		refuse("too_many_attempts")
		return "too many attempts, wait 0s"
	case r.now().Before(f.locked):
		refuse("too_many_attempts")
		return fmt.Sprint("too many attempts, wait ", f.locked.Sub(r.now()))
	}
	c.attempts++
	c.proven = r.now() // counts only if it is verified
	if set != nil {
		return r.verifyRecovery(c, set, code)
	}
	if bypass != nil && code == bypass.code {
		c.verified = true
		delete(r.bypasses, f.BypassKey())
		r.happened(f, c.id, mfa.ChallengeSucceeded, "bypass")
		r.happened(f, c.id, mfa.BypassUsed, adaWhy.Reason)
		return "valid"
	}
	step, worth := r.worth(c, code)
	if bypass != nil && f.Type == mfa.WebAuthn {
		worth = "wrong_code" // it is checked as a bypass code
	}
	if worth == "right" && f.Type == mfa.WebAuthn {
		f.used = r.now() // the counter is stored
		if c.creates {
			f.passkey = c.offered
		}
	}
	if worth == "right" {
		if step != f.spent || f.failures > 0 || f.used.IsZero() || r.now().Sub(f.used) >= 7*24*time.Hour {
			f.used = r.now() // the factor is stored
		}
		c.verified, f.spent = true, step
		f.failures, f.locked = 0, time.Time{}
		delete(r.failures, f.user())
		r.happened(f, c.id, mfa.ChallengeSucceeded, "")
		return "valid"
	}
	r.happened(f, c.id, mfa.ChallengeFailed, worth)
	r.failed(f, c.id)
	r.userFailed(f, c.id)
	if bypass != nil {
		if bypass.guesses++; bypass.guesses == 5 {
			r.bypassHappened(f, c.id, mfa.BypassRevoked, "too_many_attempts")
		}
	}
	return "invalid"
}

// failed counts a wrong code in a factor.
func (r *rules) failed(f *ruledFactor, c mfa.ChallengeID) {
	f.failures++
	if wait := backoffAfter(f.failures); wait > 0 {
		f.locked = r.now().Add(wait)
		r.happened(f, c, mfa.FactorLocked, "")
	}
}

// userFailed counts a wrong code in the user of a factor.
func (r *rules) userFailed(f *ruledFactor, c mfa.ChallengeID) {
	if f.User == "" {
		return
	}
	r.failures[f.user()]++
	if r.failures[f.user()] >= ruledUserFailures {
		r.happened(f, c, mfa.UserLocked, "")
	}
}

// worth says what a code is worth: right, or the reason why not.
func (r *rules) worth(c *ruledChallenge, code string) (step int64, worth string) {
	if c.unsent {
		return 0, "wrong_code"
	}
	if c.Type == mfa.WebAuthn {
		switch to, ok := r.answers[code]; {
		case !ok:
			return 0, "unreadable_response"
		case to != c.id:
			panic("an answer is given only to its own challenge")
		case c.creates && c.passkey != nil:
			return 0, "already_registered"
		}
		return 0, "right"
	}
	code = strings.NewReplacer(" ", "", "-", "").Replace(code)
	if c.Type != mfa.TOTP {
		switch {
		case c.Type == mfa.RecoveryCodes:
			return 0, "wrong_code"
		case code == c.code && c.Type == mfa.SMS:
			return totp.Step(r.now()), "right"
		case code == c.code:
			return c.spent, "right"
		}
		return 0, "wrong_code"
	}
	now := c.App.Step(r.now())
	most := int64(5 * time.Minute / c.App.Period())
	near := func(s int64) bool { return now-most <= s && s <= now+most }
	accepted := []int64{now + c.ahead - 1, now + c.ahead, now + c.ahead + 1}
	for s := c.missed + 1; s <= c.missed+4; s++ {
		if c.missed != 0 && near(s) {
			accepted = append(accepted, s)
		}
	}
	worth = "wrong_code"
	for _, s := range accepted {
		if c.App.Code(c.key, s) != code {
			continue
		}
		if s > c.spent && s != c.missed {
			c.ahead = min(max(s-now, -most), most)
			if c.missed <= s {
				c.missed = 0
			}
			return s, "right"
		}
		worth = "spent_code"
	}
	if worth == "spent_code" {
		return 0, worth
	}
	for s := now - most; s <= now+most; s++ {
		if c.App.Code(c.key, s) == code {
			isOver, waits := s < now+c.ahead, c.missed >= now+c.ahead-1
			if isOver || !waits {
				c.missed = max(c.missed, s)
			}
			break
		}
	}
	return 0, worth
}

func (r *rules) remove(f *ruledFactor, env mfa.EnvironmentID) string {
	if f.deleted || f.Environment != env {
		return "not found"
	}
	f.deleted = true
	r.happened(f, mfa.ChallengeID{}, mfa.FactorDeleted, "")
	return "done"
}

// mayEnroll says what an enrollment for a user ends in.
func (r *rules) mayEnroll(u mfa.UserKey, all []*ruledFactor) string {
	n := 0
	for _, f := range all {
		if u.ID != "" && !f.deleted && f.user() == u {
			n++
		}
	}
	if n >= ruledFactors {
		return "invalid"
	}
	return "done"
}

// removeWith says what the deletion of a factor by an application ends in. proof may be nil.
func (r *rules) removeWith(f *ruledFactor, env mfa.EnvironmentID, proof *ruledChallenge) string {
	if !f.deleted && f.Environment == env && (f.isVerified() || f.Type == mfa.RecoveryCodes) {
		c := proof
		if c == nil || c.gone || c.deleted || c.ruledFactor == f || c.paused || f.User == "" || c.user() != f.user() ||
			!c.verified || r.now().Sub(c.proven) > 10*time.Minute {
			return "invalid"
		}
		c.used, c.gone = true, true
	}
	return r.remove(f, env)
}

// expire removes the webauthn factors that wait for a passkey for an hour.
func (r *rules) expire(all []*ruledFactor) {
	for _, f := range all {
		if !f.deleted && f.Type == mfa.WebAuthn && f.passkey == nil && !r.now().Before(f.CreatedAt.Add(time.Hour)) {
			f.deleted = true
			r.happened(f, mfa.ChallengeID{}, mfa.FactorDeleted, "not_verified_in_time")
		}
	}
}

func (r *rules) unlockFactor(f *ruledFactor) string {
	if f.deleted {
		return "not found"
	}
	if f.failures == 0 {
		return "not locked"
	}
	f.failures, f.locked = 0, time.Time{}
	r.happened(f, mfa.ChallengeID{}, mfa.FactorUnlocked, "")
	return "done"
}

func (r *rules) suspend(f *ruledFactor) string {
	switch {
	case f.deleted:
		return "not found"
	case f.paused:
		return "suspended"
	}
	f.paused = true
	r.happened(f, mfa.ChallengeID{}, mfa.FactorSuspended, adaWhy.Reason)
	return "done"
}

func (r *rules) resume(f *ruledFactor) string {
	switch {
	case f.deleted:
		return "not found"
	case !f.paused:
		return "not suspended"
	}
	f.paused = false
	r.happened(f, mfa.ChallengeID{}, mfa.FactorResumed, adaWhy.Reason)
	return "done"
}

func (r *rules) unlockUser(u mfa.UserKey, factors int) string {
	switch {
	case r.failures[u] == 0 && factors == 0:
		return "not found"
	case r.failures[u] == 0:
		return "not locked"
	default:
		delete(r.failures, u)
		b := u.Bucket()
		r.events[b] = append(r.events[b], fmt.Sprintln(mfa.UserUnlocked, "", mfa.FactorID{}, mfa.ChallengeID{}))
	}
	return "done"
}

func (r *rules) sweep(challenges []*ruledChallenge) {
	for _, c := range challenges {
		if c.made.Before(r.now().Add(-24 * time.Hour)) {
			c.gone = true
		}
	}
}
