package mfa

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// EnrollParams describe a new factor. Type decides which fields are used.
type EnrollParams struct {
	Type        FactorType
	User        string        // the caller's own id of the owner; may be ""
	Name        string        // by which the owner recognizes the factor; may be ""
	Issuer      string        // totp: default Options.Issuer, or the environment's name
	Account     string        // totp: default the user with hyphens for colons, or "user"
	Secret      secret.String // totp: an existing secret in base32; default a new one
	Algorithm   string        // totp: "SHA1", which is the default, "SHA256" or "SHA512"
	Digits      string        // totp: the length of a code, "6", which is the default, or "8"
	Period      string        // totp: the length of a time step, "30" seconds, which is the default, or "60"
	PhoneNumber string        // sms: in international form
	PasskeyUser string        // webauthn: the name of the user that authenticators show; default the user, or "user"
	Challenge   bool          // also create the first challenge
}

// Details are a factor with the sealed values that its owner may see again.
type Details struct {
	Factor
	Status  FactorStatus   // when it was read
	Name    string         // see EnrollParams
	Issuer  string         // totp: the service that the code is for, as the app shows it
	Account string         // totp: the name of the account, as the app shows it
	Phone   delivery.Phone // sms
	Passkey PasskeyDetails // webauthn

	Recovery *RecoveryState // recovery_codes; otherwise nil
}

// An Enrollment is a new factor, with the values that are shown only once.
type Enrollment struct {
	Details
	Secret    secret.String    // totp: in base32
	URI       secret.String    // totp: the content of the QR code, otpauth://totp/...
	QRCode    secret.String    // totp: a PNG image as a data URI
	Challenge *IssuedChallenge // if EnrollParams.Challenge is set

	Duplicate bool // totp: another factor of the user has the same secret; only if the environment flags it

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero
}

func (e Enrollment) created() [16]byte { return e.ID }

func (Enrollment) undecided() bool { return false }

func (Enrollment) marked() bool { return false }

func (Enrollment) replayed(a *idempotency.Answer) Enrollment { return Enrollment{Replayed: a} }

// maxUser is the maximum length of a user id in bytes.
const maxUser = 256

// showSecret is how long the reply to a repeated request shows the secret again. Clients
// retry within two minutes; later, it would only help an attacker who finds the
// idempotency key.
const showSecret = 10 * time.Minute

// Enroll creates a factor. The error is an ErrInvalid that names the wrong fields.
func (s *Service) Enroll(ctx context.Context, by Caller, p EnrollParams, req *idempotency.Request[Enrollment]) (Enrollment, error) {
	p.Issuer, p.Account, p.PasskeyUser, p.Name = trimSpaces(p.Issuer), trimSpaces(p.Account), trimSpaces(p.PasskeyUser), trimSpaces(p.Name)
	// The requests of two people can be equal, and so can their derived keys. Neither person
	// may get the factor or the secret of the other, so each request creates a factor.
	once := begin(s, idempotency.Policy{Derived: false}, req)
	now := s.now()
	e, err := s.newEnrollment(by.Environment, p, once, now)
	if err != nil {
		return Enrollment{}, err
	}
	if once != nil && e.Secret.Reveal() != "" {
		once = once.Show(showSecret)
	}
	if p.User != "" { // otherwise the key itself determines the bucket
		if answer, err := claim(ctx, s, once, now); answer != nil || err != nil {
			return Enrollment{Replayed: answer}, err
		}
	}
	bucket := e.ID.Bucket()
	events := journal{by: by, at: now, bucket: bucket}
	former, person := "", PersonKey{}
	if p.User != "" {
		former, person = s.former(e.UserKey()), PersonOf(s.keys.Load(), e.UserKey())
	}
	// The row of the user is read for its lock: if another node deletes the user's last
	// factor now, either it sees this one, or its failures are found under the former name.
	r := Read{Bucket: bucket, User: e.UserKey()}
	most := by.Settings.Values().MaxFactorsPerUser
	if p.User != "" {
		r.Owned = Owned{User: e.UserKey(), Most: most}
	}
	policy := by.Settings.Values().DuplicateSeed
	kind, _ := findKind(p.Type)
	imports, ok := kind.(importing)
	compare := ok && policy != SeedAllow && p.User != "" && imports.isImported(p)
	r.Owned.All = compare
	return decide(ctx, s, r, once, now, func(tx *Tx) (Enrollment, error) {
		if tx.Owned >= most {
			return Enrollment{}, invalid("user_id", "too_many_factors", fmt.Sprintf("user_id has %d authentication factors, as many as a user may have; delete one first", most))
		}
		enrolled := Event{Type: FactorEnrolled, Factor: e.ID, Kind: e.Type}
		if compare {
			twice, err := imports.isDuplicate(s.keys.Load(), e, tx.AllOwned)
			switch {
			case err != nil:
				return Enrollment{}, err
			case twice && policy == SeedRefuse:
				return Enrollment{}, imports.refuseDuplicate()
			case twice:
				enrolled.Reason = reasonDuplicateSeed
			}
			e.Duplicate = twice
		}
		tx.put(InsertFactor{&e.Factor})
		if key := e.UserKey(); key != (UserKey{}) {
			tx.put(RestoreUser{key, former})
			tx.put(CancelErasure{bucket, person})
		}
		events.append(tx, enrolled)
		if c := e.Challenge; c != nil {
			tx.put(InsertChallenge{&c.Challenge})
			events.append(tx, Event{Type: ChallengeCreated, Factor: e.ID, Challenge: c.ID, Kind: e.Type})
		}
		return *e, nil
	})
}

