package sms

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

	"github.com/countersign-mfa/countersign/internal/secret"
)

// TwilioOptions configure Twilio. Requests are authenticated with the API key if
// there is one, and else with the auth token.
type TwilioOptions struct {
	AccountSID          string        // the account that sends, AC and 32 hexadecimal digits; required
	AuthToken           secret.String // of that account; required without an API key, and for receipts, which it signs
	APIKeySID           string        // SK and 32 hexadecimal digits; excludes requests with the auth token
	APIKeySecret        secret.String // required with APIKeySID
	From                string        // the sender: a number in E.164, a short code or a name; excludes MessagingServiceSID
	MessagingServiceSID string        // MG and 32 hexadecimal digits: Twilio chooses the sender; excludes From
	CallbackURL         string        // public https URL for receipts, as Twilio sees it; default none, and no receipts
	BaseURL             string        // default https://api.twilio.com; another region has its own
}

// Twilio sends through Twilio's Programmable Messaging (API version 2010-04-01).
type Twilio struct {
	client   *http.Client
	opts     TwilioOptions
	messages string   // the URL to post to
	signed   []string // the callback URL in every way that Twilio may sign it
}

var (
	twilioAccount = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	twilioKey     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	twilioService = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	twilioMessage = regexp.MustCompile(`^[SM]M[0-9a-fA-F]{32}$`)
)

// NewTwilio returns a Twilio, or an error that names the option which is wrong.
func NewTwilio(o TwilioOptions) (*Twilio, error) {
	fail := func(text string) (*Twilio, error) { return nil, errors.New("twilio: " + text) }
	hasToken, hasKey, hasKeySecret := o.AuthToken.Reveal() != "", o.APIKeySID != "", o.APIKeySecret.Reveal() != ""
	switch {
	case !twilioAccount.MatchString(o.AccountSID):
		return fail("account_sid must be AC and 32 hexadecimal digits")
	case hasKey && !twilioKey.MatchString(o.APIKeySID):
		return fail("api_key_sid must be SK and 32 hexadecimal digits")
	case hasKey && !hasKeySecret:
		return fail("api_key_secret is missing; api_key_sid is set")
	case !hasKey && hasKeySecret:
		return fail("api_key_sid is missing; api_key_secret is set")
	case !hasKey && !hasToken:
		return fail("auth_token is missing, and so is api_key_sid")
	case o.CallbackURL != "" && !hasToken:
		return fail("auth_token is missing; with callback_url it is needed to check receipts, whatever api_key_sid says")
	case o.From == "" && o.MessagingServiceSID == "":
		return fail("from is missing, and so is messaging_service_sid")
	case o.From != "" && o.MessagingServiceSID != "":
		return fail("from and messaging_service_sid exclude each other")
	case o.MessagingServiceSID != "" && !twilioService.MatchString(o.MessagingServiceSID):
		return fail("messaging_service_sid must be MG and 32 hexadecimal digits")
	}
	if err := checkCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("twilio: %w", err)
	}
	base, err := checkBaseURL(o.BaseURL, "https://api.twilio.com")
	if err != nil {
		return nil, fmt.Errorf("twilio: %w", err)
	}
	return &Twilio{
		client:   newClient(),
		opts:     o,
		messages: base + "/2010-04-01/Accounts/" + o.AccountSID + "/Messages.json",
		signed:   twilioSigned(o.CallbackURL),
	}, nil
}

// Send implements Provider. Twilio chooses GSM-7 or UCS-2 by the text.
func (t *Twilio) Send(ctx context.Context, m Message) (string, error) {
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
		set("ValidityPeriod", strconv.FormatInt(validity(m.ValidFor, time.Second, time.Second, 36000*time.Second), 10))
	}
	req, err := newPost(t.messages, "application/x-www-form-urlencoded", form.Encode())
	if err != nil {
		return "", err
	}
	if t.opts.APIKeySID != "" {
		req.SetBasicAuth(t.opts.APIKeySID, t.opts.APIKeySecret.Reveal())
	} else {
		req.SetBasicAuth(t.opts.AccountSID, t.opts.AuthToken.Reveal())
	}
	status, header, body, err := exchange(ctx, t.client, req)
	if err != nil {
		return "", err
	}
	var reply struct {
		SID       string `json:"sid"`        // accepted
		Status    string `json:"status"`     // accepted: a word; refused: a number, and an error of decoding
		ErrorCode int    `json:"error_code"` // accepted, and failed at once
		Code      int    `json:"code"`       // refused
	}
	// An answer of another shape leaves its fields empty.
	_ = json.Unmarshal(body, &reply)
	switch {
	case status >= 300:
		return "", twilioErrors.judge(byStatus(status, header), strconv.Itoa(reply.Code))
	case !twilioMessage.MatchString(reply.SID):
		return "", unreadable(status)
	case reply.Status == "failed" || reply.Status == "canceled":
		failed := &Error{Kind: Unavailable, Reason: "failed at once"}
		return "", twilioErrors.judge(failed, strconv.Itoa(reply.ErrorCode))
	}
	return reply.SID, nil
}

