package mfa

import (
	"fmt"
	"time"
)

// GenericOTP is a one-time code that the caller delivers.
const GenericOTP FactorType = "generic_otp"

// genericKind has the rules of GenericOTP factors. Replies show their codes, so the
// store keeps the sealed code next to its MAC.
type genericKind struct{}

func (genericKind) validate(p EnrollParams) []FieldError {
	if p.Challenge {
		return []FieldError{notWithChallenge}
	}
	return nil
}

// enroll has nothing to fill: the caller knows how to reach the owner.
func (genericKind) enroll(*Service, Environment, EnrollParams, *Enrollment) error { return nil }

func (genericKind) issue(s *Service, c *IssuedChallenge) (err error) {
	keys := s.keys.Load()
	c.CodeMAC = keys.MAC(c.codeMessage(c.sent.Reveal()))
	c.Code = c.sent
	if c.SealedCode, err = keys.Seal([]byte(c.sent.Reveal()), c.associated()); err != nil {
		return fmt.Errorf("seal a code: %w", err)
	}
	return nil
}

func (genericKind) check(s *Service, c *Challenge, _ *Factor, code string, _ time.Time) (wrong string, err error) {
	if !c.matches(s.keys.Load(), code) {
		return reasonWrongCode, nil
	}
	return "", nil
}

func (genericKind) describe(_ *Service, f *Factor) (Details, error) {
	return Details{Factor: *f}, nil
}