// newEnrollment prepares a complete enrollment. The transaction that stores it needs no
// random numbers.
func (s *Service) newEnrollment(env Environment, p EnrollParams, once *idempotency.Operation[Enrollment], now time.Time) (*Enrollment, error) {
	kind, err := p.check(env)
	if err != nil {
		return nil, err
	}
	e := new(Enrollment)
	e.Status, e.Name = StatusUnverified, p.Name
	e.Factor = Factor{Environment: env.ID, Type: p.Type, User: p.User, CreatedAt: now, FactorState: FactorState{UpdatedAt: now}}
	bucket, err := s.enrollBucket(env.ID, p.User, once)
	if err != nil {
		return nil, err
	}
	id, err := s.ids.Next(now, bucket)
	if err != nil {
		return nil, err
	}
	e.ID = id
	mark(&e.ID, kind)
	if life := unverifiedLife(env, kind); life > 0 {
		e.ExpiresAt = now.Add(life)
	}
	if once != nil {
		e.Replay = once.Key
	}
	if err := kind.enroll(s, env, p, e); err != nil {
		return e, err
	}
	if e.Name != "" && e.Label == nil { // the kind has no label
		if err := e.sealLabel(s.keys.Load(), label{name: e.Name}); err != nil {
			return e, err
		}
	}
	if !p.Challenge {
		return e, nil
	}
	c, err := s.newChallenge(bucket, now)
	if err != nil {
		return nil, err
	}
	e.Challenge = &c
	c.Factor, c.Type = e.ID, e.Type
	return e, kind.issue(s, env, &e.Factor, &c)
}

// enrollBucket returns the bucket of a new factor: that of its user; without a user, that
// of the idempotency key, where a repeated request looks for it; otherwise a random one.
func (s *Service) enrollBucket(env EnvironmentID, user string, once *idempotency.Operation[Enrollment]) (Bucket, error) {
	switch {
	case user != "":
		return UserBucket(env, user), nil
	case once != nil:
		return keyBucket(once.Key), nil
	}
	var b [2]byte
	if _, err := io.ReadFull(s.opts.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("draw a bucket: %w", err)
	}
	return Bucket(uint16(b[0])<<8|uint16(b[1])) % Buckets, nil
}

// notWithChallenge is the error of a kind that cannot be enrolled together with its first
// challenge.
var notWithChallenge = FieldError{"type", "unsupported", "type must be totp here"}

// check returns the rules of the factor's kind, or an *InvalidError with every field
// that is wrong.
func (p EnrollParams) check(env Environment) (kind, error) {
	var wrong []FieldError
	k, ok := findKind(p.Type)
	switch {
	case ok:
		wrong = k.validate(env, p)
	case p.Type == "":
		wrong = []FieldError{{"type", "required", "type is required: " + typeNames()}}
	default:
		wrong = []FieldError{{"type", "unsupported", "type must be " + typeNames()}}
	}
	wrong = append(append(wrong, checkText("user_id", p.User, maxUser)...), checkName(p.Name)...)
	if wrong == nil {
		return k, nil
	}
	slices.SortStableFunc(wrong, func(a, b FieldError) int {
		return slices.Index(enrollFields, a.Field) - slices.Index(enrollFields, b.Field)
	})
	return nil, &InvalidError{Fields: wrong}
}

// enrollFields is the order in which a reply lists the fields that are wrong.
var enrollFields = []string{
	"type", "phone_number", "user_id", "name", "totp_issuer", "totp_user", "totp_algorithm", "totp_digits", "totp_period", "webauthn_user",
}

// checkText returns the fault of a text that a caller chose, if there is one; most is the
// limit in bytes.
func checkText(field, value string, most int) []FieldError {
	switch {
	case !isPlainText(value):
		return []FieldError{{field, "invalid_characters", field + " must be plain text without control characters"}}
	case len(value) > most:
		return []FieldError{{field, "too_long", fmt.Sprintf("%s must have at most %d bytes", field, most)}}
	}
	return nil
}

// maxName is the maximum length of the name of a factor in characters.
const maxName = 100

// checkName returns the fault of the name of a factor, if there is one.
func checkName(name string) []FieldError {
	if utf8.RuneCountInString(name) > maxName {
		return []FieldError{{"name", "too_long", fmt.Sprintf("name must have at most %d characters", maxName)}}
	}
	return checkText("name", name, maxName*utf8.UTFMax)
}

// isPlainText reports whether s has neither control characters nor the character that
// decoders write in place of unreadable text, which would make two names equal.
func isPlainText(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// trimSpaces removes the spaces around s, but not control characters, which are errors.
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
