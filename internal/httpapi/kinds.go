package httpapi

import "github.com/countersign-mfa/countersign/internal/mfa"

// appendKinds has a function for each kind of factor that shows data. The function appends
// a comma, the name of the kind and an object to the JSON of a factor. e is nil except for
// a new factor. A kind without data, such as generic_otp, is not in the table.
var appendKinds = map[mfa.FactorType]func(b []byte, d *mfa.Details, e *mfa.Enrollment) []byte{
	mfa.TOTP: appendTOTP,
	mfa.SMS:  appendSMS,
}

func appendTOTP(b []byte, d *mfa.Details, e *mfa.Enrollment) []byte {
	b = append(b, `,"totp":{"issuer":`...)
	b = appendString(b, d.Issuer)
	b = append(b, `,"user":`...)
	b = appendString(b, d.Account)
	if e != nil {
		b = append(b, `,"secret":`...)
		b = appendString(b, e.Secret.Reveal())
		b = append(b, `,"qr_code":`...)
		b = appendString(b, e.QRCode.Reveal())
		b = append(b, `,"uri":`...)
		b = appendString(b, e.URI.Reveal())
	}
	return append(b, '}')
}

func appendSMS(b []byte, d *mfa.Details, _ *mfa.Enrollment) []byte {
	b = append(b, `,"sms":{"phone_number":`...)
	b = appendString(b, d.Phone.E164())
	return append(b, '}')
}
