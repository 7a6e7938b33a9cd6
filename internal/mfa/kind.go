package mfa

import (
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// A kind has the rules of one FactorType. Each kind is one file, kind_<type>.go, and
// one line of kinds; no other file of this package compares a FactorType.
// The methods run inside a transaction, except validate and enroll. Such a method may
// run more than once and must not use randomness that its caller can see.
type kind interface {
	// validate returns every field of p that is wrong for the kind.
	validate(p EnrollParams) []FieldError

	// enroll fills a new factor from p, which validate has accepted. It seals the values
	// that the store must not see.
	enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) error

	// issue completes a new challenge for its factor: c.sent is a new code, and issue
	// stores in c the values that check needs.
	issue(s *Service, c *IssuedChallenge) error

	// check compares a code with its challenge. It returns "" if the code is right, and
	// otherwise the reason for the event. It may change f.LastStep.
	check(s *Service, c *Challenge, f *Factor, code string, now time.Time) (wrong string, err error)

	// describe returns a factor with the sealed values that its owner may see again.
	describe(s *Service, f *Factor) (Details, error)
}

// A messenger is a kind whose codes Countersign sends.
type messenger interface {
	// recipient returns the phone number of a factor.
	recipient(s *Service, f *Factor) (delivery.Phone, error)
}

// kinds has all kinds, in the order in which error texts list them.
var kinds = []struct {
	name FactorType
	kind kind
}{
	{TOTP, totpKind{}},
	{SMS, smsKind{}},
	{GenericOTP, genericKind{}},
}

// findKind returns the rules of a type; ok is false for an unknown type.
func findKind(t FactorType) (k kind, ok bool) {
	for i := range kinds {
		if kinds[i].name == t {
			return kinds[i].kind, true
		}
	}
	return nil, false
}

// kind returns the rules of a stored factor. An error means that a newer release
// stored it.
func (f *Factor) kind() (kind, error) {
	k, ok := findKind(f.Type)
	if !ok {
		return nil, fmt.Errorf("%s has the type %q, which this release does not support", f.ID, f.Type)
	}
	return k, nil
}

// messenger returns the rules of a factor whose codes Countersign sends; ok is false
// for other factors.
func (f *Factor) messenger() (m messenger, ok bool) {
	k, _ := findKind(f.Type)
	m, ok = k.(messenger)
	return m, ok
}

// typeNames lists all types for an error text: "totp, sms or generic_otp".
func typeNames() string {
	names := ""
	for i, k := range kinds {
		switch {
		case i > 0 && i == len(kinds)-1:
			names += " or "
		case i > 0:
			names += ", "
		}
		names += string(k.name)
	}
	return names
}
