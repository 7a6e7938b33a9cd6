package mfa_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// rules has the expected result of every request, computed in the simplest way: all
// requests are kept in memory, without a store.
type rules struct {
	now      func() time.Time
	failures map[mfa.UserKey]int
	sends    map[string][]ruledSend // by environment and number
	events   map[mfa.Bucket][]string
	messages int
}

const (
	ruledAttempts       = 5
	ruledFactorFailures = 10
	ruledUserFailures   = 14
	ruledResends        = 3
)

var ruledOptions = mfa.Options{Limits: mfa.Limits{FactorFailures: ruledFactorFailures, UserFailures: ruledUserFailures}}

type ruledFactor struct {
	mfa.Enrollment
	phone    string
	key      []byte
	spent    int64 // the last step
	failures int
	locked   time.Time
	deleted  bool
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
	code     string // that was sent
	made     time.Time
	attempts int
	resends  int
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
func (r *rules) challenge(f *ruledFactor, env mfa.EnvironmentID, id mfa.ChallengeID, fate fate) string {
	switch {
	case f.deleted || f.Environment != env:
		return "not found"
	case f.failures >= ruledFactorFailures, f.User != "" && r.failures[f.user()] >= ruledUserFailures:
		return "too many attempts, wait 0s"
	}
	if f.Type != mfa.SMS {
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
	case f.Type != mfa.SMS:
		return "not sent"
	case c.verified:
		return "already verified"
	case !r.now().Before(c.made.Add(10 * time.Minute)):
		return "expired"
	case c.attempts >= ruledAttempts, f.failures >= ruledFactorFailures,
		f.User != "" && r.failures[f.user()] >= ruledUserFailures:
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
	switch {
	case c.gone || f.deleted || f.Environment != env:
		return "not found"
	case c.verified:
		refuse("previously_verified")
		return "already verified"
	case !r.now().Before(c.made.Add(10 * time.Minute)):
		refuse("expired")
		return "expired"
	case c.attempts >= ruledAttempts, f.failures >= ruledFactorFailures,
		f.User != "" && r.failures[f.user()] >= ruledUserFailures:
		refuse("too_many_attempts")
		return "too many attempts, wait 0s"
	case r.now().Before(f.locked):
		refuse("too_many_attempts")
		return fmt.Sprint("too many attempts, wait ", f.locked.Sub(r.now()))
	}
	c.attempts++
	step, worth := r.worth(c, code)
	if worth == "right" {
		c.verified, f.spent = true, step
		f.failures, f.locked = 0, time.Time{}
		delete(r.failures, f.user())
		r.happened(f, c.id, mfa.ChallengeSucceeded, "")
		return "valid"
	}
	r.happened(f, c.id, mfa.ChallengeFailed, worth)
	f.failures++
	if wait := backoffAfter(f.failures); wait > 0 {
		f.locked = r.now().Add(wait)
		r.happened(f, c.id, mfa.FactorLocked, "")
	}
	if f.User != "" {
		r.failures[f.user()]++
		if r.failures[f.user()] >= ruledUserFailures {
			r.happened(f, c.id, mfa.UserLocked, "")
		}
	}
	return "invalid"
}

// worth says what a code is worth: right, or the reason why not.
func (r *rules) worth(c *ruledChallenge, code string) (step int64, worth string) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(code)
	if c.Type != mfa.TOTP {
		switch {
		case code == c.code && c.Type == mfa.SMS:
			return totp.Step(r.now()), "right"
		case code == c.code:
			return c.spent, "right"
		}
		return 0, "wrong_code"
	}
	worth = "wrong_code"
	for step := totp.Step(r.now()) - 1; step <= totp.Step(r.now())+1; step++ {
		if totp.Code(c.key, step) != code {
			continue
		}
		if step > c.spent {
			return step, "right"
		}
		worth = "spent_code"
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
