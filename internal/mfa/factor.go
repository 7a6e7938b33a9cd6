package mfa

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// A FactorType is the kind of a factor, as the wire names it. Each type is declared in
// the file of its rules, kind_<type>.go.
type FactorType string

// A Factor is one thing of which a person can prove possession.
type Factor struct {
	ID          FactorID
	Environment EnvironmentID
	Type        FactorType
	User        string    // the caller's own id of its owner; may be ""
	Label       []byte    // a sealed label; or nil
	Replay      ReplayKey // of the recorded answer that shows the secret; may be zero
	CreatedAt   time.Time // UTC, whole milliseconds, as all times here
	PhoneHash   PhoneHash // sms: of the phone number; zero in a row of an older release until Reseal sets it
	Old         Unsealed  // of a row that an older release stored
	FactorState
}

// A FactorState is the part of a factor that changes.
type FactorState struct {
	Sealed      []byte    // totp: the secret; sms: the phone number; webauthn: the credential
	LastStep    int64     // totp: the last time step whose code was accepted; sms: the one of the last right code; recovery_codes: a bit for each code that was used
	App         totp.App  // totp: how its app makes codes, and its clock; the Params never change
	Failures    int       // consecutive wrong codes over all its challenges
	LockedUntil time.Time // no code is checked before; zero if not locked
	LastUsedAt  time.Time // of a right code; see LastUse
	SuspendedAt time.Time // when an operator suspended it; zero if not suspended
	ExpiresAt   time.Time // when it is removed, unless a code of it was right before; zero: never
	UpdatedAt   time.Time
}

// Update returns the write that stores the state of f.
func (f *Factor) Update() UpdateFactor { return UpdateFactor{f.ID, f.FactorState} }

// Seal returns the write that stores the sealed fields of f.
func (f *Factor) Seal() SealFactor { return SealFactor{f.ID, f.Sealed, f.Label, f.Replay, f.PhoneHash} }

// Unsealed has the values of a factor that an older release stored without sealing them.
// Reseal seals them and empties Unsealed.
type Unsealed struct {
	Issuer  string // the service that the code is for, as the app shows it
	Account string // the name of the account, as the app shows it
	Replay  []byte // a hash without a key
}

func (u *Unsealed) isEmpty() bool { return u.Issuer == "" && u.Account == "" && u.Replay == nil }

// associated binds a sealed value to its row and field: it does not open in another row or
// field.
func (f *Factor) associated() []byte { return associate("factors.sealed."+string(f.Type), f.ID) }

func (f *Factor) associatedLabel() []byte { return associate("factors.label", f.ID) }

func associate(field string, id [16]byte) []byte {
	return append(append(make([]byte, 0, len(field)+1+len(id)), field...), id[:]...)
}

// UserKey returns the key of the factor's user, or zero.
func (f *Factor) UserKey() UserKey {
	if f.User == "" {
		return UserKey{}
	}
	return UserKey{f.Environment, f.User}
}

func (f *Factor) seal(keys *secret.Keyset, plain []byte) (err error) {
	if f.Sealed, err = keys.Seal(plain, f.associated()); err != nil {
		return fmt.Errorf("seal factor: %w", err)
	}
	return nil
}

func (f *Factor) open(keys *secret.Keyset) ([]byte, error) {
	plain, err := keys.Open(f.Sealed, f.associated())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.ID, err)
	}
	return plain, nil
}

// Open opens the sealed values that the owner of a factor may see again.
func (f *Factor) Open(keys *secret.Keyset) (Details, error) {
	k, err := f.kind()
	if err != nil {
		return Details{}, err
	}
	l, err := f.openLabel(keys)
	if err != nil {
		return Details{}, err
	}
	d, err := k.describe(keys, f, l)
	d.Name = l.name
	return d, err
}

// refuse returns a *LimitError while no code of the factor may be checked.
func (f *Factor) refuse(l Limits, now time.Time) error {
	switch {
	case f.Failures >= l.FactorFailures:
		return &LimitError{Kind: ErrTooManyAttempts}
	case now.Before(f.LockedUntil):
		return &LimitError{Kind: ErrTooManyAttempts, After: f.LockedUntil.Sub(now)}
	}
	return nil
}

// Unlock forgets the wrong codes of the factor, and reports whether there were any.
func (f *Factor) Unlock() bool {
	had := f.Failures > 0 || !f.LockedUntil.IsZero()
	f.Failures, f.LockedUntil = 0, time.Time{}
	return had
}

// record counts one code, right or wrong, and reports whether it locked the factor.
func (f *Factor) record(right bool, l Limits, now time.Time) (locked bool) {
	if right {
		f.Unlock()
		return false
	}
	f.Failures++
	wait := l.backoff(f.Failures)
	if wait > 0 {
		f.LockedUntil = now.Add(wait)
	}
	return wait > 0 || f.Failures >= l.FactorFailures
}

// lastUseEvery is the time after which a right code stores LastUsedAt again, if nothing else
// in the factor changes. Otherwise the one code a day of most users would cost a generic_otp
// factor a write each, a quarter of the time of a flow.
const lastUseEvery = 7 * 24 * time.Hour

// use records a right code at now.
func (f *Factor) use(now time.Time) { f.LastUsedAt, f.ExpiresAt = now, time.Time{} }

// changed reports whether the state of f must be stored; before is the state that is stored.
func (f *Factor) changed(before *FactorState) bool {
	return f.LastStep != before.LastStep || f.Failures != before.Failures || f.LastUsedAt.Sub(before.LastUsedAt) >= lastUseEvery ||
		!bytes.Equal(f.Sealed, before.Sealed) || !f.ExpiresAt.Equal(before.ExpiresAt)
}

// A UserKey names a user of an environment; the zero value means no user.
type UserKey struct {
	Environment EnvironmentID
	ID          string
}

// Bucket returns the bucket of the user's rows.
func (k UserKey) Bucket() Bucket { return UserBucket(k.Environment, k.ID) }

// A User counts the failures of an owner of factors. A user without failures has no row.
type User struct {
	UserKey
	Failures  int       // consecutive wrong codes over all factors
	ExpiresAt time.Time // of a user without factors, whose ID is a Former name; otherwise zero, which means never
	At        Bucket    // of such a user; for all others, UserKey.Bucket applies
}

// keepFailures is how long the failures of a user without factors are kept. Without them,
// an attacker could start guessing again after all factors were deleted and another one
// was enrolled.
const keepFailures = 400 * 24 * time.Hour

// FormerUser returns the key of the row that keeps the failures of a user without factors.
// Its name is a keyed hash, because no row may identify that user.
func FormerUser(keys *secret.Keyset, k UserKey) UserKey {
	name := keys.Index(fmt.Appendf(nil, "user/%d/%s", k.Environment, k.ID))
	return UserKey{k.Environment, "former_" + hex.EncodeToString(name[:16])}
}

func (s *Service) former(k UserKey) string { return FormerUser(s.keys.Load(), k).ID }

func (u *User) refuse(l Limits) error {
	if u != nil && u.Failures >= l.UserFailures {
		return &LimitError{Kind: ErrTooManyAttempts}
	}
	return nil
}
