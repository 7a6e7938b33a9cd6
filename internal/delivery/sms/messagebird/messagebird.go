// Package messagebird sends messages through MessageBird, now named Bird.
package messagebird

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// Options configure a Provider.
type Options struct {
	AccessKey   secret.String    `yaml:"access_key"`   // of the REST API; required
	Originator  string           `yaml:"originator"`   // a number in E.164, a short code, or up to 11 letters and digits; required
	SigningKey  secret.String    `yaml:"signing_key"`  // checks the signatures of status reports; required with CallbackURL
	CallbackURL string           `yaml:"callback_url"` // https URL for receipts; default as set in the account
	BaseURL     string           `yaml:"base_url"`     // default https://rest.messagebird.com
	Now         func() time.Time // default time.Now
}

// A Provider sends through the SMS part of MessageBird's REST API.
type Provider struct {
	opts     Options
	messages string // the URL to post to
	client   *http.Client
}

const (
	maxAge      = 5 * time.Minute // largest difference between now and the time of a signature
	clockSkew   = time.Minute     // largest difference between two clocks
	maxValidity = 48 * time.Hour  // the longest that MessageBird accepts
)

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	fail := func(text string) (*Provider, error) { return nil, errors.New("messagebird: " + text) }
	switch {
	case o.AccessKey.Reveal() == "":
		return fail("access_key is missing")
	case o.Originator == "":
		return fail("originator is missing")
	case !wire.IsSender(o.Originator):
		return fail("originator must be a number in E.164, a short code, or up to 11 letters, digits and spaces")
	case o.CallbackURL != "" && o.SigningKey.Reveal() == "":
		return fail("signing_key is missing; callback_url needs it")
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("messagebird: %w", err)
	}
	base, err := wire.CheckBaseURL(o.BaseURL, "https://rest.messagebird.com")
	if err != nil {
		return nil, fmt.Errorf("messagebird: %w", err)
	}
	o.Now = wallclock.Or(o.Now)
	return &Provider{opts: o, messages: base + "/messages", client: wire.NewClient()}, nil
}

type messageRequest struct {
	Originator string   `json:"originator"`
	Recipients []string `json:"recipients"` // without a plus
	Body       string   `json:"body"`
	Type       string   `json:"type"`
	DataCoding string   `json:"datacoding"`
	Reference  string   `json:"reference"` // MessageBird sends no status report without it
	Validity   int64    `json:"validity,omitempty"`
	ReportURL  string   `json:"reportUrl,omitempty"`
}

