// Package plivo sends messages through Plivo.
package plivo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Options configure a Provider.
type Options struct {
	AuthID        string        `yaml:"auth_id"`        // of the account or a subaccount, 20 characters from MA or SA; required
	AuthToken     secret.String `yaml:"auth_token"`     // of that account; also checks the signatures of receipts; required
	From          string        `yaml:"from"`           // the sender: a number, a short code or a name; excludes PowerpackUUID
	PowerpackUUID string        `yaml:"powerpack_uuid"` // Plivo chooses the sender from this powerpack; excludes From
	CallbackURL   string        `yaml:"callback_url"`   // public https URL for receipts, without a query; default none: no receipts
	BaseURL       string        `yaml:"base_url"`       // default https://api.plivo.com
}

// A Provider sends through Plivo's Message API.
type Provider struct {
	client   *http.Client
	opts     Options
	messages string // the URL to post to
}

var (
	accountPattern   = regexp.MustCompile(`^(MA|SA)[0-9A-Z]{18}$`)
	powerpackPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	fail := func(text string) (*Provider, error) { return nil, errors.New("plivo: " + text) }
	switch {
	case !accountPattern.MatchString(o.AuthID):
		return fail("auth_id must be MA or SA and 18 capitals or digits")
	case o.AuthToken.Reveal() == "":
		return fail("auth_token is missing")
	case o.From == "" && o.PowerpackUUID == "":
		return fail("from or powerpack_uuid must be set")
	case o.From != "" && o.PowerpackUUID != "":
		return fail("from and powerpack_uuid exclude each other")
	case o.PowerpackUUID != "" && !powerpackPattern.MatchString(o.PowerpackUUID):
		return fail("powerpack_uuid must be a UUID")
	case strings.Contains(o.CallbackURL, "?"):
		return fail("callback_url must have no query")
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("plivo: %w", err)
	}
	base, err := wire.CheckBaseURL(o.BaseURL, "https://api.plivo.com")
	if err != nil {
		return nil, fmt.Errorf("plivo: %w", err)
	}
	return &Provider{client: wire.NewClient(), opts: o, messages: base + "/v1/Account/" + o.AuthID + "/Message/"}, nil
}

// A messageRequest is the body of the request that sends a message. Plivo chooses GSM-7 or
// UCS-2 by the text.
type messageRequest struct {
	From      string `json:"src,omitempty"`
	Powerpack string `json:"powerpack_uuid,omitempty"`
	To        string `json:"dst"` // without a plus; "<" separates several numbers
	Text      string `json:"text"`
	Type      string `json:"type"`
	Callback  string `json:"url,omitempty"`
	Method    string `json:"method,omitempty"`
	Expiry    int64  `json:"message_expiry,omitempty"` // wire.Seconds in Plivo's queue
	Log       bool   `json:"log"`                      // false: Plivo stores no text and masks the number
}

// Send implements sms.Provider.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	message := messageRequest{
		From:      p.opts.From,
		Powerpack: p.opts.PowerpackUUID,
		To:        strings.TrimPrefix(m.To.Reveal(), "+"),
		Text:      m.Text.Reveal(),
		Type:      "sms",
		Callback:  p.opts.CallbackURL,
	}
	if message.Callback != "" {
		message.Method = http.MethodPost
	}
	if m.ValidFor > 0 {
		message.Expiry = wire.Validity(m.ValidFor, time.Second, 5*time.Second, 10800*time.Second)
	}
	text, err := json.Marshal(message)
	if err != nil {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req, err := wire.NewPost(p.messages, "application/json", string(text))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(p.opts.AuthID, p.opts.AuthToken.Reveal())
	status, header, body, err := wire.Exchange(ctx, p.client, req)
	if err != nil {
		return "", err
	}
	var reply struct {
		IDs     []string          `json:"message_uuid"`
		Invalid []json.RawMessage `json:"invalid_number"` // the numbers that Plivo does not accept
	}
	// Fields stay empty if the answer has another form.
	_ = json.Unmarshal(body, &reply)
	refused := wire.StatusError(status, header)
	switch {
	case status < 300 && len(reply.IDs) == 1 && wire.IsID(reply.IDs[0]):
		return reply.IDs[0], nil
	case len(reply.IDs) == 0 && len(reply.Invalid) > 0 && status < 500:
		refused.Kind, refused.Reason = sms.Refused, "not a valid number"
		return "", refused
	case status < 300:
		return "", wire.UnreadableError(status)
	}
	return "", codes.Judge(refused, refused.Code)
}

