package passkey

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// maxResponse is the largest response that is read. Responses with an attestation have a few
// kilobytes.
const maxResponse = 64 << 10

// maxPublicKey is the largest COSE key in bytes. An RSA key of 4096 bits has about 530. The time of
// a check grows with the square of the size: with a key of 40,000 bytes it takes seconds.
const maxPublicKey = 600

// maxRSA is the largest RSA key of a certificate in an attestation, in bits.
const maxRSA = 4096

// maxCredentialID is the largest id of a credential (Level 3, 7.1, step 25).
const maxCredentialID = 1023

// An Expectation is what a response must match.
type Expectation struct {
	Challenge    []byte // of the options
	UserHandle   []byte // of the user of the credential
	UserVerified bool   // the authenticator must have verified its user
	Origin       string // the only accepted origin; "": every origin of the site
	// Named means that the user was known before the ceremony. Otherwise the response must
	// contain the user handle, because only it says who signs in.
	Named bool
}

// CheckCreation checks the response to CreationOptions: the JSON of a PublicKeyCredential.
// The caller must refuse a credential whose id is stored already, for any user.
// Error: ErrRefused.
func (p *RelyingParty) CheckCreation(response []byte, want Expectation) (Credential, error) {
	if len(response) > maxResponse {
		return Credential{}, errTooLarge
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Credential{}, unreadable(err)
	}
	if err := refuseSlow(&parsed.Response.AttestationObject); err != nil {
		return Credential{}, err
	}
	user := owner{handle: want.UserHandle}
	session := p.session(want, parsed.Response.CollectedClientData.Origin)
	for _, algorithm := range algorithms {
		session.CredParams = append(session.CredParams, protocol.CredentialParameter{
			Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.COSEAlgorithmIdentifier(algorithm),
		})
	}
	made, err := p.creates.CreateCredential(user, session, parsed)
	if err != nil {
		client, data := &parsed.Response.CollectedClientData, &parsed.Response.AttestationObject.AuthData
		why := p.explain(protocol.CreateCeremony, session, client, data)
		if why == "" {
			why = explainCreation(err, &session, parsed)
		}
		return Credential{}, refused(why, err)
	}
	if !bytes.Equal(made.ID, parsed.RawID) || len(made.ID) == 0 || len(made.ID) > maxCredentialID {
		return Credential{}, &RefusedError{WrongCredentialID, "its id is not that of the new key, or has a wrong length"}
	}
	c := Credential{
		ID:             bytes.Clone(made.ID),
		PublicKey:      bytes.Clone(made.PublicKey),
		SignCount:      made.Authenticator.SignCount,
		Attachment:     string(made.Authenticator.Attachment),
		UserVerified:   made.Flags.UserVerified,
		BackupEligible: made.Flags.BackupEligible,
		BackedUp:       made.Flags.BackupState,
	}
	copy(c.AAGUID[:], made.Authenticator.AAGUID)
	for _, t := range made.Transport {
		c.Transports = append(c.Transports, string(t))
	}
	if p.cfg.Attestation && p.cfg.Models == nil {
		return Credential{}, &RefusedError{WrongAttestation, "the models of authenticators are not known"}
	}
	if err := p.checkModel(&c, &parsed.Response.AttestationObject); err != nil {
		return Credential{}, err
	}
	return c, nil
}

// refuseSlow refuses a response with a key that is so large that its signatures take long to check.
func refuseSlow(o *protocol.AttestationObject) error {
	if len(o.AuthData.AttData.CredentialPublicKey) > maxPublicKey {
		return errLargeKey
	}
	if isSlow(o.Format, o.AttStatement) {
		return errLargeCertificate
	}
	for _, sub := range o.SubStatements {
		if isSlow(sub.Format, sub.AttStatement) {
			return errLargeCertificate
		}
	}
	return nil
}

// isSlow reports whether a statement has a certificate with a large RSA key, or can have one in a place
// that is not read here: SafetyNet, which Google has ended, has certificates in a JWS.
func isSlow(format string, statement map[string]any) bool {
	if protocol.AttestationFormat(format) == protocol.AttestationFormatAndroidSafetyNet {
		return true
	}
	chain, _ := statement["x5c"].([]any)
	for _, c := range chain {
		der, _ := c.([]byte)
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue // the library refuses it
		}
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxRSA {
			return true
		}
	}
	return false
}

