package mfa

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/totp"
)

// A FactorStatus is the state of a factor in one word, as people and programs read it.
type FactorStatus string

// The states of a factor. If several are true, the factor has the last one.
const (
	StatusUnverified FactorStatus = "unverified" // no code of it has been right yet
	StatusVerified   FactorStatus = "verified"   // a code of it was right at least once
	StatusLocked     FactorStatus = "locked"     // too many wrong codes: no code is checked now
	StatusSuspended  FactorStatus = "suspended"  // an operator suspended it: it cannot be used until it is resumed
)

// Status returns the state of f at now. The zero Limits are the defaults. A lock of the
// factor's user is not a state of the factor.
func (f *Factor) Status(l Limits, now time.Time) FactorStatus {
	switch {
	case f.IsSuspended():
		return StatusSuspended
	case f.IsLocked(l, now):
		return StatusLocked
	case f.IsVerified():
		return StatusVerified
	}
	return StatusUnverified
}

// IsVerified reports whether a code of f was ever right. Releases that did not record
// LastUsedAt recorded the LastStep of totp and sms factors, but nothing of generic_otp
// factors: those are verified again by their next right code.
func (f *Factor) IsVerified() bool { return !f.LastUsedAt.IsZero() || f.LastStep > 0 }

// LastUse returns the time of the last right code of f, or zero before the first one. It may be up to
// 30 s early for an sms factor, and up to lastUseEvery early for a generic_otp factor. If an
// older release checked the code, the time is that of its time step.
func (f *Factor) LastUse() time.Time {
	if f.LastUsedAt.IsZero() && f.LastStep > 0 {
		return time.Unix(f.LastStep*int64(totp.Period/time.Second), 0).UTC()
	}
	return f.LastUsedAt
}

// IsSuspended reports whether an operator suspended f.
func (f *Factor) IsSuspended() bool { return !f.SuspendedAt.IsZero() }

// IsLocked reports whether wrong codes keep f from being verified at now. The zero Limits are
// the defaults.
func (f *Factor) IsLocked(l Limits, now time.Time) bool {
	if l.FactorFailures == 0 {
		l.FactorFailures = defaultFactorFailures
	}
	return f.refuse(l, now) != nil
}

// Suspend makes f unusable until Resume. It reports whether f was not suspended before.
func (f *Factor) Suspend(now time.Time) bool {
	if f.IsSuspended() {
		return false
	}
	f.SuspendedAt, f.UpdatedAt = now, now
	return true
}

// Resume ends the suspension of f, and reports whether f was suspended.
func (f *Factor) Resume(now time.Time) bool {
	if !f.IsSuspended() {
		return false
	}
	f.SuspendedAt, f.UpdatedAt = time.Time{}, now
	return true
}

// refuseSuspended returns ErrSuspended while f is suspended.
func (f *Factor) refuseSuspended() error {
	if f.IsSuspended() {
		return ErrSuspended
	}
	return nil
}
