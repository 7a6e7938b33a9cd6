// Package twilio sends messages through Twilio.
package twilio

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Options configure a Provider. It authenticates requests with the API key if there is
// one, and otherwise with the auth token.
type Options struct {
	AccountSID          string        `yaml:"account_sid"`           // the account that sends, AC and 32 hexadecimal digits; required
	AuthToken           secret.String `yaml:"auth_token"`            // of that account; required without an API key, and to check the signatures of receipts
	APIKeySID           string        `yaml:"api_key_sid"`           // SK and 32 hexadecimal digits; excludes requests with the auth token
	APIKeySecret        secret.String `yaml:"api_key_secret"`        // required with APIKeySID
	From                string        `yaml:"from"`                  // the sender: a number in E.164, a short code or a name; excludes MessagingServiceSID
	MessagingServiceSID string        `yaml:"messaging_service_sid"` // MG and 32 hexadecimal digits: Twilio chooses the sender; excludes From
	CallbackURL         string        `yaml:"callback_url"`          // public https URL for receipts, as Twilio calls it; default none: no receipts
	BaseURL             string        `yaml:"base_url"`              // default https://api.twilio.com; other regions have other URLs
}

// A Provider sends through Twilio's Programmable Messaging (API version 2010-04-01).
type Provider struct {
	client   *http.Client
	opts     Options
	messages string   // the URL to post to
	signed   []string // the callback URL in every form that Twilio may sign
}

var (
	accountPattern = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	keyPattern     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	servicePattern = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	messagePattern = regexp.MustCompile(`^[SM]M[0-9a-fA-F]{32}$`)
)

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	fail := func(text string) (*Provider, error) { return nil, errors.New("twilio: " + text) }
	hasToken, hasKey, hasKeySecret := o.AuthToken.Reveal() != "", o.APIKeySID != "", o.APIKeySecret.Reveal() != ""
	switch {
	case !accountPattern.MatchString(o.AccountSID):
		return fail("account_sid must be AC and 32 hexadecimal digits")
	case hasKey && !keyPattern.MatchString(o.APIKeySID):
		return fail("api_key_sid must be SK and 32 hexadecimal digits")
	case hasKey && !hasKeySecret:
		return fail("api_key_secret is missing; api_key_sid is set")
	case !hasKey && hasKeySecret:
		return fail("api_key_sid is missing; api_key_secret is set")
	case !hasKey && !hasToken:
		return fail("auth_token or api_key_sid must be set")
	case o.CallbackURL != "" && !hasToken:
		return fail("auth_token is missing; callback_url needs it to check receipts, also if api_key_sid is set")
	case o.From == "" && o.MessagingServiceSID == "":
		return fail("from or messaging_service_sid must be set")
	case o.From != "" && o.MessagingServiceSID != "":
		return fail("from and messaging_service_sid exclude each other")
	case o.MessagingServiceSID != "" && !servicePattern.MatchString(o.MessagingServiceSID):
		return fail("messaging_service_sid must be MG and 32 hexadecimal digits")
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("twilio: %w", err)
	}
	base, err := wire.CheckBaseURL(o.BaseURL, "https://api.twilio.com")
	if err != nil {
		return nil, fmt.Errorf("twilio: %w", err)
	}
	return &Provider{
		client:   wire.NewClient(),
		opts:     o,
		messages: base + "/2010-04-01/Accounts/" + o.AccountSID + "/Messages.json",
		signed:   signedURLs(o.CallbackURL),
	}, nil
}

// Send implements sms.Provider. Twilio chooses GSM-7 or UCS-2 by the text.
func (t *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	form := url.Values{"To": {m.To.Reveal()}, "Body": {m.Text.Reveal()}}
	set := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	set("From", t.opts.From)
	set("MessagingServiceSid", t.opts.MessagingServiceSID)
	set("StatusCallback", t.opts.CallbackURL)
	if m.ValidFor > 0 {
		set("ValidityPeriod", strconv.FormatInt(wire.Validity(m.ValidFor, time.Second, time.Second, 36000*time.Second), 10))
	}
	req, err := wire.NewPost(t.messages, "application/x-www-form-urlencoded", form.Encode())
	if err != nil {
		return "", err
	}
	if t.opts.APIKeySID != "" {
		req.SetBasicAuth(t.opts.APIKeySID, t.opts.APIKeySecret.Reveal())
	} else {
		req.SetBasicAuth(t.opts.AccountSID, t.opts.AuthToken.Reveal())
	}
	status, header, body, err := wire.Exchange(ctx, t.client, req)
	if err != nil {
		return "", err
	}
	var reply struct {
		SID       string `json:"sid"`        // accepted
		Status    string `json:"status"`     // accepted: a word; refused: a number, which json.Unmarshal reports as an error
		ErrorCode int    `json:"error_code"` // accepted, then failed at once
		Code      int    `json:"code"`       // refused
	}
	// Fields stay empty if the answer has another form.
	_ = json.Unmarshal(body, &reply)
	switch {
	case status >= 300:
		return "", codes.Judge(wire.StatusError(status, header), strconv.Itoa(reply.Code))
	case !messagePattern.MatchString(reply.SID):
		return "", wire.UnreadableError(status)
	case reply.Status == "failed" || reply.Status == "canceled":
		failed := &sms.Error{Kind: sms.Unavailable, Reason: "failed at once"}
		return "", codes.Judge(failed, strconv.Itoa(reply.ErrorCode))
	}
	return reply.SID, nil
}

