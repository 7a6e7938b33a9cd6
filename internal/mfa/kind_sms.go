package mfa

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// SMS is a phone number that receives text messages.
const SMS FactorType = "sms"

// smsKind has the rules of SMS factors. Countersign sends their codes, and the store
// keeps a MAC of each.
type smsKind struct{}

func (smsKind) validate(_ Environment, p EnrollParams) []FieldError {
	switch {
	case p.Challenge:
		return []FieldError{notWithChallenge}
	case p.PhoneNumber == "":
		return []FieldError{{"phone_number", "required", "phone_number is required for an sms factor"}}
	}
	return nil
}

func (smsKind) enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) (err error) {
	if e.Phone, err = s.policy.ParsePhone(env.Tenant(), p.PhoneNumber); err != nil {
		return err
	}
	if env.Production && e.Phone.IsFictional() {
		return invalid("phone_number", "fictional", "phone_number is kept for tests and films, and belongs to no phone: a production environment takes real numbers")
	}
	keys := s.keys.Load()
	e.PhoneHash = HashPhone(keys, env.ID, e.Phone)
	return e.seal(keys, []byte(e.Phone.E164()))
}

// A PhoneHash is the keyed hash of a phone number within an environment, by which operators
// find its factors. The zero value means that it is not known.
type PhoneHash [16]byte

// HashPhone returns the hash of a phone number.
func HashPhone(keys *secret.Keyset, env EnvironmentID, phone delivery.Phone) PhoneHash {
	hash := keys.Index(fmt.Appendf(nil, "factor-phone/%d/%s", env, phone.E164()))
	return PhoneHash(hash[:16])
}

// lacksPhoneHash reports whether an older release enrolled the factor, and its phone number was
// not hashed since.
func (f *Factor) lacksPhoneHash() bool {
	_, ok := f.messenger()
	return ok && f.PhoneHash == PhoneHash{}
}

// issue seals code and text in the first message, for a resend. Replies do not show
// them, so SealedCode stays empty. A challenge without a message has no code: only a bypass
// code can verify it.
func (smsKind) issue(s *Service, _ Environment, _ *Factor, c *IssuedChallenge) (err error) {
	if len(c.Messages) == 0 {
		return nil
	}
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
func (smsKind) check(s *Service, a attempt) (r result, err error) {
	if !a.challenge.matches(s.keys.Load(), a.code) {
		r.wrong = reasonWrongCode
		return r, nil
	}
	a.factor.LastStep = totp.Step(a.now)
	return r, nil
}

var smsMethods = methods{amr: []string{"otp", "sms"}}

func (smsKind) methods(*Factor, *result) methods { return smsMethods }

func (k smsKind) describe(keys *secret.Keyset, f *Factor, _ label) (Details, error) {
	phone, err := k.recipient(keys, f)
	return Details{Factor: *f, Phone: phone}, err
}

func (smsKind) recipient(keys *secret.Keyset, f *Factor) (delivery.Phone, error) {
	number, err := f.open(keys)
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

// Source returns the source for which a message that is sent at now is counted.
func (f *Factor) Source(now time.Time) delivery.Source {
	from := delivery.NewSource(f.ID)
	if f.proven(now) {
		return from.Proven()
	}
	return from
}
