package mfa

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// SMS is a phone number that receives text messages.
const SMS FactorType = "sms"

// smsKind has the rules of SMS factors. Countersign sends their codes, and the store
// keeps a MAC of each.
type smsKind struct{}

func (smsKind) validate(p EnrollParams) []FieldError {
	switch {
	case p.Challenge:
		return []FieldError{notWithChallenge}
	case p.PhoneNumber == "":
		return []FieldError{{"phone_number", "required", "phone_number is required for an sms factor"}}
	}
	return nil
}

func (smsKind) enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) (err error) {
	if e.Phone, err = s.policy.ParsePhone(env, p.PhoneNumber); err != nil {
		return err
	}
	if env.Production && e.Phone.IsFictional() {
		return invalid("phone_number", "fictional", "phone_number is kept for tests and films, and belongs to no phone: a production environment takes real numbers")
	}
	return e.seal(s.keys.Load(), []byte(e.Phone.E164()))
}

// issue seals code and text in the first message, for a resend. Replies do not show
// them, so SealedCode stays empty.
func (smsKind) issue(s *Service, c *IssuedChallenge) (err error) {
	keys := s.keys.Load()
	c.CodeMAC = keys.MAC(c.codeMessage(c.sent.Reveal()))
	c.Messages = slices.Clone(c.Messages)
	c.Messages[0].Sealed, err = keys.Seal([]byte(c.sent.Reveal()+c.text.Reveal()), c.associatedMessage())
	if err != nil {
		return fmt.Errorf("seal a code: %w", err)
	}
	return nil
}

// check records the time of a right code, which proves the phone number.
func (smsKind) check(s *Service, c *Challenge, f *Factor, code string, now time.Time) (wrong string, err error) {
	if !c.matches(s.keys.Load(), code) {
		return reasonWrongCode, nil
	}
	f.LastStep = totp.Step(now)
	return "", nil
}

func (k smsKind) describe(s *Service, f *Factor) (Details, error) {
	phone, err := k.recipient(s, f)
	return Details{Factor: *f, Phone: phone}, err
}

func (smsKind) recipient(s *Service, f *Factor) (delivery.Phone, error) {
	number, err := f.open(s.keys.Load())
	if err != nil {
		return delivery.Phone{}, err
	}
	return delivery.NewPhone(string(number)), nil
}

// provenFor is how long a right code proves that the number of an sms factor belongs to
// its owner. Carriers assign numbers to other people after some months.
const provenFor = 180 * 24 * time.Hour

// proven reports whether a code that was sent to the number of an sms factor was
// entered within the last provenFor.
func (f *Factor) proven(now time.Time) bool {
	const most = int64(provenFor / totp.Period)
	return f.LastStep > 0 && totp.Step(now)-f.LastStep < most
}

// source returns the source for which a message that is sent at now is counted.
func (f *Factor) source(now time.Time) delivery.Source {
	from := delivery.NewSource(f.ID)
	if f.proven(now) {
		return from.Proven()
	}
	return from
}
