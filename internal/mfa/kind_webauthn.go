package mfa

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// WebAuthn is a passkey or a security key: a key pair that an authenticator uses only for
// the site for which it made the pair (Web Authentication Level 3).
const WebAuthn FactorType = "webauthn"

// webauthnKind has the rules of WebAuthn factors. Such a factor is pending until its first
// challenge, which asks the browser to create a credential, is verified. Later challenges ask
// the browser to use this credential. Factor.Sealed is the credential, and nil while the factor
// is pending; Factor.Label has the relying party id and the name of the user.
// Challenge.SealedCode is the ceremony.
type webauthnKind struct{}

func (webauthnKind) phishingResistant() bool { return true }

// pendingLife is how long a factor waits for its credential.
const pendingLife = time.Hour

func (webauthnKind) unverifiedLife() time.Duration { return pendingLife }

// PasskeyDetails describe a WebAuthn factor.
type PasskeyDetails struct {
	Site       string              // the relying party id
	User       string              // the name of the user that authenticators show
	Credential *passkey.Credential // nil while the factor is pending
}

// A PasskeyUse is what a right response says about a credential.
type PasskeyUse struct {
	passkey.Credential      // with the counter and the backup state of the response
	UserVerified       bool // the authenticator has verified its user
}

// An UnknownCredential is a credential that no factor of the user has. A browser can tell its
// authenticator to forget it.
type UnknownCredential struct {
	Site string // the relying party id
	ID   []byte
}

// PasskeyParams are the wishes of a caller for a challenge of a WebAuthn factor.
type PasskeyParams struct {
	Origin           string // the only accepted origin; "": every origin of the environment
	UserVerification string // "required", "preferred" or "discouraged"; "": as the environment says
}

// The reasons of wrong responses that package passkey does not know.
const (
	reasonRegistered = "already_registered"            // the factor has a credential
	reasonDuplicate  = "credential_already_registered" // another factor of the user has the credential
	reasonCloned     = "clone_suspected"               // the counter of a device-bound credential did not increase
)

func (webauthnKind) validate(env Environment, p EnrollParams) []FieldError {
	if p.Challenge {
		return []FieldError{notWithChallenge}
	}
	wrong := checkText("webauthn_user", p.PasskeyUser, maxAccount)
	if settingsOf(env).ID == "" {
		wrong = append(wrong, FieldError{"type", "webauthn_not_configured", "type cannot be webauthn yet: an operator must set webauthn_rp_id of this environment to the domain of your pages, such as example.com"})
	}
	return wrong
}

func (webauthnKind) enroll(s *Service, env Environment, p EnrollParams, e *Enrollment) error {
	if settingsOf(env).Attestation && s.opts.Models == nil {
		return invalid("type", "webauthn_not_configured", "type cannot be webauthn yet: webauthn_attestation of this environment is direct, and the server has no file webauthn_mds")
	}
	e.Passkey = PasskeyDetails{Site: settingsOf(env).ID, User: firstNonEmpty(p.PasskeyUser, trimSpaces(p.User), "user")}
	return e.sealLabel(s.keys.Load(), label{e.Passkey.Site, e.Passkey.User, e.Name})
}

func (k webauthnKind) describe(keys *secret.Keyset, f *Factor, l label) (d Details, err error) {
	d.Factor = *f
	d.Passkey.Site, d.Passkey.User = l.of, l.account
	if f.Sealed == nil {
		return d, nil
	}
	d.Passkey.Credential, err = k.credential(keys, f)
	return d, err
}

// site returns the site of a factor, and the name of its user. The factor keeps the relying party
// id with which it was enrolled: no other one can use its credential.
func (webauthnKind) site(s *Service, env Environment, f *Factor) (*passkey.RelyingParty, string, error) {
	l, err := f.openLabel(s.keys.Load())
	if err != nil {
		return nil, "", err
	}
	c := settingsOf(env)
	c.ID, c.Models = l.of, s.opts.Models
	site, err := passkey.New(c)
	if err != nil {
		return nil, "", fmt.Errorf("the webauthn settings of the environment %s: %w", env.Name, err)
	}
	return site, l.account, nil
}

