package totp

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// URI returns the address that an authenticator app reads from a QR code:
//
//	otpauth://totp/Foo%20Corp:user@example.com?secret=JBSWY3DPEHPK3PXP&issuer=Foo%20Corp
//
// It names algorithm, digits and period only if they are not the values that apps assume.
// The only literal colon in the label separates issuer and account.
func (p Params) URI(issuer, account string, secret []byte) string {
	issuer, account = escape(issuer), escape(account)
	uri := "otpauth://totp/" + issuer + ":" + account +
		"?secret=" + EncodeSecret(secret) + "&issuer=" + issuer
	if p.Hash != SHA1 {
		uri += "&algorithm=" + p.Hash.String()
	}
	if p.Eight {
		uri += "&digits=" + strconv.Itoa(p.Digits())
	}
	if p.Minute {
		uri += "&period=" + strconv.Itoa(int(p.Period()/time.Second))
	}
	return uri
}

// escape percent-encodes s for the label and for the query alike. A space must be
// %20, as apps show a + as it is; an @ may stay, and keeps addresses readable.
func escape(s string) string {
	s = url.QueryEscape(s)
	s = strings.ReplaceAll(s, "+", "%20") // a plus of s itself is %2B by now
	return strings.ReplaceAll(s, "%40", "@")
}
