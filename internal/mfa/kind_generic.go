package mfa

import (
	"fmt"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// GenericOTP is a one-time code that the caller delivers.
const GenericOTP FactorType = "generic_otp"

// genericKind has the rules of GenericOTP factors. Replies show their codes, so the
// store keeps the sealed code next to its MAC.
type genericKind struct{}

func (genericKind) validate(_ Environment, p EnrollParams) []FieldError {
	if p.Challenge {
		return []FieldError{notWithChallenge}
	}
	return nil
}

// enroll has nothing to fill: the caller knows how to reach the owner.
func (genericKind) enroll(*Service, Environment, EnrollParams, *Enrollment) error { return nil }

func (genericKind) issue(s *Service, _ Environment, _ *Factor, c *IssuedChallenge) (err error) {
	keys := s.keys.Load()
	c.CodeMAC = keys.MAC(c.codeMessage(c.sent.Reveal()))
	c.Code = c.sent
	if c.SealedCode, err = keys.Seal([]byte(c.sent.Reveal()), c.associated()); err != nil {
		return fmt.Errorf("seal a code: %w", err)
	}
	return nil
}

func (genericKind) check(s *Service, a attempt) (r result, err error) {
	switch {
	case !a.challenge.matches(s.keys.Load(), a.code):
		r.wrong = reasonWrongCode
	case a.challenge.SealedCode != nil: // the reply shows the same code, without opening it
		r.code = secret.NewString(a.code)
	}
	return r, nil
}

// The caller delivers the code, and may know more about the way.
var genericMethods = methods{amr: []string{"otp"}}

func (genericKind) methods(*Factor, *result) methods { return genericMethods }

func (genericKind) describe(_ *secret.Keyset, f *Factor, _ label) (Details, error) {
	return Details{Factor: *f}, nil
}