// handle returns the user handle of the owner of f: 32 bytes that do not identify a person.
func (webauthnKind) handle(keys *secret.Keyset, f *Factor) []byte {
	of := fmt.Appendf(nil, "webauthn-user/%d/%s", f.Environment, f.User)
	if f.User == "" {
		of = fmt.Appendf(nil, "webauthn-factor/%s", f.ID)
	}
	sum := keys.Index(of)
	return sum[:]
}

// credential opens the credential of a factor that is not pending.
func (webauthnKind) credential(keys *secret.Keyset, f *Factor) (*passkey.Credential, error) {
	plain, err := f.open(keys)
	if err != nil {
		return nil, err
	}
	c, err := passkey.DecodeCredential(plain)
	if err != nil {
		return nil, fmt.Errorf("read the credential of %s: %w", f.ID, err)
	}
	return &c, nil
}

func (webauthnKind) store(keys *secret.Keyset, f *Factor, c passkey.Credential) error {
	plain, err := c.Encode()
	if err != nil {
		return err
	}
	return f.seal(keys, plain)
}

// A ceremony is what a challenge asks a browser for.
type ceremony struct {
	creates   bool // a new credential
	verifies  bool // the authenticator must verify its user
	challenge [32]byte
	origin    string // the only accepted origin; or ""
	options   []byte // JSON for the browser
}

// The flags of an encoded ceremony.
const (
	createsFlag  = 1
	verifiesFlag = 2
)

// encode returns the flags, the challenge, the origin after its length, and the options.
func (c *ceremony) encode() []byte {
	b := []byte{0}
	if c.creates {
		b[0] |= createsFlag
	}
	if c.verifies {
		b[0] |= verifiesFlag
	}
	b = append(b, c.challenge[:]...)
	b = append(binary.AppendUvarint(b, uint64(len(c.origin))), c.origin...)
	return append(b, c.options...)
}

func decodeCeremony(b []byte) (c ceremony, err error) {
	if len(b) < 1+len(c.challenge) {
		return c, errCeremony
	}
	c.creates, c.verifies = b[0]&createsFlag != 0, b[0]&verifiesFlag != 0
	b = b[1+copy(c.challenge[:], b[1:]):]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return c, errCeremony
	}
	c.origin, c.options = string(b[n:n+int(size)]), b[n+int(size):]
	return c, nil
}

var errCeremony = errors.New("read the ceremony of a challenge: it is cut short")

// The words for ceremonies.
const (
	CeremonyCreate = "create"
	CeremonyGet    = "get"
)

// issue makes the options for the browser. The 32 bytes of their challenge are a keyed hash of
// the random bits of the challenge's id and code: they stay the same if the transaction runs
// again, and only a node with the keyset can calculate them.
func (k webauthnKind) issue(s *Service, env Environment, f *Factor, c *IssuedChallenge) error {
	keys := s.keys.Load()
	site, user, err := k.site(s, env, f)
	if err != nil {
		return err
	}
	verification, err := c.passkey.check(site, env)
	if err != nil {
		return err
	}
	if f.Sealed == nil && c.wants != nil {
		return errReceiptOfRegistration
	}
	asked := ceremony{creates: f.Sealed == nil, verifies: verification == passkey.Required, origin: c.passkey.Origin}
	asked.challenge = keys.Index(fmt.Appendf(nil, "webauthn-challenge/%s/%s", c.ID, c.sent.Reveal()))
	c.sent = secret.String{}
	life := c.ExpiresAt.Sub(c.CreatedAt)
	if asked.creates {
		asked.options, err = k.creation(s, site, f, c, user, asked.challenge[:], verification, life)
	} else {
		var own *passkey.Credential
		if own, err = k.credential(keys, f); err == nil {
			asked.options, err = site.RequestOptions(passkey.Request{
				Challenge: asked.challenge[:], Allow: []passkey.Credential{*own}, UserVerification: verification, Timeout: life,
			})
		}
	}
	if err != nil {
		return err
	}
	plain := asked.encode()
	if c.SealedCode, err = keys.Seal(plain, c.associated()); err != nil {
		return fmt.Errorf("seal a ceremony: %w", err)
	}
	return k.show(c, plain)
}