// Send implements sms.Provider.
func (b *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	msg := messageRequest{
		Originator: b.opts.Originator,
		Recipients: []string{strings.TrimPrefix(m.To.Reveal(), "+")},
		Body:       m.Text.Reveal(),
		Type:       "sms",
		DataCoding: "auto", // GSM-7 if it has all characters of the text, otherwise UCS-2; the default drops characters
		Reference:  m.Reference,
		ReportURL:  b.opts.CallbackURL,
	}
	if m.ValidFor > 0 {
		msg.Validity = wire.Validity(m.ValidFor, time.Second, time.Second, maxValidity)
	}
	text, err := json.Marshal(msg)
	if err != nil {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req, err := wire.NewPost(b.messages, "application/json", string(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "AccessKey "+b.opts.AccessKey.Reveal())
	status, header, body, err := wire.Exchange(ctx, b.client, req)
	if err != nil {
		return "", err
	}
	if status < 200 || status > 299 {
		return "", readError(status, header, body)
	}
	return readReply(status, body)
}

// readReply returns the id of an accepted message. The message may have failed at once:
// then the status of its only recipient says so.
func readReply(status int, body []byte) (string, error) {
	var reply struct {
		ID         string `json:"id"`
		Recipients struct {
			Items []struct {
				Status string          `json:"status"`
				Code   json.RawMessage `json:"statusErrorCode"`
			} `json:"items"`
		} `json:"recipients"`
	}
	if json.Unmarshal(body, &reply) != nil || !wire.IsID(reply.ID) {
		return "", wire.UnreadableError(status)
	}
	for _, item := range reply.Recipients.Items {
		if item.Status != "delivery_failed" {
			continue
		}
		return "", failureCodes.Judge(&sms.Error{Kind: sms.Unavailable, Reason: "failed at once"}, wire.JSONText(item.Code))
	}
	return reply.ID, nil
}

// failureCodes has the status error codes. Codes from 103 on are from MessageBird, which
// did not hand the message to a carrier.
var failureCodes = wire.Codes{
	"1":   {Kind: sms.Refused, Reason: "number is unknown"},
	"9":   {Kind: sms.Refused, Reason: "number is not in service"},
	"11":  {Kind: sms.Refused, Reason: "number cannot receive text messages"},
	"13":  {Kind: sms.Refused, Reason: "number is barred"},
	"103": {Kind: sms.Refused, Reason: "number has opted out"},
	"104": {Kind: wire.Unserved, Reason: "sender is not registered"},
	"105": {Kind: wire.Unserved, Reason: "text is not registered"},
	"106": {Kind: sms.Unavailable, Reason: "volume of the campaign is used up"},
	"107": {Kind: sms.Unavailable, Reason: "throttled for the campaign"},
}

// codes has the error codes of a refused request. Another provider may accept the message,
// unless code 9 or 10 is about the recipient.
var codes = wire.Codes{
	"2":  {Kind: sms.Unavailable, Reason: "wrong credentials, or not permitted"},
	"9":  {Kind: sms.Unavailable, Reason: "a parameter is missing"},
	"10": {Kind: sms.Unavailable, Reason: "a parameter is wrong"},
	"20": {Kind: sms.Unavailable, Reason: "not found"},
	"21": {Kind: sms.Unavailable, Reason: "bad request"},
	"25": {Kind: sms.Unavailable, Reason: "out of credit"},
	"98": {Kind: sms.Unavailable, Reason: "not found"},
	"99": {Kind: sms.Unavailable, Reason: "internal error of the service"},
}

// readError returns the error of an answer that refuses a message.
func readError(status int, header http.Header, body []byte) *sms.Error {
	e := wire.StatusError(status, header)
	var reply struct {
		Errors []struct {
			Code      json.RawMessage `json:"code"`
			Parameter string          `json:"parameter"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &reply) != nil {
		return e
	}
	for _, one := range reply.Errors {
		code := wire.JSONText(one.Code)
		if (code == "9" || code == "10") && (one.Parameter == "recipient" || one.Parameter == "recipients") {
			return &sms.Error{Kind: sms.Refused, Code: code, Reason: "number is invalid"}
		}
	}
	if len(reply.Errors) > 0 {
		e = codes.Judge(e, wire.JSONText(reply.Errors[0].Code))
	}
	return e
}

// states has the states of a status report.
var states = map[string]sms.State{
	"scheduled":       sms.Queued,
	"sent":            sms.Sent,
	"buffered":        sms.Sent, // by the carrier
	"delivered":       sms.Delivered,
	"expired":         sms.Undelivered,
	"delivery_failed": sms.Undelivered,
}

// Receipts implements sms.Receiver. A status report is a GET request with all data in its
// query.
func (b *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	if b.opts.SigningKey.Reveal() == "" || !b.signed(r, body) {
		return nil, sms.ErrSignature
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, sms.ErrMalformed
	}
	receipt := sms.Receipt{ID: query.Get("id"), State: states[query.Get("status")]}
	if !wire.IsID(receipt.ID) || receipt.State == "" {
		return nil, nil
	}
	if receipt.State == sms.Undelivered {
		receipt.Reason = wire.Word(query.Get("statusErrorCode"))
		switch receipt.Reason {
		case "103", "104", "105", "106", "107":
			receipt.State = sms.Failed
		case "", "0":
			receipt.Reason = wire.Word(strings.ReplaceAll(query.Get("statusReason"), " ", "_"))
		}
	}
	return []sms.Receipt{receipt}, nil
}

// signed reports whether a request has one of MessageBird's two kinds of signature: a JSON
// Web Token or the older header. The older one counts only without a token.
func (b *Provider) signed(r *http.Request, body []byte) bool {
	if token := r.Header.Get("MessageBird-Signature-JWT"); token != "" {
		return b.token(token, r.URL.RawQuery, body)
	}
	at := r.Header.Get("MessageBird-Request-Timestamp")
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get("MessageBird-Signature"))
	query, wrong := url.ParseQuery(r.URL.RawQuery)
	if err != nil || wrong != nil || !wire.IsRecent(at, b.opts.Now(), maxAge, maxAge) {
		return false
	}
	sum := sha256.Sum256(body)
	mac := hmac.New(sha256.New, []byte(b.opts.SigningKey.Reveal()))
	mac.Write([]byte(at + "\n" + query.Encode() + "\n")) // Encode sorts by key
	mac.Write(sum[:])
	return hmac.Equal(signature, mac.Sum(nil))
}

// token checks a JSON Web Token: its signature, its times, and that it was made for this
// URL and this body. The URL is CallbackURL with the query of the request, because a proxy
// may have changed the rest.
func (b *Provider) token(token, query string, body []byte) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims struct {
		Issuer      string  `json:"iss"`
		NotBefore   float64 `json:"nbf"`
		Expires     float64 `json:"exp"`
		ID          string  `json:"jti"`
		URLHash     string  `json:"url_hash"`
		PayloadHash string  `json:"payload_hash"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[0], &header) || header.Algorithm != "HS256" {
		return false
	}
	mac := hmac.New(sha256.New, []byte(b.opts.SigningKey.Reveal()))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(signature, mac.Sum(nil)) || !decodePart(parts[1], &claims) {
		return false
	}
	now, skew := float64(b.opts.Now().Unix()), clockSkew.Seconds()
	if claims.Issuer != "MessageBird" || claims.ID == "" || now < claims.NotBefore-skew || now > claims.Expires+skew {
		return false
	}
	asked, _, _ := strings.Cut(b.opts.CallbackURL, "?")
	if query != "" {
		asked += "?" + query
	}
	if len(body) == 0 {
		return claims.PayloadHash == "" && sameHash(claims.URLHash, []byte(asked))
	}
	return sameHash(claims.PayloadHash, body) && sameHash(claims.URLHash, []byte(asked))
}

// decodePart decodes a part of a JSON Web Token into v.
func decodePart(part string, v any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, v) == nil
}

// sameHash reports whether digits are the SHA-256 of data, in hexadecimal.
func sameHash(digits string, data []byte) bool {
	sum := sha256.Sum256(data)
	return hmac.Equal([]byte(digits), []byte(hex.EncodeToString(sum[:])))
}
