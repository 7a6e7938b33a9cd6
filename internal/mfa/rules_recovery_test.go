package mfa_test

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func (f *ruledFactor) isVerified() bool { return !f.used.IsZero() || f.spent > 0 }

// left returns the number of recovery codes that were not used.
func (f *ruledFactor) left() int { return len(f.codes) - bits.OnesCount64(uint64(f.spent)) }

// set returns the recovery codes of a user, or nil.
func (r *rules) set(u mfa.UserKey) *ruledFactor {
	if set := r.sets[u]; u.ID != "" && set != nil && !set.deleted {
		return set
	}
	return nil
}

// setFor returns the recovery codes that a code is compared with when it is entered at a challenge of
// f; nil if the challenge does not accept them, or if the code does not have their form.
func (r *rules) setFor(f *ruledFactor, accepts bool, code string) *ruledFactor {
	if !isRecoveryForm(code) || f.Type != mfa.RecoveryCodes && !accepts && f.Environment != production.ID {
		return nil
	}
	return r.set(f.user())
}

func isRecoveryForm(code string) bool { return len(plainCode(code)) == 16 }

func plainCode(code string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
}

// lockOf returns the refusal of a code of a factor that is locked, or whose user is locked; otherwise "".
func (r *rules) lockOf(f *ruledFactor) string {
	switch {
	case r.lockedForGood(f):
		return "too many attempts, wait 0s"
	case r.now().Before(f.locked):
		return fmt.Sprint("too many attempts, wait ", f.locked.Sub(r.now()))
	}
	return ""
}

// canRecover reports whether a new challenge of f, which is locked, can be verified by a recovery code.
func (r *rules) canRecover(f *ruledFactor, accept bool) bool {
	set := r.setFor(f, accept, "0000000000000000")
	return set != nil && set.left() > 0 && !set.paused && r.lockOf(set) == ""
}

// mayMakeRecovery says what the creation of recovery codes ends in.
func (r *rules) mayMakeRecovery(u mfa.UserKey, all []*ruledFactor, sole bool) string {
	lately := slices.DeleteFunc(slices.Clone(r.created[u]), func(at time.Time) bool { return r.now().Sub(at) >= time.Hour })
	if len(lately) >= 10 {
		return fmt.Sprint("too many sets of recovery codes for this user, wait ", time.Hour-r.now().Sub(lately[len(lately)-10]))
	}
	other := func(f *ruledFactor) bool {
		return !f.deleted && f.user() == u && f.Type != mfa.RecoveryCodes && f.isVerified() && !f.paused
	}
	if !sole && !slices.ContainsFunc(all, other) {
		return "sole factor"
	}
	return "done"
}

// useRecovery compares a code with a set, and counts it there after the event of the attempt.
func (r *rules) useRecovery(set *ruledFactor, c mfa.ChallengeID, code string, attempted func(wrong string)) (valid bool) {
	i := slices.Index(set.codes, plainCode(code))
	switch {
	case i < 0:
		attempted("wrong_code")
	case set.spent&(1<<i) != 0:
		attempted("spent_code")
	default:
		if set.Environment == production.ID { // it gets another one in its place; see model.spent
			set.former = append(set.former, set.codes[i])
			set.codes[i] = ""
		} else {
			set.spent |= 1 << i
		}
		attempted("")
		set.failures, set.locked, set.used = 0, time.Time{}, r.now()
		r.happened(set, c, mfa.RecoveryUsed, strconv.Itoa(set.left()))
		if set.left() <= 3 {
			r.happened(set, c, mfa.RecoveryLow, strconv.Itoa(set.left()))
		}
		delete(r.failures, set.user())
		return true
	}
	r.failed(set, c)
	return false
}

// verifyRecovery says what a recovery code ends in at a challenge that accepts it.
func (r *rules) verifyRecovery(c *ruledChallenge, set *ruledFactor, code string) string {
	f := c.ruledFactor
	valid := r.useRecovery(set, c.id, code, func(wrong string) {
		if wrong == "" {
			r.happened(f, c.id, mfa.ChallengeSucceeded, "recovery")
		} else {
			r.happened(f, c.id, mfa.ChallengeFailed, wrong)
		}
	})
	if !valid {
		r.userFailed(f, c.id)
		return "invalid"
	}
	c.verified = true
	return "valid"
}

// unprompted returns the authenticator apps of a user.
func (r *rules) unprompted(u mfa.UserKey, all []*ruledFactor) (apps []*ruledFactor) {
	for _, f := range all {
		if f.Type == mfa.TOTP && !f.deleted && f.user() == u {
			apps = append(apps, f)
		}
	}
	return apps
}

// verifyUser says what a code ends in that is tried against the factors of a user, and which factor it
// is of.
func (r *rules) verifyUser(u mfa.UserKey, all []*ruledFactor, code string) (became string, of *ruledFactor) {
	tried := r.unprompted(u, all)
	slices.SortStableFunc(tried, func(a, b *ruledFactor) int {
		if a.isVerified() != b.isVerified() {
			return map[bool]int{true: -1, false: 1}[a.isVerified()]
		}
		if a.isVerified() {
			return cmp.Compare(a.ID.String(), b.ID.String())
		}
		return cmp.Compare(b.ID.String(), a.ID.String())
	})
	set := r.set(u)
	if set != nil && (isRecoveryForm(code) || len(tried) == 0) {
		tried = []*ruledFactor{set}
	}
	if len(tried) == 0 {
		return "not found", nil
	}
	if r.failures[u] >= ruledUserFailures {
		return "too many attempts, wait 0s", nil
	}
	refusal, first := "suspended", time.Duration(-1)
	tried = slices.DeleteFunc(tried, func(f *ruledFactor) bool {
		if f.paused {
			return true
		}
		lock := r.lockOf(f)
		if wait := f.locked.Sub(r.now()); f.failures < ruledFactorFailures && wait > 0 && (first <= 0 || wait < first) {
			refusal, first = lock, wait
		} else if lock != "" && first < 0 {
			refusal, first = lock, 0
		}
		return lock != ""
	})
	if len(tried) == 0 {
		return refusal, nil
	}
	none := mfa.ChallengeID{}
	if set != nil && tried[0] == set && isRecoveryForm(code) {
		valid := r.useRecovery(set, none, code, func(wrong string) {
			if wrong == "" {
				r.happened(set, none, mfa.ChallengeSucceeded, "")
			} else {
				r.happened(set, none, mfa.ChallengeFailed, wrong)
			}
		})
		if valid {
			return "valid", set
		}
		r.userFailed(set, none)
		return "invalid", nil
	}
	wrong := "wrong_code"
	for i, f := range tried {
		before := *f
		step, worth := r.worth(&ruledChallenge{ruledFactor: f}, code)
		if worth == "right" {
			for _, g := range tried[:i] {
				g.missed = g.missedBefore // they are not stored
			}
			f.used, f.spent, f.failures, f.locked = r.now(), step, 0, time.Time{}
			r.happened(f, none, mfa.ChallengeSucceeded, "")
			delete(r.failures, u)
			return "valid", f
		}
		f.missedBefore = before.missed
		if worth == "spent_code" {
			wrong = worth
		}
	}
	r.happened(tried[0], none, mfa.ChallengeFailed, wrong)
	for _, f := range tried {
		r.failed(f, none)
	}
	r.userFailed(tried[0], none)
	return "invalid", nil
}
