// Package telnyx sends messages through Telnyx.
package telnyx

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Options configure a Provider.
type Options struct {
	APIKey             secret.String    `yaml:"api_key"`              // of the account, "KEY..."; required
	From               string           `yaml:"from"`                 // a number in E.164, a short code or up to 11 letters and digits; default one of the profile's numbers
	MessagingProfileID string           `yaml:"messaging_profile_id"` // required without From, and with a From that has letters
	PublicKey          string           `yaml:"public_key"`           // checks the signatures of the account's webhooks, in base64; required with CallbackURL
	CallbackURL        string           `yaml:"callback_url"`         // https URL for receipts; default as set in the messaging profile
	BaseURL            string           `yaml:"base_url"`             // default https://api.telnyx.com
	Now                func() time.Time // default time.Now
}

// A Provider sends through version 2 of the messaging API of Telnyx.
type Provider struct {
	opts     Options
	messages string            // the URL to post to
	key      ed25519.PublicKey // nil without PublicKey
	client   *http.Client
}

// maxAge is the largest difference between now and the time of a signature.
const maxAge = 5 * time.Minute

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	fail := func(text string) (*Provider, error) { return nil, errors.New("telnyx: " + text) }
	switch {
	case o.APIKey.Reveal() == "":
		return fail("api_key is missing")
	case o.From == "" && o.MessagingProfileID == "":
		return fail("from or messaging_profile_id must be set")
	case o.From != "" && !wire.IsSender(o.From):
		return fail("from must be a number in E.164, a short code, or up to 11 letters, digits and spaces")
	case wire.IsName(o.From) && o.MessagingProfileID == "":
		return fail("messaging_profile_id is missing; a from that is a name needs it")
	case o.CallbackURL != "" && o.PublicKey == "":
		return fail("public_key is missing; callback_url needs it")
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("telnyx: %w", err)
	}
	base, err := wire.CheckBaseURL(o.BaseURL, "https://api.telnyx.com")
	if err != nil {
		return nil, fmt.Errorf("telnyx: %w", err)
	}
	t := &Provider{opts: o, messages: base + "/v2/messages", client: wire.NewClient()}
	if o.PublicKey != "" {
		key, err := base64.StdEncoding.DecodeString(o.PublicKey)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return fail("public_key must be 32 bytes in base64")
		}
		t.key = key
	}
	if o.Now == nil {
		t.opts.Now = time.Now
	}
	return t, nil
}

// A messageRequest is the body of POST /v2/messages. The API has no fields for the validity
// and the reference of a message, and Telnyx chooses the encoding.
type messageRequest struct {
	From               string `json:"from,omitempty"`
	MessagingProfileID string `json:"messaging_profile_id,omitempty"`
	To                 string `json:"to"`
	Text               string `json:"text"`
	Type               string `json:"type"`
	WebhookURL         string `json:"webhook_url,omitempty"`
	UseProfileWebhooks *bool  `json:"use_profile_webhooks,omitempty"`
}