// codes has the statuses of https://www.plivo.com/docs/messaging/api/response. Plivo
// refuses a message without an error code and reports all other failures in receipts.
var codes = wire.Codes{
	"400": {Kind: sms.Unavailable, Reason: "a parameter is missing or not valid"},
	"401": {Kind: sms.Unavailable, Reason: "refused the credentials"},
	"402": {Kind: sms.Unavailable, Reason: "out of credit"},
	"403": {Kind: sms.Unavailable, Reason: "the account is not permitted to send"},
	"404": {Kind: sms.Unavailable, Reason: "the account is unknown"},
	"405": {Kind: sms.Unavailable, Reason: "wrong API"},
	"429": {Kind: sms.Unavailable, Reason: "throttled"},
	"500": {Kind: sms.Unavailable, Reason: "internal error of the service"},
}

// Receipts implements sms.Receiver. Plivo's signature covers a nonce but no time, so an old
// receipt is as valid as a new one.
func (p *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	if r.Method != http.MethodPost {
		return nil, sms.ErrSignature
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !p.signs(form, r.Header) {
		return nil, sms.ErrSignature
	}
	id := form.Get("ParentMessageUUID") // of the message, if the receipt is for one part of it
	if id == "" {
		id = form.Get("MessageUUID")
	}
	state := states[form.Get("Status")]
	if !wire.IsID(id) || state == "" {
		return nil, nil
	}
	receipt := sms.Receipt{ID: id, State: state}
	if code := form.Get("ErrorCode"); (state == sms.Failed || state == sms.Undelivered) && wire.IsCode(code) {
		receipt.Reason = code
	}
	return []sms.Receipt{receipt}, nil
}

// signs reports whether one of the signatures of version 3 is valid: the HMAC-SHA-256,
// keyed with the auth token, of the callback URL, "?", the sorted parameters without
// separators, "." and the nonce. Signatures of version 2 do not count, because they do not
// cover the parameters. The key of X-Plivo-Signature-V3 is the token of the sending
// account, the key of X-Plivo-Signature-Ma-V3 the token of its main account. Each header
// has one signature for each active token.
func (p *Provider) signs(form url.Values, header http.Header) bool {
	nonce := header.Get("X-Plivo-Signature-V3-Nonce")
	if p.opts.CallbackURL == "" || nonce == "" {
		return false
	}
	var text strings.Builder
	text.WriteString(p.opts.CallbackURL)
	if len(form) > 0 {
		text.WriteString("?")
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Sorted(slices.Values(form[name])) {
			text.WriteString(name + value)
		}
	}
	text.WriteString("." + nonce)
	mac := hmac.New(sha256.New, []byte(p.opts.AuthToken.Reveal()))
	mac.Write([]byte(text.String()))
	want := []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	right := false
	for _, name := range []string{"X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"} {
		for signature := range strings.SplitSeq(header.Get(name), ",") {
			right = hmac.Equal(want, []byte(strings.TrimSpace(signature))) || right
		}
	}
	return right
}

var states = map[string]sms.State{
	"queued":      sms.Queued,
	"sent":        sms.Sent,
	"delivered":   sms.Delivered,
	"read":        sms.Delivered,
	"undelivered": sms.Undelivered,
	"failed":      sms.Failed,
	"rejected":    sms.Failed,
}