// twilioErrors has the codes of https://www.twilio.com/docs/api/errors that creating
// a message answers with. All others are Unavailable.
var twilioErrors = verdicts{
	"21211": {Refused, "not a valid number"},
	"21217": {Refused, "not a valid number"},
	"21265": {Refused, "the number is a short code"},
	"21610": {Refused, "the number opted out"},
	"21614": {Refused, "not a mobile number"},
	"21635": {Refused, "the number is a landline"},
	"30004": {Refused, "the number is blocked"}, // 30004 to 30006 if a message failed at once
	"30005": {Refused, "the number is unknown"},
	"30006": {Refused, "the number is a landline, or out of reach for good"},

	"14107": {Unavailable, "throttled"},
	"20003": {Unavailable, "refused the credentials"},
	"20005": {Unavailable, "the account is not active"},
	"20404": {Unavailable, "the account or the sender is unknown"},
	"20429": {Unavailable, "throttled"},
	"21212": {Unavailable, "the sender is not valid"},
	"21408": {unserved, "the region is not enabled"},
	"21602": {Unavailable, "the text is missing"},
	"21603": {Unavailable, "the sender is missing"},
	"21606": {Unavailable, "the sender is not allowed"},
	"21608": {unserved, "a trial account, and the number is not verified"},
	"21609": {Unavailable, "the callback URL is not valid"},
	"21611": {Unavailable, "the queue of the sender is full"},
	"21612": {unserved, "the sender does not reach the number"},
	"21617": {Unavailable, "the text is too long"},
	"21657": {unserved, "the country does not take the sender"},
	"21660": {Unavailable, "the sender belongs to another account"},
	"21661": {Unavailable, "the sender cannot send messages"},
	"21701": {Unavailable, "the messaging service is unknown"},
	"21703": {Unavailable, "the messaging service has no sender"},
	"21704": {Unavailable, "the messaging service has no sender"},
	"21705": {Unavailable, "the messaging service is not valid"},
	"30450": {unserved, "held back as SMS pumping"},
	"30001": {Unavailable, "the queue of the sender is full"},
	"30002": {Unavailable, "the account is suspended"},
}

// Receipts implements Receiver. Twilio signs no time: an old receipt is as genuine
// as a new one.
func (t *Twilio) Receipts(r *http.Request, body []byte) ([]Receipt, error) {
	if r.Method != http.MethodPost {
		return nil, ErrSignature
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !t.signs(form, r.Header.Get("X-Twilio-Signature")) {
		return nil, ErrSignature
	}
	id, state := form.Get("MessageSid"), twilioStates[form.Get("MessageStatus")]
	if form.Get("AccountSid") != t.opts.AccountSID || !twilioMessage.MatchString(id) || state == "" {
		return nil, nil
	}
	receipt := Receipt{ID: id, State: state}
	if code := form.Get("ErrorCode"); (state == Failed || state == Undelivered) && codePattern.MatchString(code) {
		receipt.Reason = code
	}
	return []Receipt{receipt}, nil
}

// signs reports whether signature is Twilio's: HMAC-SHA-1 under the auth token of
// the callback URL and the parameters, sorted, with nothing between them
// (https://www.twilio.com/docs/usage/security).
func (t *Twilio) signs(form url.Values, signature string) bool {
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

// twilioSigned returns the ways in which Twilio writes a callback URL when it signs
// it: with its port and without, which varies.
func twilioSigned(callback string) []string {
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

var twilioStates = map[string]State{
	"accepted":    Queued,
	"scheduled":   Queued,
	"queued":      Queued,
	"sending":     Queued,
	"sent":        Sent,
	"delivered":   Delivered,
	"read":        Delivered,
	"undelivered": Undelivered,
	"failed":      Failed,
	"canceled":    Failed,
}