var (
	errLargeKey         = &RefusedError{WrongAlgorithm, fmt.Sprintf("its public key is larger than %d bytes", maxPublicKey)}
	errLargeCertificate = &RefusedError{WrongAttestation, fmt.Sprintf("its attestation is SafetyNet, or has an RSA key of more than %d bits", maxRSA)}
)

// A Response is the response to RequestOptions, read but not checked.
type Response struct {
	CredentialID []byte
	UserHandle   []byte // nil if the response does not have one
	parsed       *protocol.ParsedCredentialAssertionData
}

// ReadResponse reads the JSON of a PublicKeyCredential, so the caller can find the stored
// credential. Error: ErrRefused.
func ReadResponse(response []byte) (*Response, error) {
	if len(response) > maxResponse {
		return nil, errTooLarge
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, unreadable(err)
	}
	return &Response{CredentialID: parsed.RawID, UserHandle: parsed.Response.UserHandle, parsed: parsed}, nil
}

// An Assertion is the result of a successful check.
type Assertion struct {
	SignCount    uint32 // to be stored
	BackedUp     bool   // to be stored
	UserVerified bool   // the authenticator has verified its user
	// CounterFell means that the counter did not increase although it is in use. That is
	// refused for a device-bound credential, and no proof of a copy for one that may be
	// copied: then SignCount is the stored one.
	CounterFell bool
}

// Check checks a response of the stored credential. Errors: ErrRefused, ErrCloned.
func (p *RelyingParty) Check(r *Response, stored Credential, want Expectation) (Assertion, error) {
	if !want.Named && len(r.UserHandle) == 0 {
		return Assertion{}, &RefusedError{OtherUser, "it does not name its user"}
	}
	if len(stored.PublicKey) > maxPublicKey { // an earlier release stored it
		return Assertion{}, errLargeKey
	}
	user := owner{handle: want.UserHandle, credential: webauthn.Credential{
		ID:            stored.ID,
		PublicKey:     stored.PublicKey,
		Authenticator: webauthn.Authenticator{SignCount: stored.SignCount, AAGUID: stored.AAGUID[:]},
		Flags:         webauthn.CredentialFlags{BackupEligible: stored.BackupEligible, BackupState: stored.BackedUp},
	}}
	session := p.session(want, r.parsed.Response.CollectedClientData.Origin)
	session.AllowedCredentialIDs = [][]byte{stored.ID}
	used, err := p.library.ValidateLogin(user, session, r.parsed)
	if err != nil {
		return Assertion{}, refused(p.explainUse(err, r, &stored, &want, session), err)
	}
	if used.Authenticator.CloneWarning && !stored.BackupEligible {
		return Assertion{}, ErrCloned
	}
	flags := r.parsed.Response.AuthenticatorData.Flags
	return Assertion{
		SignCount:    used.Authenticator.SignCount,
		BackedUp:     flags.HasBackupState(),
		UserVerified: flags.HasUserVerified(),
		CounterFell:  used.Authenticator.CloneWarning,
	}, nil
}

// session returns what the library expects of a response from an origin. The caller enforces
// its own time limit, so the session does not have one.
func (p *RelyingParty) session(want Expectation, origin string) webauthn.SessionData {
	s := webauthn.SessionData{
		Challenge:        encode(want.Challenge),
		RelyingPartyID:   p.cfg.ID,
		UserID:           want.UserHandle,
		UserVerification: protocol.VerificationPreferred,
	}
	if want.UserVerified {
		s.UserVerification = protocol.VerificationRequired
	}
	switch {
	case want.Origin != "":
		s.Origin = want.Origin
	case p.cfg.AnyPort && isLocalOrigin(origin):
		s.Origin = origin
	}
	return s
}

// owner is the user of a credential in the form of the library.
type owner struct {
	handle     []byte
	credential webauthn.Credential
}

func (o owner) WebAuthnID() []byte          { return o.handle }
func (o owner) WebAuthnName() string        { return "" }
func (o owner) WebAuthnDisplayName() string { return "" }
func (o owner) WebAuthnCredentials() []webauthn.Credential {
	return []webauthn.Credential{o.credential}
}

var errTooLarge = &RefusedError{Unreadable, fmt.Sprintf("it is larger than %d bytes", maxResponse)}