// creation returns the options that ask for a new credential, on an authenticator without another one
// of the user's.
func (k webauthnKind) creation(s *Service, site *passkey.RelyingParty, f *Factor, c *IssuedChallenge, user string, challenge []byte, v passkey.Requirement, life time.Duration) ([]byte, error) {
	keys := s.keys.Load()
	others, err := k.others(keys, f, c.owned)
	if err != nil {
		return nil, err
	}
	return site.CreationOptions(passkey.Creation{
		Challenge: challenge, User: passkey.User{Handle: k.handle(keys, f), Name: user}, Exclude: others,
		UserVerification: v, ResidentKey: passkey.Discouraged, Timeout: life,
	})
}

// others returns the credentials of the user's other factors, from all factors of the user. It
// returns a *needsOwned if the caller has not read them.
func (k webauthnKind) others(keys *secret.Keyset, f *Factor, owned []*Factor) ([]passkey.Credential, error) {
	if f.User == "" {
		return nil, nil
	}
	if owned == nil {
		return nil, &needsOwned{f.UserKey()}
	}
	var others []passkey.Credential
	for _, o := range owned {
		if o.Type != WebAuthn || o.ID == f.ID || o.Sealed == nil {
			continue
		}
		c, err := k.credential(keys, o)
		if err != nil {
			return nil, err
		}
		others = append(others, *c)
	}
	return others, nil
}

// faults returns an unknown word for the verification of the user. It is an error for every
// kind of factor, because a caller that sends it expects its effect.
func (p PasskeyParams) faults() []FieldError {
	switch passkey.Requirement(p.UserVerification) {
	case "", passkey.Required, passkey.Preferred, passkey.Discouraged:
		return nil
	}
	return []FieldError{{"user_verification", "unknown", "user_verification must be required, preferred or discouraged"}}
}

// check returns the requirement of p for the verification of the user.
func (p PasskeyParams) check(site *passkey.RelyingParty, env Environment) (passkey.Requirement, error) {
	var e InvalidError
	if p.Origin != "" && !site.Accepts(p.Origin) {
		e.Fields = append(e.Fields, FieldError{"origin", "unknown", "origin must be one of the origins of the environment, such as https://example.com"})
	}
	usual := env.Settings.Values().WebAuthnVerification
	verification := passkey.Requirement(firstNonEmpty(p.UserVerification, string(usual)))
	if usual == passkey.Required && verification != passkey.Required {
		e.Fields = append(e.Fields, FieldError{"user_verification", "not_allowed", "user_verification must be required or empty: webauthn_user_verification of this environment is required"})
	}
	if e.Fields != nil {
		return "", &e
	}
	return verification, nil
}

// show shows the options, which are public, as the code. A verified challenge has no use for
// them.
func (webauthnKind) show(c *IssuedChallenge, plain []byte) error {
	asked, err := decodeCeremony(plain)
	if err != nil {
		return err
	}
	c.Code, c.Ceremony = secret.NewString(string(asked.options)), CeremonyGet
	if asked.creates {
		c.Ceremony = CeremonyCreate
	}
	return nil
}

// check checks the JSON of a PublicKeyCredential.
func (k webauthnKind) check(s *Service, a attempt) (r result, err error) {
	keys := s.keys.Load()
	plain, err := keys.Open(a.challenge.SealedCode, a.challenge.associated())
	if err != nil {
		return r, fmt.Errorf("open the ceremony of %s: %w", a.challenge.ID, err)
	}
	asked, err := decodeCeremony(plain)
	if err != nil {
		return r, err
	}
	site, _, err := k.site(s, a.env, a.factor)
	if err != nil {
		return r, err
	}
	want := passkey.Expectation{
		Challenge: asked.challenge[:], UserHandle: k.handle(keys, a.factor), UserVerified: asked.verifies, Origin: asked.origin, Named: true,
	}
	if asked.creates {
		return k.register(keys, site, a, want)
	}
	return k.use(keys, site, a, want)
}

