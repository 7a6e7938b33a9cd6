package mfa

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/cleantext"
	"github.com/countersign-mfa/countersign/internal/qr"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// TOTP is an authenticator app that shares a secret with Countersign (RFC 6238).
const TOTP FactorType = "totp"

// totpKind has the rules of TOTP factors. No code of theirs is sent or stored.
type totpKind struct{}

// OfTOTP reports whether the challenge asks for a totp code, which is not sent.
func (c *Challenge) OfTOTP() bool { return c.Type == TOTP }

// The maximum lengths, in bytes, of the texts that an app shows. Together with the longest
// user id they fit into a QR code.
const (
	maxIssuer  = 128
	maxAccount = 256
)

func (totpKind) validate(_ Environment, p EnrollParams) (wrong []FieldError) {
	_, wrong = p.appParams()
	for _, f := range []struct {
		name, value string
		most        int
	}{{"totp_issuer", p.Issuer, maxIssuer}, {"totp_user", p.Account, maxAccount}} {
		wrong = append(wrong, checkText(f.name, f.value, f.most)...)
		if strings.Contains(f.value, ":") {
			wrong = append(wrong, FieldError{f.name, "has_colon", f.name + " must not contain a colon: authenticator apps split the issuer from the account there"})
		}
	}
	return wrong
}

func (totpKind) enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) (err error) {
	e.Issuer = firstNonEmpty(p.Issuer, s.opts.Issuer, env.Name)
	// Apps split a label at its colons, which a user id may have.
	user := trimSpaces(strings.ReplaceAll(p.User, ":", "-"))
	e.Account = firstNonEmpty(p.Account, user, "user")
	e.App.Params, _ = p.appParams()
	var key []byte
	if given := p.Secret.Reveal(); given != "" {
		key, err = parseTOTPSecret(given)
	} else {
		key, err = e.App.Hash.NewSecret(s.opts.Rand)
	}
	if err != nil {
		return err
	}
	uri := e.App.URI(e.Issuer, e.Account, key)
	image, err := qr.DataURI(uri)
	if err != nil {
		return fmt.Errorf("draw a QR code: %w", err)
	}
	e.Secret, e.URI, e.QRCode = secret.NewString(totp.EncodeSecret(key)), secret.NewString(uri), secret.NewString(image)
	keys := s.keys.Load()
	if err := e.sealLabel(keys, label{e.Issuer, e.Account, e.Name}); err != nil {
		return err
	}
	return e.seal(keys, key)
}

// appParams returns how the app of a new factor makes codes, and the fields that are wrong.
func (p EnrollParams) appParams() (app totp.Params, wrong []FieldError) {
	switch strings.ToUpper(strings.ReplaceAll(p.Algorithm, "-", "")) {
	case "", "SHA1":
	case "SHA256":
		app.Hash = totp.SHA256
	case "SHA512":
		app.Hash = totp.SHA512
	default:
		wrong = append(wrong, FieldError{"totp_algorithm", "unsupported", "totp_algorithm must be SHA1, SHA256 or SHA512"})
	}
	switch p.Digits {
	case "", "6":
	case "8":
		app.Eight = true
	default:
		wrong = append(wrong, FieldError{"totp_digits", "unsupported", "totp_digits must be 6 or 8"})
	}
	switch p.Period {
	case "", "30":
	case "60":
		app.Minute = true
	default:
		wrong = append(wrong, FieldError{"totp_period", "unsupported", "totp_period must be 30 or 60 seconds"})
	}
	return app, wrong
}

// isImported reports whether the caller chose the secret of p. Only such a secret can be enrolled
// twice.
func (totpKind) isImported(p EnrollParams) bool { return p.Secret.Reveal() != "" }

// isDuplicate reports whether another factor of the user has the secret of e. It compares all.
func (totpKind) isDuplicate(keys *secret.Keyset, e *Enrollment, owned []*Factor) (bool, error) {
	key, err := e.open(keys)
	if err != nil {
		return false, err
	}
	same := 0
	for _, f := range owned {
		if f.Type != TOTP || f.Sealed == nil {
			continue
		}
		other, err := f.open(keys)
		if err != nil {
			return false, err
		}
		same |= subtle.ConstantTimeCompare(key, other)
	}
	return same == 1, nil
}

func (totpKind) refuseDuplicate() error {
	return invalid("totp_secret", "duplicate", "totp_secret is the secret of another authentication factor of this user; delete that one first, or enroll a new secret")
}

func parseTOTPSecret(text string) ([]byte, error) {
	key, err := totp.ParseSecret(cleantext.Clean(text))
	switch {
	case errors.Is(err, totp.ErrSecretTooShort):
		return nil, invalid("totp_secret", "too_short", "totp_secret must have at least 80 bits, which are 16 base32 characters")
	case errors.Is(err, totp.ErrSecretTooLong):
		return nil, invalid("totp_secret", "too_long", "totp_secret must have at most 128 bytes")
	case err != nil:
		return nil, invalid("totp_secret", "not_base32", "totp_secret must be base32: the letters A to Z and the digits 2 to 7")
	}
	return key, nil
}

func (totpKind) issue(_ *Service, _ Environment, _ *Factor, c *IssuedChallenge) error {
	c.sent = secret.String{} // the app has the code
	return nil
}

// Reasons that the answer to a wrong code may show.
const (
	TellSpentCode = reasonSpentCode // the code was right, and was used before
	TellClockSkew = "clock_skew"    // the code would be right at another time
)

// check spends the time step of a right code: it accepts no code of that step again. It
// learns the difference of the app's clock.
func (totpKind) check(s *Service, a attempt) (r result, err error) {
	f, code, now := a.factor, a.code, a.now
	key, err := f.open(s.keys.Load())
	if err != nil {
		return r, err
	}
	window := *s.opts.TOTPWindow
	unit := int(f.App.Period() / totp.Period)
	step, outcome := f.App.Match(key, code, now, window, f.LastStep)
	switch outcome {
	case totp.Right:
		f.LastStep = step
	case totp.Spent:
		r.wrong, r.told = reasonSpentCode, TellSpentCode
	default:
		r.wrong = reasonWrongCode
		miss := f.App.Miss(key, code, now, window)
		r.clockOffset = miss.Offset * unit
		if miss.Tell {
			r.told, r.skew = TellClockSkew, -time.Duration(miss.Behind)*f.App.Period()
		}
		return r, nil
	}
	r.clockOffset = int(step-f.App.Step(now)) * unit
	return r, nil
}

var totpMethods = methods{amr: []string{"otp"}}

func (totpKind) methods(*Factor, *result) methods { return totpMethods }

func (totpKind) describe(_ *secret.Keyset, f *Factor, l label) (Details, error) {
	return Details{Factor: *f, Issuer: l.of, Account: l.account}, nil
}