// Send implements sms.Provider.
func (t *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	msg := messageRequest{
		From: t.opts.From, MessagingProfileID: t.opts.MessagingProfileID,
		To: m.To.Reveal(), Text: m.Text.Reveal(), Type: "SMS",
	}
	if t.opts.CallbackURL != "" {
		// Webhooks contain the text, so none may go to the URL of the profile.
		msg.WebhookURL, msg.UseProfileWebhooks = t.opts.CallbackURL, new(bool)
	}
	text, err := json.Marshal(msg)
	if err != nil {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req, err := wire.NewPost(t.messages, "application/json", string(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+t.opts.APIKey.Reveal())
	status, header, body, err := wire.Exchange(ctx, t.client, req)
	if err != nil {
		return "", err
	}
	if status < 200 || status > 299 {
		return "", readError(status, header, body)
	}
	var reply struct {
		Data struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &reply) != nil || !wire.IsID(reply.Data.ID) {
		return "", wire.UnreadableError(status)
	}
	return reply.Data.ID, nil
}

// codes has the error codes of an answer. For other codes the HTTP status decides.
var codes = wire.Codes{
	"40001": {Kind: sms.Refused, Reason: "number is a landline or not routable"},
	"40012": {Kind: sms.Refused, Reason: "number is invalid"},
	"40300": {Kind: sms.Refused, Reason: "number has opted out"},
	"40310": {Kind: sms.Refused, Reason: "number is invalid"},

	"10008": {Kind: sms.Uncertain, Reason: "timed out at the service"},

	"10007": {Kind: sms.Unavailable, Reason: "internal error of the service"},
	"10009": {Kind: sms.Unavailable, Reason: "refused the credentials"},
	"10010": {Kind: sms.Unavailable, Reason: "refused the credentials"},
	"10011": {Kind: sms.Unavailable, Reason: "throttled"},
	"10039": {Kind: wire.Unserved, Reason: "a trial account, and the number is not verified"},
	"20100": {Kind: sms.Unavailable, Reason: "out of credit"},
	"40010": {Kind: wire.Unserved, Reason: "sender is not registered for the USA"},
	"40011": {Kind: sms.Unavailable, Reason: "throttled by the carrier"},
	"40013": {Kind: sms.Unavailable, Reason: "sender is not allowed"},
	"40015": {Kind: sms.Unavailable, Reason: "classified as spam"},
	"40100": {Kind: sms.Unavailable, Reason: "sender cannot send messages"},
	"40301": {Kind: wire.Unserved, Reason: "no SMS to this number from this sender"},
	"40305": {Kind: sms.Unavailable, Reason: "sender is not allowed"},
	"40306": {Kind: sms.Unavailable, Reason: "sender is not set up"},
	"40309": {Kind: wire.Unserved, Reason: "country is not enabled"},
	"40311": {Kind: sms.Unavailable, Reason: "messaging profile is not usable"},
	"40312": {Kind: sms.Unavailable, Reason: "messaging profile is disabled"},
	"40313": {Kind: sms.Unavailable, Reason: "messaging profile is not usable"},
	"40314": {Kind: sms.Unavailable, Reason: "messaging is disabled for the account"},
	"40315": {Kind: sms.Unavailable, Reason: "sender is unhealthy"},
	"40318": {Kind: sms.Unavailable, Reason: "queue is full"},
	"40319": {Kind: wire.Unserved, Reason: "no SMS to this number from this sender"},
	"40320": {Kind: sms.Unavailable, Reason: "sender is not ready"},
	"40321": {Kind: sms.Unavailable, Reason: "messaging profile has no usable number"},
	"40322": {Kind: sms.Unavailable, Reason: "text is blocked"},
	"40329": {Kind: sms.Unavailable, Reason: "toll-free sender is not verified"},
	"40333": {Kind: sms.Unavailable, Reason: "spend limit is reached"},
}

// recipientCodes are codes about any number in a request. They refuse the recipient if the
// error points at "to".
var recipientCodes = map[string]bool{"10001": true, "10002": true, "10016": true}

// readError returns the error of an answer that refuses a message.
func readError(status int, header http.Header, body []byte) *sms.Error {
	e := wire.StatusError(status, header)
	if e.RetryAfter == 0 && status == http.StatusTooManyRequests {
		e.RetryAfter = wire.Seconds(header.Get("X-Ratelimit-Reset"))
	}
	var reply struct {
		Errors []struct {
			Code   json.RawMessage `json:"code"`
			Source struct {
				Pointer string `json:"pointer"`
			} `json:"source"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &reply) != nil || len(reply.Errors) == 0 {
		return e
	}
	first := reply.Errors[0]
	e = codes.Judge(e, wire.JSONText(first.Code))
	if recipientCodes[e.Code] && strings.TrimPrefix(first.Source.Pointer, "/") == "to" {
		e.Kind, e.Reason = sms.Refused, "number is invalid"
	}
	return e
}

// states has the states of an outbound message. A message with an unconfirmed delivery was
// sent; no further state may follow.
var states = map[string]sms.State{
	"scheduled":            sms.Queued,
	"queued":               sms.Queued,
	"sending":              sms.Queued,
	"sent":                 sms.Sent,
	"delivery_unconfirmed": sms.Sent,
	"delivered":            sms.Delivered,
	"delivery_failed":      sms.Undelivered,
	"expired":              sms.Undelivered,
	"sending_failed":       sms.Failed,
	"cancelled":            sms.Failed,
}

// Receipts implements sms.Receiver. The signature covers the time, a vertical bar and the
// body.
func (t *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	at := r.Header.Get("Telnyx-Timestamp")
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get("Telnyx-Signature-Ed25519"))
	if err != nil || t.key == nil || !wire.IsRecent(at, t.opts.Now(), maxAge, maxAge) {
		return nil, sms.ErrSignature
	}
	if !ed25519.Verify(t.key, bytes.Join([][]byte{[]byte(at), body}, []byte{'|'}), signature) {
		return nil, sms.ErrSignature
	}
	var event struct {
		Data struct {
			Type    string          `json:"event_type"`
			Payload json.RawMessage `json:"payload"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &event) != nil {
		return nil, sms.ErrMalformed
	}
	if event.Data.Type != "message.sent" && event.Data.Type != "message.finalized" {
		return nil, nil // for example an inbound message or a call
	}
	var p struct {
		ID string `json:"id"`
		To []struct {
			Status string `json:"status"`
		} `json:"to"`
		Errors []struct {
			Code json.RawMessage `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(event.Data.Payload, &p) != nil {
		return nil, sms.ErrMalformed
	}
	if !wire.IsID(p.ID) || len(p.To) != 1 || states[p.To[0].Status] == "" {
		return nil, nil
	}
	receipt := sms.Receipt{ID: p.ID, State: states[p.To[0].Status]}
	if len(p.Errors) > 0 && (receipt.State == sms.Undelivered || receipt.State == sms.Failed) {
		receipt.Reason = wire.Word(wire.JSONText(p.Errors[0].Code))
	}
	return []sms.Receipt{receipt}, nil
}