// register checks the response to a create ceremony and stores the credential.
func (k webauthnKind) register(keys *secret.Keyset, site *passkey.RelyingParty, a attempt, want passkey.Expectation) (r result, err error) {
	if a.wants != nil {
		return r, errReceiptOfRegistration
	}
	made, err := site.CheckCreation([]byte(a.sent), want)
	if r.wrong, err = reasonOf(err); r.wrong != "" || err != nil {
		return r, err
	}
	if a.factor.Sealed != nil {
		r.wrong = reasonRegistered
		return r, nil
	}
	others, err := k.others(keys, a.factor, a.owned)
	if err != nil {
		return r, err
	}
	if hasCredential(others, made.ID) {
		r.wrong = reasonDuplicate
		return r, nil
	}
	if err := k.store(keys, a.factor, made); err != nil {
		return r, err
	}
	r.Passkey, r.replyOnly = &PasskeyUse{made, made.UserVerified}, true
	return r, nil
}

// use checks the response to a get ceremony, and stores the counter and the backup state.
func (k webauthnKind) use(keys *secret.Keyset, site *passkey.RelyingParty, a attempt, want passkey.Expectation) (r result, err error) {
	f := a.factor
	own, err := k.credential(keys, f)
	if err != nil {
		return r, err
	}
	response, err := passkey.ReadResponse([]byte(a.sent))
	if r.wrong, err = reasonOf(err); r.wrong != "" || err != nil {
		return r, err
	}
	if !bytes.Equal(response.CredentialID, own.ID) {
		r.wrong = string(passkey.UnknownCredential)
		others, err := k.others(keys, f, a.owned)
		if err != nil {
			return r, err
		}
		// An authenticator forgets an unknown credential, so it must not be one of another factor
		// or of another person.
		if mine := len(response.UserHandle) == 0 || bytes.Equal(response.UserHandle, want.UserHandle); mine && !hasCredential(others, response.CredentialID) {
			r.Unknown = &UnknownCredential{site.ID(), response.CredentialID}
		}
		return r, nil
	}
	got, err := site.Check(response, *own, want)
	if errors.Is(err, passkey.ErrCloned) || got.CounterFell {
		r.events = []Event{{Type: FactorCloneSuspected}}
	}
	if r.wrong, err = reasonOf(err); r.wrong != "" || err != nil {
		return r, err
	}
	if got.SignCount != own.SignCount || got.BackedUp != own.BackedUp {
		own.SignCount, own.BackedUp = got.SignCount, got.BackedUp
		if err := k.store(keys, f, *own); err != nil {
			return r, err
		}
	}
	r.Passkey, r.replyOnly = &PasskeyUse{*own, got.UserVerified}, true
	return r, nil
}

// errReceiptOfRegistration is the error of a receipt for a new credential, which has proven
// nothing about its owner.
var errReceiptOfRegistration = invalid("receipt", "unsupported", "receipt is not possible for the registration of a passkey: challenge the factor again afterwards")

// methods says that the key is in hardware if its credential cannot leave the device.
func (webauthnKind) methods(_ *Factor, r *result) methods {
	m := methods{amr: []string{"pop", "hwk"}, class: "phrh", verified: &r.Passkey.UserVerified}
	if r.Passkey.BackupEligible {
		m.amr[1], m.class = "swk", "phr"
	}
	if *m.verified {
		m.amr = append(m.amr, "user")
	}
	return m
}

func hasCredential(all []passkey.Credential, id []byte) bool {
	for i := range all {
		if bytes.Equal(all[i].ID, id) {
			return true
		}
	}
	return false
}

// reasonOf returns the reason of a refused response, "" for an accepted one, and every other
// error.
func reasonOf(err error) (string, error) {
	if errors.Is(err, passkey.ErrCloned) {
		return reasonCloned, nil
	}
	if refused, ok := errors.AsType[*passkey.RefusedError](err); ok {
		return string(refused.Reason), nil
	}
	return "", err
}
