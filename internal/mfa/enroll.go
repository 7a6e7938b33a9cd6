package mfa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/cleantext"
	"github.com/countersign-mfa/countersign/internal/qr"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// EnrollParams say what to enroll; which of them count depends on Type.
type EnrollParams struct {
	Type        FactorType
	User        string        // the caller's own id of the owner; "" for none
	Issuer      string        // totp: default Options.Issuer, or the environment's name
	Account     string        // totp: default the user with hyphens for colons, or "user"
	Secret      secret.String // totp: an existing secret in base32; default a new one
	PhoneNumber string        // sms: in international form
	Challenge   bool          // create the first challenge as well
}

// Details are a factor with what is sealed in it, as far as its owner may see it
// again.
type Details struct {
	Factor
	Issuer  string // totp: who the code is for, as the app shows it
	Account string // totp: whose account, as the app shows it
	Phone   Phone  // sms
}

// An Enrollment is a new factor, with what is shown only once.
type Enrollment struct {
	Details
	Secret    secret.String // totp: in base32
	URI       secret.String // totp: what the QR code says, otpauth://totp/...
	QRCode    secret.String // totp: a PNG image as a data URI
	Challenge *Issued       // if it was asked for
}

// made returns the id of what is new.
func (e Enrollment) made() [16]byte { return e.ID }

// The most bytes of what callers name; the longest of all three still fits a QR code.
const (
	maxUser    = 256
	maxIssuer  = 128
	maxAccount = 256
)

// showSecret is how long a repeated request is shown the secret that the first one was
// given. Clients retry within two minutes; after that, a secret that can be read again
// only helps someone who finds the idempotency key.
const showSecret = 10 * time.Minute

// Enroll creates a factor. The error is an ErrInvalid that names what is wrong.
func (s *Service) Enroll(ctx context.Context, env Environment, p EnrollParams, once *Once[Enrollment]) (Enrollment, error) {
	p.Issuer, p.Account = trimSpaces(p.Issuer), trimSpaces(p.Account)
	// The requests of two people can be equal, and a derived key with them. Neither may
	// be given the factor or the secret of the other, so each request makes a factor.
	if once != nil && once.Derived {
		once = nil
	}
	once = keyed(s, once)
	if once != nil && p.Type == TOTP {
		once.show = showSecret
	}
	return s.enroll(ctx, env, p, once)
}

func (s *Service) enroll(ctx context.Context, env Environment, p EnrollParams, once *Once[Enrollment]) (Enrollment, error) {
	now := s.now()
	e, err := s.newEnrollment(env, p, once, now)
	if err != nil {
		return Enrollment{}, err
	}
	if err := claim(ctx, s, once, now); err != nil {
		return Enrollment{}, err
	}
	bucket := e.ID.Bucket()
	events, err := s.journal(env.ID, now, bucket)
	if err != nil {
		return Enrollment{}, err
	}
	former := s.former(e.UserKey())
	return decide(ctx, s, Read{Bucket: bucket}, once, now, func(tx *Tx) (Enrollment, error) {
		tx.put(InsertFactor{&e.Factor})
		if key := e.UserKey(); key != (UserKey{}) {
			tx.put(RestoreUser{key, former})
		}
		events.append(tx, Event{Type: FactorEnrolled, Factor: e.ID, Reason: string(e.Type)})
		if c := e.Challenge; c != nil {
			tx.put(InsertChallenge{&c.Challenge})
			events.append(tx, Event{Type: ChallengeCreated, Factor: e.ID, Challenge: c.ID})
		}
		return e, nil
	})
}

// newEnrollment makes all that an enrollment needs, so that storing it draws nothing.
func (s *Service) newEnrollment(env Environment, p EnrollParams, once *Once[Enrollment], now time.Time) (e Enrollment, err error) {
	if err := p.check(); err != nil {
		return e, err
	}
	e.Factor = Factor{Environment: env.ID, Type: p.Type, User: p.User, CreatedAt: now, UpdatedAt: now}
	bucket, err := s.enrollBucket(env.ID, p.User, once)
	if err != nil {
		return e, err
	}
	id, err := s.ids.next(now, bucket)
	if err != nil {
		return e, err
	}
	e.ID = id
	if once != nil {
		e.Replay = once.key
	}
	switch p.Type {
	case TOTP:
		err = s.fillTOTP(&e, env, p)
	case SMS:
		err = s.fillSMS(&e, env, p)
	}
	if err != nil || !p.Challenge {
		return e, err
	}
	c, err := s.newChallenge(bucket, now)
	if err != nil {
		return e, err
	}
	c, err = s.sealCode(c, &e.Factor)
	e.Challenge = &c
	return e, err
}

