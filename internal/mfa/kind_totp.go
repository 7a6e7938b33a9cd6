package mfa

import (
	"encoding/binary"
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

func (totpKind) validate(p EnrollParams) (wrong []FieldError) {
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
	var key []byte
	if given := p.Secret.Reveal(); given != "" {
		key, err = parseTOTPSecret(given)
	} else {
		key, err = totp.NewSecret(s.opts.Rand)
	}
	if err != nil {
		return err
	}
	uri := totp.URI(e.Issuer, e.Account, key)
	image, err := qr.DataURI(uri)
	if err != nil {
		return fmt.Errorf("draw a QR code: %w", err)
	}
	e.Secret, e.URI, e.QRCode = secret.NewString(totp.EncodeSecret(key)), secret.NewString(uri), secret.NewString(image)
	keys := s.keys.Load()
	if err := e.sealLabel(keys, e.Issuer, e.Account); err != nil {
		return err
	}
	return e.seal(keys, key)
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

func (totpKind) issue(_ *Service, c *IssuedChallenge) error {
	c.sent = secret.String{} // the app has the code
	return nil
}

// check spends the time step of a right code: it accepts no code of that step again.
func (totpKind) check(s *Service, _ *Challenge, f *Factor, code string, now time.Time) (wrong string, err error) {
	key, err := f.open(s.keys.Load())
	if err != nil {
		return "", err
	}
	step, outcome := totp.Match(key, code, now, *s.opts.TOTPWindow, f.LastStep)
	switch outcome {
	case totp.Right:
		f.LastStep = step
		return "", nil
	case totp.Spent:
		return reasonSpentCode, nil
	}
	return reasonWrongCode, nil
}

func (totpKind) describe(s *Service, f *Factor) (Details, error) {
	issuer, account, err := f.openLabel(s.keys.Load())
	return Details{Factor: *f, Issuer: issuer, Account: account}, err
}

// sealLabel seals issuer and account, which often name a person, as one value: the
// length of the issuer, and both texts.
func (f *Factor) sealLabel(keys *secret.Keyset, issuer, account string) (err error) {
	plain := append(binary.AppendUvarint(nil, uint64(len(issuer))), issuer+account...)
	if f.Label, err = keys.Seal(plain, f.associatedLabel()); err != nil {
		return fmt.Errorf("seal the label of a factor: %w", err)
	}
	return nil
}

func (f *Factor) openLabel(keys *secret.Keyset) (issuer, account string, err error) {
	if f.Label == nil {
		return f.Old.Issuer, f.Old.Account, nil
	}
	plain, err := keys.Open(f.Label, f.associatedLabel())
	if err != nil {
		return "", "", fmt.Errorf("open the label of %s: %w", f.ID, err)
	}
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return "", "", fmt.Errorf("open the label of %s: it is cut short", f.ID)
	}
	text := string(plain[n:])
	return text[:size], text[size:], nil
}

// resealLabel seals the label of a factor again under the newest key; a factor without
// a label stays as it is.
func (f *Factor) resealLabel(keys *secret.Keyset) error {
	issuer, account, err := f.openLabel(keys)
	if err != nil || f.Label == nil && issuer == "" && account == "" {
		return err
	}
	return f.sealLabel(keys, issuer, account)
}
