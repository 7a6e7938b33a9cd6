package httpapi

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// appendKinds has a function for each kind of factor that shows data. The function appends
// a comma, the name of the kind and an object to the JSON of a factor. e is nil except for
// a new factor. A kind without data, such as generic_otp, is not in the table.
var appendKinds = map[mfa.FactorType]func(b []byte, d *mfa.Details, e *mfa.Enrollment) []byte{
	mfa.TOTP:     appendTOTP,
	mfa.SMS:      appendSMS,
	mfa.WebAuthn: appendWebAuthn,

	mfa.RecoveryCodes: appendRecoveryState,
}

func appendTOTP(b []byte, d *mfa.Details, e *mfa.Enrollment) []byte {
	b = append(b, `,"totp":{"issuer":`...)
	b = appendString(b, d.Issuer)
	b = append(b, `,"user":`...)
	b = appendString(b, d.Account)
	if p := d.App.Params; p != (totp.Params{}) { // not in WorkOS
		b = append(b, `,"algorithm":"`...)
		b = append(b, p.Hash.String()...)
		b = append(b, `","digits":`...)
		b = strconv.AppendInt(b, int64(p.Digits()), 10)
		b = append(b, `,"period":`...)
		b = strconv.AppendInt(b, int64(p.Period()/time.Second), 10)
	}
	if e != nil {
		b = append(b, `,"secret":`...)
		b = appendString(b, e.Secret.Reveal())
		b = append(b, `,"qr_code":`...)
		b = appendString(b, e.QRCode.Reveal())
		b = append(b, `,"uri":`...)
		b = appendString(b, e.URI.Reveal())
		if e.Duplicate { // not in WorkOS
			b = append(b, `,"duplicate_secret":true`...)
		}
	}
	return append(b, '}')
}

// appendRecoveryState shows how many codes are left.
func appendRecoveryState(b []byte, d *mfa.Details, _ *mfa.Enrollment) []byte {
	b = append(b, `,"recovery_codes":{`...)
	b = appendRecoveryNumbers(b, d.Recovery)
	return append(b, '}')
}

func appendSMS(b []byte, d *mfa.Details, _ *mfa.Enrollment) []byte {
	b = append(b, `,"sms":{"phone_number":`...)
	b = appendString(b, d.Phone.E164())
	return append(b, '}')
}

func appendWebAuthn(b []byte, d *mfa.Details, _ *mfa.Enrollment) []byte {
	status := "pending"
	if d.Passkey.Credential != nil {
		status = "registered"
	}
	b = append(b, `,"webauthn":{"status":`...)
	b = appendString(b, status)
	b = append(b, `,"rp_id":`...)
	b = appendString(b, d.Passkey.Site)
	b = append(b, `,"user":`...)
	b = appendString(b, d.Passkey.User)
	if c := d.Passkey.Credential; c != nil {
		b = append(b, ',')
		b = appendCredential(b, c)
	}
	return append(b, '}')
}

// appendCredential appends what a credential and its authenticator say about themselves.
func appendCredential(b []byte, c *passkey.Credential) []byte {
	b = append(b, `"backup_eligible":`...)
	b = strconv.AppendBool(b, c.BackupEligible)
	b = append(b, `,"backed_up":`...)
	b = strconv.AppendBool(b, c.BackedUp)
	b = append(b, `,"sign_count":`...)
	b = strconv.AppendUint(b, uint64(c.SignCount), 10)
	b = append(b, `,"aaguid":"`...)
	b = appendUUID(b, c.AAGUID)
	b = append(b, `","attachment":`...)
	if c.Attachment == "" {
		return append(b, "null"...)
	}
	return appendString(b, c.Attachment)
}

func appendUUID(b []byte, id [16]byte) []byte {
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// appendExtras appends the values that only the verifications of some kinds have.
func appendExtras(b []byte, x *mfa.Extras) []byte {
	if p := x.Passkey; p != nil {
		b = append(b, `,"webauthn":{"user_verified":`...)
		b = strconv.AppendBool(b, p.UserVerified)
		b = append(b, ',')
		b = appendCredential(b, &p.Credential)
		b = append(b, '}')
	}
	if u := x.Unknown; u != nil { // the argument of PublicKeyCredential.signalUnknownCredential
		b = append(b, `,"signal":{"unknown_credential":{"rpId":`...)
		b = appendString(b, u.Site)
		b = append(b, `,"credentialId":"`...)
		b = base64.RawURLEncoding.AppendEncode(b, u.ID)
		b = append(b, `"}}`...)
	}
	return b
}

// appendCeremony appends the options of a WebAuthn challenge once more, as JSON and not as text.
func appendCeremony(b []byte, c *mfa.IssuedChallenge) []byte {
	if c.Ceremony == "" {
		return b
	}
	b = append(b, `,"webauthn":{"ceremony":`...)
	b = appendString(b, c.Ceremony)
	b = append(b, `,"options":`...)
	b = append(b, c.Code.Reveal()...)
	return append(b, '}')
}