// enrollBucket places a factor with its user's others, or else where a repetition
// of the request will look for it, or anywhere.
func (s *Service) enrollBucket(env EnvironmentID, user string, once *Once[Enrollment]) (Bucket, error) {
	switch {
	case user != "":
		return UserBucket(env, user), nil
	case once != nil:
		return once.key.bucket(), nil
	}
	var b [2]byte
	if _, err := io.ReadFull(s.opts.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw a bucket: %w", err)
	}
	return Bucket(uint16(b[0])<<8|uint16(b[1])) % Buckets, nil
}

func (s *Service) fillTOTP(e *Enrollment, env Environment, p EnrollParams) (err error) {
	e.Issuer = firstNonEmpty(p.Issuer, s.opts.Issuer, env.Name)
	// A user id is not made for apps, which split a label at its colons.
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
	if err := s.sealLabel(&e.Factor, e.Issuer, e.Account); err != nil {
		return err
	}
	return s.seal(&e.Factor, key)
}

// sealLabel keeps issuer and account, which often name a person, as one sealed value:
// the length of the issuer, and both.
func (s *Service) sealLabel(f *Factor, issuer, account string) (err error) {
	plain := append(binary.AppendUvarint(nil, uint64(len(issuer))), issuer+account...)
	if f.Label, err = s.keys.Load().Seal(plain, f.associatedLabel()); err != nil {
		return fmt.Errorf("seal the label of a factor: %w", err)
	}
	return nil
}

func (s *Service) openLabel(f *Factor) (issuer, account string, err error) {
	if f.Label == nil {
		return f.Old.Issuer, f.Old.Account, nil
	}
	plain, err := s.keys.Load().Open(f.Label, f.associatedLabel())
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

func (s *Service) fillSMS(e *Enrollment, env Environment, p EnrollParams) (err error) {
	if e.Phone, err = s.parsePhone(env, p.PhoneNumber); err != nil {
		return err
	}
	if env.Production && fictional.MatchString(e.Phone.E164()) {
		return invalid("phone_number", "fictional", "phone_number is kept for tests and films, and belongs to no phone: a production environment takes real numbers")
	}
	return s.seal(&e.Factor, []byte(e.Phone.E164()))
}

func (s *Service) seal(f *Factor, plain []byte) (err error) {
	if f.Sealed, err = s.keys.Load().Seal(plain, f.associated()); err != nil {
		return fmt.Errorf("seal factor: %w", err)
	}
	return nil
}

func (s *Service) open(f *Factor) ([]byte, error) {
	plain, err := s.keys.Load().Open(f.Sealed, f.associated())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.ID, err)
	}
	return plain, nil
}

// details opens what the owner of a factor may see again.
func (s *Service) details(f *Factor) (Details, error) {
	d := Details{Factor: *f}
	switch f.Type {
	case TOTP:
		var err error
		d.Issuer, d.Account, err = s.openLabel(f)
		return d, err
	case SMS:
		number, err := s.open(f)
		if err != nil {
			return d, err
		}
		d.Phone = newPhone(string(number))
	}
	return d, nil
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

// check names every field that is wrong.
func (p EnrollParams) check() error {
	var e InvalidError
	add := func(field, code, message string) { e.Fields = append(e.Fields, FieldError{field, code, message}) }
	text := func(field, value string, most int) {
		switch {
		case !isPlainText(value):
			add(field, "invalid_characters", field+" must be plain text without control characters")
		case len(value) > most:
			add(field, "too_long", fmt.Sprintf("%s must have at most %d bytes", field, most))
		}
	}
	types := []FactorType{TOTP, SMS, GenericOTP}
	switch {
	case p.Type == "":
		add("type", "required", "type is required: totp, sms or generic_otp")
	case !slices.Contains(types, p.Type):
		add("type", "unsupported", "type must be totp, sms or generic_otp")
	case p.Challenge && p.Type != TOTP:
		add("type", "unsupported", "type must be totp here")
	case p.Type == SMS && p.PhoneNumber == "":
		add("phone_number", "required", "phone_number is required for an sms factor")
	}
	text("user_id", p.User, maxUser)
	if p.Type == TOTP {
		for _, f := range []struct {
			name, value string
			most        int
		}{{"totp_issuer", p.Issuer, maxIssuer}, {"totp_user", p.Account, maxAccount}} {
			text(f.name, f.value, f.most)
			if strings.Contains(f.value, ":") {
				add(f.name, "has_colon", f.name+" must not contain a colon: authenticator apps split the issuer from the account there")
			}
		}
	}
	if e.Fields != nil {
		return &e
	}
	return nil
}

// isPlainText refuses control characters, and what decoders put in place of text
// that they cannot read: two different names would become one.
func isPlainText(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// trimSpaces removes the spaces around s, but no control characters, which are errors.
func trimSpaces(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.Is(unicode.Zs, r) })
}

func firstNonEmpty(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
