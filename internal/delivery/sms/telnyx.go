package sms

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

	"github.com/countersign-mfa/countersign/internal/secret"
)

// TelnyxOptions say how messages are sent through Telnyx.
type TelnyxOptions struct {
	APIKey             secret.String    // of the account, "KEY..."; required
	From               string           // a number in E.164, a short code or up to 11 letters and digits; default one of the profile's numbers
	MessagingProfileID string           // required without From, and with a From that has letters
	PublicKey          string           // what the account's webhooks are signed with, in base64; required with CallbackURL
	CallbackURL        string           // where receipts go, https; default where the messaging profile says
	BaseURL            string           // default https://api.telnyx.com
	Now                func() time.Time // default time.Now
}

// Telnyx sends through the messaging API of Telnyx, version 2.
type Telnyx struct {
	opts     TelnyxOptions
	messages string            // the URL to post to
	key      ed25519.PublicKey // nil if there is none
	client   *http.Client
}

// telnyxAge is how far from now a webhook may have been signed.
const telnyxAge = 5 * time.Minute

// NewTelnyx returns a Telnyx, or an error that names the option at fault.
func NewTelnyx(o TelnyxOptions) (*Telnyx, error) {
	fail := func(text string) (*Telnyx, error) { return nil, errors.New("telnyx: " + text) }
	switch {
	case o.APIKey.Reveal() == "":
		return fail("api_key is missing")
	case o.From == "" && o.MessagingProfileID == "":
		return fail("from is missing, and so is messaging_profile_id")
	case o.From != "" && !isSender(o.From):
		return fail("from must be a number in E.164, a short code, or up to 11 letters, digits and spaces")
	case isName(o.From) && o.MessagingProfileID == "":
		return fail("messaging_profile_id is missing: from is a name")
	case o.CallbackURL != "" && o.PublicKey == "":
		return fail("public_key is missing: callback_url needs it")
	}
	if err := checkCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("telnyx: %w", err)
	}
	base, err := checkBaseURL(o.BaseURL, "https://api.telnyx.com")
	if err != nil {
		return nil, fmt.Errorf("telnyx: %w", err)
	}
	t := &Telnyx{opts: o, messages: base + "/v2/messages", client: newClient()}
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

// telnyxMessage is what POST /v2/messages takes. There is no field for how long
// the message is of use, none for a reference, and the encoding is found out there.
type telnyxMessage struct {
	From               string `json:"from,omitempty"`
	MessagingProfileID string `json:"messaging_profile_id,omitempty"`
	To                 string `json:"to"`
	Text               string `json:"text"`
	Type               string `json:"type"`
	WebhookURL         string `json:"webhook_url,omitempty"`
	UseProfileWebhooks *bool  `json:"use_profile_webhooks,omitempty"`
}

// Send hands m over, as Provider says.
func (t *Telnyx) Send(ctx context.Context, m Message) (string, error) {
	msg := telnyxMessage{
		From: t.opts.From, MessagingProfileID: t.opts.MessagingProfileID,
		To: m.To.Reveal(), Text: m.Text.Reveal(), Type: "SMS",
	}
	if t.opts.CallbackURL != "" {
		// Webhooks repeat the text: none may go to the profile's URL instead.
		msg.WebhookURL, msg.UseProfileWebhooks = t.opts.CallbackURL, new(bool)
	}
	text, err := json.Marshal(msg)
	if err != nil {
		return "", &Error{Kind: Unavailable, Reason: "no request can be made"}
	}
	req, err := newPost(t.messages, "application/json", string(text))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+t.opts.APIKey.Reveal())
	status, header, body, err := exchange(ctx, t.client, req)
	if err != nil {
		return "", err
	}
	if status < 200 || status > 299 {
		return "", telnyxError(status, header, body)
	}
	var reply struct {
		Data struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &reply) != nil || !idPattern.MatchString(reply.Data.ID) {
		return "", unreadable(status)
	}
	return reply.Data.ID, nil
}

