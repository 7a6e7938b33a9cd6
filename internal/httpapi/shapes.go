package httpapi

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// formatTime writes a time as all are on the wire: 2026-03-27T12:00:00.432Z. It is
// time.Format of that layout, in a third of the time.
func formatTime(t time.Time) string {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		return t.Format("2006-01-02T15:04:05.000Z")
	}
	hour, minute, second := t.Clock()
	var b [24]byte
	for i, part := range [...]struct{ at, digits, value int }{
		{0, 4, year}, {5, 2, int(month)}, {8, 2, day}, {11, 2, hour}, {14, 2, minute}, {17, 2, second}, {20, 3, t.Nanosecond() / 1e6},
	} {
		for n, v := part.digits, part.value; n > 0; n, v = n-1, v/10 {
			b[part.at+n-1] = byte('0' + v%10)
		}
		b[part.at+part.digits] = "--T::.Z"[i]
	}
	return string(b[:])
}

type factor struct {
	Object    string `json:"object"`
	ID        string `json:"id"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	Type      string `json:"type"`
	UserID    string `json:"user_id,omitempty"`
	TOTP      *totp  `json:"totp,omitempty"`
	SMS       *sms   `json:"sms,omitempty"`
}

// totp holds the secret and what shows it only in the answer to an enrollment.
type totp struct {
	Issuer string `json:"issuer"`
	User   string `json:"user"`
	Secret string `json:"secret,omitempty"`
	QRCode string `json:"qr_code,omitempty"`
	URI    string `json:"uri,omitempty"`
}

type sms struct {
	PhoneNumber string `json:"phone_number"`
}

func detailsJSON(d mfa.Details) factor {
	f := factor{
		Object:    "authentication_factor",
		ID:        d.ID.String(),
		CreatedAt: formatTime(d.CreatedAt),
		UpdatedAt: formatTime(d.UpdatedAt),
		Type:      string(d.Type),
		UserID:    d.User,
	}
	switch d.Type {
	case mfa.TOTP:
		f.TOTP = &totp{Issuer: d.Issuer, User: d.Account}
	case mfa.SMS:
		f.SMS = &sms{PhoneNumber: d.Phone.E164()}
	}
	return f
}

func enrollmentJSON(e mfa.Enrollment) factor {
	f := detailsJSON(e.Details)
	if f.TOTP != nil {
		f.TOTP.Secret, f.TOTP.QRCode, f.TOTP.URI = e.Secret.Reveal(), e.QRCode.Reveal(), e.URI.Reveal()
	}
	return f
}

type challenge struct {
	Object    string    `json:"object"`
	ID        string    `json:"id"`
	CreatedAt string    `json:"created_at"`
	UpdatedAt string    `json:"updated_at"`
	ExpiresAt string    `json:"expires_at,omitempty"`
	Code      string    `json:"code,omitempty"`
	FactorID  string    `json:"authentication_factor_id"`
	SMS       *delivery `json:"sms,omitempty"` // ours
}

// delivery says how far the code of an sms challenge has come.
type delivery struct {
	Status      string `json:"status"`
	Reason      string `json:"reason,omitempty"` // the provider's code for a failure
	Segments    int    `json:"segments"`         // that each message costs
	ResendsLeft int    `json:"resends_left"`
	UpdatedAt   string `json:"updated_at"`
}

func (a *API) challengeJSON(c mfa.Issued) challenge {
	j := challenge{
		Object:    "authentication_challenge",
		ID:        c.ID.String(),
		CreatedAt: formatTime(c.CreatedAt),
		UpdatedAt: formatTime(c.UpdatedAt),
		ExpiresAt: formatTime(c.ExpiresAt),
		Code:      c.Code.Reveal(),
		FactorID:  c.Factor.String(),
	}
	if d, ok := c.Delivery(a.opts.Now()); ok {
		j.SMS = &delivery{string(d.State), d.Reason, d.Segments, a.mfa.ResendsLeft(&c.Challenge), formatTime(d.UpdatedAt)}
	}
	if a.opts.OmitTOTPExpiry && c.OfTOTP() {
		j.ExpiresAt = ""
	}
	return j
}

type verification struct {
	Challenge challenge `json:"challenge"`
	Valid     bool      `json:"valid"`
}

func (a *API) verificationJSON(v mfa.Verification) verification {
	return verification{a.challengeJSON(v.Challenge), v.Valid}
}

type userEnrollment struct {
	Factor    factor    `json:"authentication_factor"`
	Challenge challenge `json:"authentication_challenge"`
}

func (a *API) userEnrollmentJSON(e mfa.Enrollment) any {
	return userEnrollment{enrollmentJSON(e), a.challengeJSON(*e.Challenge)}
}

type factorPage struct {
	Object   string   `json:"object"`
	Data     []factor `json:"data"`
	Metadata struct {
		Before *string `json:"before"`
		After  *string `json:"after"`
	} `json:"list_metadata"`
}

func pageJSON(p mfa.Page) factorPage {
	j := factorPage{Object: "list", Data: make([]factor, len(p.Factors))}
	for i, d := range p.Factors {
		j.Data[i] = detailsJSON(d)
	}
	// A cursor that leads nowhere is null: to some clients "" means the first page.
	if p.Before != "" {
		j.Metadata.Before = &p.Before
	}
	if p.After != "" {
		j.Metadata.After = &p.After
	}
	return j
}
