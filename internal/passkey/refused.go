package passkey

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// The kinds of refusal of a response.
var (
	ErrRefused = errors.New("the response of the passkey is refused")
	// ErrCloned means that a device-bound credential answered with a signature counter that is
	// not larger than the stored one: probably there are two copies of its key.
	ErrCloned = errors.New("the passkey may have been cloned: its counter did not increase")
)

// A Reason says in one word why a response is refused.
type Reason string

// The reasons, in the order of the steps that check them.
const (
	Unreadable        Reason = "unreadable_response"
	UnknownCredential Reason = "unknown_credential" // not the one that was asked for
	OtherUser         Reason = "wrong_user"
	WrongCeremony     Reason = "wrong_ceremony"
	WrongChallenge    Reason = "wrong_challenge"
	WrongOrigin       Reason = "wrong_origin"
	CrossOrigin       Reason = "cross_origin" // in a frame of a page of another origin
	WrongSite         Reason = "wrong_rp_id"
	NotPresent        Reason = "user_not_present"
	NotVerified       Reason = "user_not_verified"
	WrongBackupFlags  Reason = "backup_eligibility_changed" // or flags that contradict each other
	WrongAlgorithm    Reason = "unsupported_algorithm"
	WrongAttestation  Reason = "untrusted_attestation"
	ModelNotAllowed   Reason = "authenticator_not_allowed"
	WrongCredentialID Reason = "wrong_credential_id"
	WrongSignature    Reason = "wrong_signature"
)

// A RefusedError is an ErrRefused with its reason.
type RefusedError struct {
	Reason Reason
	detail string // for a log; it contains no challenge and no key
}

func (e *RefusedError) Error() string { return ErrRefused.Error() + ": " + e.detail }

// Is reports that e is an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// refused returns a RefusedError with the summary of the library. Its details are left out: they
// repeat challenges.
func refused(why Reason, err error) error {
	detail := "it cannot be read"
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		detail = e.Details
	}
	return &RefusedError{why, detail}
}

func unreadable(err error) error { return refused(Unreadable, err) }

// explain returns the first of the checks that both ceremonies have and that a refused
// response does not pass, or "" if it passes them all.
func (p *RelyingParty) explain(ceremony protocol.CeremonyType, s webauthn.SessionData, c *protocol.CollectedClientData, a *protocol.AuthenticatorData) Reason {
	site := sha256.Sum256([]byte(p.cfg.ID))
	origins := s.GetOrigins(slices.Concat(p.library.Config.RPOrigins, p.library.Config.RPOpaqueOrigins))
	switch {
	case c.Type != ceremony:
		return WrongCeremony
	case c.Challenge != s.Challenge:
		return WrongChallenge
	case !protocol.IsOriginInHaystack(c.Origin, origins):
		return WrongOrigin
	case c.CrossOrigin || c.TopOrigin != "":
		return CrossOrigin
	case !bytes.Equal(a.RPIDHash, site[:]):
		return WrongSite
	case !a.Flags.HasUserPresent():
		return NotPresent
	case s.UserVerification == protocol.VerificationRequired && !a.Flags.HasUserVerified():
		return NotVerified
	case !a.Flags.HasBackupEligible() && a.Flags.HasBackupState():
		return WrongBackupFlags
	}
	return ""
}

// explainCreation returns why the library refused a creation that passes explain.
func explainCreation(err error, s *webauthn.SessionData, parsed *protocol.ParsedCredentialCreationData) Reason {
	key, failed := webauthncose.ParsePublicKey(parsed.Response.AttestationObject.AuthData.AttData.CredentialPublicKey)
	if failed != nil || !isRequested(key, s.CredParams) {
		return WrongAlgorithm
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Type == protocol.ErrBadRequest.Type {
		return Unreadable
	}
	return WrongAttestation
}

func isRequested(key any, params []protocol.CredentialParameter) bool {
	var algorithm int64
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.OKPPublicKeyData:
		algorithm = k.Algorithm
	case webauthncose.RSAPublicKeyData:
		algorithm = k.Algorithm
	}
	return slices.ContainsFunc(params, func(p protocol.CredentialParameter) bool { return int64(p.Algorithm) == algorithm })
}

// explainUse returns why the library refused a use of a stored credential.
func (p *RelyingParty) explainUse(err error, r *Response, stored *Credential, want *Expectation, s webauthn.SessionData) Reason {
	data := &r.parsed.Response.AuthenticatorData
	if !bytes.Equal(r.CredentialID, stored.ID) {
		return UnknownCredential
	}
	if len(r.UserHandle) > 0 && !bytes.Equal(r.UserHandle, want.UserHandle) {
		return OtherUser
	}
	if why := p.explain(protocol.AssertCeremony, s, &r.parsed.Response.CollectedClientData, data); why != "" {
		return why
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Type == protocol.ErrAssertionSignature.Type {
		return WrongSignature
	}
	if data.Flags.HasBackupEligible() != stored.BackupEligible {
		return WrongBackupFlags
	}
	return Unreadable
}