// telnyxErrors is what the codes of an answer mean here. A code that is missing is
// judged by the status of the answer.
var telnyxErrors = verdicts{
	"40001": {Refused, "number is a landline or not routable"},
	"40012": {Refused, "number is invalid"},
	"40300": {Refused, "number has opted out"},
	"40310": {Refused, "number is invalid"},

	"10008": {Uncertain, "timed out at the service"},

	"10007": {Unavailable, "internal error of the service"},
	"10009": {Unavailable, "refused the credentials"},
	"10010": {Unavailable, "refused the credentials"},
	"10011": {Unavailable, "throttled"},
	"10039": {unserved, "a trial account, and the number is not verified"},
	"20100": {Unavailable, "out of credit"},
	"40010": {unserved, "sender is not registered for the USA"},
	"40011": {Unavailable, "throttled by the carrier"},
	"40013": {Unavailable, "sender is not allowed"},
	"40015": {Unavailable, "taken for spam"},
	"40100": {Unavailable, "sender cannot send messages"},
	"40301": {unserved, "no SMS to this number from this sender"},
	"40305": {Unavailable, "sender is not allowed"},
	"40306": {Unavailable, "sender is not set up"},
	"40309": {unserved, "country is not enabled"},
	"40311": {Unavailable, "messaging profile is not usable"},
	"40312": {Unavailable, "messaging profile is disabled"},
	"40313": {Unavailable, "messaging profile is not usable"},
	"40314": {Unavailable, "messaging is disabled for the account"},
	"40315": {Unavailable, "sender is unhealthy"},
	"40318": {Unavailable, "queue is full"},
	"40319": {unserved, "no SMS to this number from this sender"},
	"40320": {Unavailable, "sender is not ready"},
	"40321": {Unavailable, "messaging profile has no usable number"},
	"40322": {Unavailable, "text is blocked"},
	"40329": {Unavailable, "toll-free sender is not verified"},
	"40333": {Unavailable, "spend limit is reached"},
}

// telnyxAboutTo are codes that refuse a number if the error points at "to": they
// are used of any number in a request.
var telnyxAboutTo = map[string]bool{"10001": true, "10002": true, "10016": true}

// telnyxError is the error of an answer that refuses a message.
func telnyxError(status int, header http.Header, body []byte) *Error {
	e := byStatus(status, header)
	if e.RetryAfter == 0 && status == http.StatusTooManyRequests {
		e.RetryAfter = seconds(header.Get("X-Ratelimit-Reset"))
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
	e = telnyxErrors.judge(e, plain(first.Code))
	if telnyxAboutTo[e.Code] && strings.TrimPrefix(first.Source.Pointer, "/") == "to" {
		e.Kind, e.Reason = Refused, "number is invalid"
	}
	return e
}

// telnyxStates has the states of an outbound message. One whose delivery stays
// unconfirmed was sent, and no more is known.
var telnyxStates = map[string]State{
	"scheduled":            Queued,
	"queued":               Queued,
	"sending":              Queued,
	"sent":                 Sent,
	"delivery_unconfirmed": Sent,
	"delivered":            Delivered,
	"delivery_failed":      Undelivered,
	"expired":              Undelivered,
	"sending_failed":       Failed,
	"cancelled":            Failed,
}

// Receipts reads a webhook, as Receiver says. Its signature is of the time, a bar
// and the body.
func (t *Telnyx) Receipts(r *http.Request, body []byte) ([]Receipt, error) {
	at := r.Header.Get("Telnyx-Timestamp")
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get("Telnyx-Signature-Ed25519"))
	if err != nil || t.key == nil || !isRecent(at, t.opts.Now(), telnyxAge, telnyxAge) {
		return nil, ErrSignature
	}
	if !ed25519.Verify(t.key, bytes.Join([][]byte{[]byte(at), body}, []byte{'|'}), signature) {
		return nil, ErrSignature
	}
	var event struct {
		Data struct {
			Type    string          `json:"event_type"`
			Payload json.RawMessage `json:"payload"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &event) != nil {
		return nil, errReceipt
	}
	if event.Data.Type != "message.sent" && event.Data.Type != "message.finalized" {
		return nil, nil // an inbound message, a call
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
		return nil, errReceipt
	}
	if !idPattern.MatchString(p.ID) || len(p.To) != 1 || telnyxStates[p.To[0].Status] == "" {
		return nil, nil
	}
	receipt := Receipt{ID: p.ID, State: telnyxStates[p.To[0].Status]}
	if len(p.Errors) > 0 && (receipt.State == Undelivered || receipt.State == Failed) {
		receipt.Reason = word(plain(p.Errors[0].Code))
	}
	return []Receipt{receipt}, nil
}