// codes has the codes of https://www.twilio.com/docs/api/errors that Twilio may answer
// when a message is created. All other codes are Unavailable.
var codes = wire.Codes{
	"21211": {Kind: sms.Refused, Reason: "not a valid number"},
	"21217": {Kind: sms.Refused, Reason: "not a valid number"},
	"21265": {Kind: sms.Refused, Reason: "the number is a short code"},
	"21610": {Kind: sms.Refused, Reason: "the number opted out"},
	"21614": {Kind: sms.Refused, Reason: "not a mobile number"},
	"21635": {Kind: sms.Refused, Reason: "the number is a landline"},
	"30004": {Kind: sms.Refused, Reason: "the number is blocked"}, // 30004 to 30006 occur if a message fails at once
	"30005": {Kind: sms.Refused, Reason: "the number is unknown"},
	"30006": {Kind: sms.Refused, Reason: "the number is a landline, or never reachable"},

	"14107": {Kind: sms.Unavailable, Reason: "throttled"},
	"20003": {Kind: sms.Unavailable, Reason: "refused the credentials"},
	"20005": {Kind: sms.Unavailable, Reason: "the account is not active"},
	"20404": {Kind: sms.Unavailable, Reason: "the account or the sender is unknown"},
	"20429": {Kind: sms.Unavailable, Reason: "throttled"},
	"21212": {Kind: sms.Unavailable, Reason: "the sender is not valid"},
	"21408": {Kind: wire.Unserved, Reason: "the region is not enabled"},
	"21602": {Kind: sms.Unavailable, Reason: "the text is missing"},
	"21603": {Kind: sms.Unavailable, Reason: "the sender is missing"},
	"21606": {Kind: sms.Unavailable, Reason: "the sender is not allowed"},
	"21608": {Kind: wire.Unserved, Reason: "a trial account, and the number is not verified"},
	"21609": {Kind: sms.Unavailable, Reason: "the callback URL is not valid"},
	"21611": {Kind: sms.Unavailable, Reason: "the queue of the sender is full"},
	"21612": {Kind: wire.Unserved, Reason: "the sender does not reach the number"},
	"21617": {Kind: sms.Unavailable, Reason: "the text is too long"},
	"21657": {Kind: wire.Unserved, Reason: "the country does not accept the sender"},
	"21660": {Kind: sms.Unavailable, Reason: "the sender belongs to another account"},
	"21661": {Kind: sms.Unavailable, Reason: "the sender cannot send messages"},
	"21701": {Kind: sms.Unavailable, Reason: "the messaging service is unknown"},
	"21703": {Kind: sms.Unavailable, Reason: "the messaging service has no sender"},
	"21704": {Kind: sms.Unavailable, Reason: "the messaging service has no sender"},
	"21705": {Kind: sms.Unavailable, Reason: "the messaging service is not valid"},
	"30450": {Kind: wire.Unserved, Reason: "suspected SMS pumping"},
	"30001": {Kind: sms.Unavailable, Reason: "the queue of the sender is full"},
	"30002": {Kind: sms.Unavailable, Reason: "the account is suspended"},
}

// Receipts implements sms.Receiver. Twilio's signature does not cover a time, so an old
// receipt is as valid as a new one.
func (t *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	if r.Method != http.MethodPost {
		return nil, sms.ErrSignature
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !t.signs(form, r.Header.Get("X-Twilio-Signature")) {
		return nil, sms.ErrSignature
	}
	id, state := form.Get("MessageSid"), states[form.Get("MessageStatus")]
	if form.Get("AccountSid") != t.opts.AccountSID || !messagePattern.MatchString(id) || state == "" {
		return nil, nil
	}
	receipt := sms.Receipt{ID: id, State: state}
	if code := form.Get("ErrorCode"); (state == sms.Failed || state == sms.Undelivered) && wire.IsCode(code) {
		receipt.Reason = code
	}
	return []sms.Receipt{receipt}, nil
}

// signs reports whether signature is Twilio's: the HMAC-SHA-1, keyed with the auth token,
// of the callback URL and the sorted parameters, without separators
// (https://www.twilio.com/docs/usage/security).
func (t *Provider) signs(form url.Values, signature string) bool {
	var params strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := slices.Sorted(slices.Values(form[name]))
		for _, value := range slices.Compact(values) {
			params.WriteString(name + value)
		}
	}
	right := false
	for _, callback := range t.signed {
		mac := hmac.New(sha1.New, []byte(t.opts.AuthToken.Reveal()))
		mac.Write([]byte(callback + params.String()))
		want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
		right = hmac.Equal([]byte(want), []byte(signature)) || right
	}
	return right
}

// signedURLs returns the forms of a callback URL that Twilio may sign: with the port and
// without it.
func signedURLs(callback string) []string {
	if callback == "" {
		return nil
	}
	u, err := url.Parse(callback)
	if err != nil {
		return nil
	}
	scheme, rest, _ := strings.Cut(callback, "://")
	path := strings.TrimPrefix(rest, u.Host)
	host := strings.TrimSuffix(u.Host, ":"+u.Port())
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return []string{scheme + "://" + host + path, scheme + "://" + host + ":" + port + path}
}

var states = map[string]sms.State{
	"accepted":    sms.Queued,
	"scheduled":   sms.Queued,
	"queued":      sms.Queued,
	"sending":     sms.Queued,
	"sent":        sms.Sent,
	"delivered":   sms.Delivered,
	"read":        sms.Delivered,
	"undelivered": sms.Undelivered,
	"failed":      sms.Failed,
	"canceled":    sms.Failed,
}
