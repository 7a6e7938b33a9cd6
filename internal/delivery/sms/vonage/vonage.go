// Package vonage sends messages through Vonage.
package vonage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/smstext"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// Options configure a Provider.
type Options struct {
	APIKey          string           `yaml:"api_key"`          // required
	APISecret       secret.String    `yaml:"api_secret"`       // required
	From            string           `yaml:"from"`             // the sender: a number or a name of up to 11 characters; required
	SignatureSecret secret.String    `yaml:"signature_secret"` // checks the signatures of receipts; required with CallbackURL
	SignatureMethod string           `yaml:"signature_method"` // signature method of receipts, as set in the dashboard: md5hash, md5, sha1, sha256 or sha512; default sha256
	CallbackURL     string           `yaml:"callback_url"`     // public https URL for receipts, without a query; default none: no receipts
	BaseURL         string           `yaml:"base_url"`         // default https://rest.nexmo.com
	Now             func() time.Time // default time.Now
}

// A Provider sends through Vonage's SMS API.
type Provider struct {
	client   *http.Client
	opts     Options
	messages string // the URL to post to
}

// hmacHashes has the signature methods that use HMAC. The other method is md5hash: an MD5
// of the parameters and the secret.
var hmacHashes = map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

const md5Hash = "md5hash"

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	fail := func(text string) (*Provider, error) { return nil, errors.New("vonage: " + text) }
	hasSignature := o.SignatureSecret.Reveal() != ""
	if o.SignatureMethod == "" {
		o.SignatureMethod = "sha256"
	}
	switch {
	case o.APIKey == "":
		return fail("api_key is missing")
	case o.APISecret.Reveal() == "":
		return fail("api_secret is missing")
	case o.From == "":
		return fail("from is missing")
	case o.CallbackURL != "" && !hasSignature:
		return fail("signature_secret is missing; callback_url needs it to check receipts")
	case o.CallbackURL == "" && hasSignature:
		return fail("callback_url is missing; signature_secret is set")
	case hmacHashes[o.SignatureMethod] == nil && o.SignatureMethod != md5Hash:
		return fail("signature_method must be md5hash, md5, sha1, sha256 or sha512")
	case strings.Contains(o.CallbackURL, "?"):
		return fail("callback_url must have no query, because Vonage adds one")
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("vonage: %w", err)
	}
	base, err := wire.CheckBaseURL(o.BaseURL, "https://rest.nexmo.com")
	if err != nil {
		return nil, fmt.Errorf("vonage: %w", err)
	}
	o.Now = wallclock.Or(o.Now)
	return &Provider{client: wire.NewClient(), opts: o, messages: base + "/sms/json"}, nil
}

// Send implements sms.Provider. Vonage treats a long text as several messages, each with
// its own id and receipts. Send returns the id of the first.
func (v *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	form := url.Values{
		"api_key":    {v.opts.APIKey},
		"api_secret": {v.opts.APISecret.Reveal()},
		"from":       {strings.TrimPrefix(v.opts.From, "+")},
		"to":         {strings.TrimPrefix(m.To.Reveal(), "+")},
		"text":       {m.Text.Reveal()},
		"type":       {textType(m.Text.Reveal())},
		"client-ref": {m.Reference},
	}
	if m.ValidFor > 0 {
		form.Set("ttl", strconv.FormatInt(wire.Validity(m.ValidFor, time.Millisecond, 20*time.Second, 7*24*time.Hour), 10))
	}
	if v.opts.CallbackURL != "" {
		form.Set("callback", v.opts.CallbackURL)
	}
	req, err := wire.NewPost(v.messages, "application/x-www-form-urlencoded", form.Encode())
	if err != nil {
		return "", err
	}
	status, header, body, err := wire.Exchange(ctx, v.client, req)
	if err != nil {
		return "", err
	}
	return readReply(status, header, body)
}

// readReply reads an answer. It has one entry for each part of a message, which is
// accepted or refused separately; the HTTP status is 200 in both cases.
func readReply(status int, header http.Header, body []byte) (string, error) {
	var reply struct {
		Messages []struct {
			ID     string      `json:"message-id"`
			Status json.Number `json:"status"`
		} `json:"messages"`
	}
	err := json.Unmarshal(body, &reply)
	switch {
	case status >= 300:
		return "", wire.StatusError(status, header)
	case err != nil || len(reply.Messages) == 0:
		return "", wire.UnreadableError(status)
	}
	first, accepted := reply.Messages[0], 0
	for _, part := range reply.Messages {
		if part.Status == "0" {
			accepted++
		}
	}
	switch {
	case accepted == 0:
		refused := wire.StatusError(status, header)
		refused.Code, refused.Reason = "", "not accepted"
		return "", codes.Judge(refused, first.Status.String())
	case accepted < len(reply.Messages):
		return "", &sms.Error{Kind: sms.Uncertain, Reason: "partly accepted"}
	case !wire.IsID(first.ID):
		return "", wire.UnreadableError(status)
	}
	return first.ID, nil
}

// codes has the status codes of the SMS API
// (https://developer.vonage.com/en/api-errors/sms).
var codes = wire.Codes{
	"7":  {Kind: sms.Refused, Reason: "the number is barred"},
	"33": {Kind: sms.Refused, Reason: "the number is no longer in use"},

	"1":  {Kind: sms.Unavailable, Reason: "throttled"},
	"2":  {Kind: sms.Unavailable, Reason: "a parameter is missing"},
	"3":  {Kind: sms.Unavailable, Reason: "a parameter is not valid"},
	"4":  {Kind: sms.Unavailable, Reason: "refused the credentials"},
	"5":  {Kind: sms.Unavailable, Reason: "internal error of the service"},
	"6":  {Kind: wire.Unserved, Reason: "no route to the number"},
	"8":  {Kind: sms.Unavailable, Reason: "the account is barred"},
	"9":  {Kind: sms.Unavailable, Reason: "out of credit"},
	"10": {Kind: sms.Unavailable, Reason: "throttled: too many connections"},
	"11": {Kind: sms.Unavailable, Reason: "the account may not use this API"},
	"12": {Kind: sms.Unavailable, Reason: "the text is too long"},
	"14": {Kind: sms.Unavailable, Reason: "refused the signature"},
	"15": {Kind: wire.Unserved, Reason: "the sender is not allowed"},
	"22": {Kind: sms.Unavailable, Reason: "the network code is not valid"},
	"23": {Kind: sms.Unavailable, Reason: "the callback URL is not valid"},
	"29": {Kind: wire.Unserved, Reason: "a trial account, and the number is not on its list"},
	"32": {Kind: sms.Unavailable, Reason: "the account requires signed requests"},
}

// textType returns the encoding that Vonage must use for text. With type=text Vonage
// replaces characters outside of GSM-7 with question marks.
func textType(text string) string {
	for _, r := range text {
		if _, ok := smstext.Septets(r); !ok {
			return "unicode"
		}
	}
	return "text"
}

// Vonage repeats a receipt for 24 hours with the timestamp of the first try.
const (
	repeatWindow = 24*time.Hour + clockSkew
	clockSkew    = 5 * time.Minute // between Vonage's clock and this one
)

// Receipts implements sms.Receiver. Vonage sends a GET request, a posted form or posted
// JSON, depending on the settings of the account.
func (v *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	params, ok := callbackParams(r, body)
	if !ok || !v.signs(params) {
		return nil, sms.ErrSignature
	}
	if !wire.IsRecent(params["timestamp"], v.opts.Now(), repeatWindow, clockSkew) {
		return nil, sms.ErrSignature
	}
	id, state := params["messageId"], states[params["status"]]
	if !wire.IsID(id) || state == "" {
		return nil, nil
	}
	receipt := sms.Receipt{ID: id, State: state}
	if code := params["err-code"]; (state == sms.Failed || state == sms.Undelivered) && wire.IsCode(code) {
		receipt.Reason = code
	}
	return []sms.Receipt{receipt}, nil
}

// callbackParams returns the parameters of a callback. ok is false if the callback could
// be read in two ways, because a signature would then cover both.
func callbackParams(r *http.Request, body []byte) (params map[string]string, ok bool) {
	params = map[string]string{}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method == http.MethodPost && media == "application/json":
		var values map[string]any
		decode := json.NewDecoder(bytes.NewReader(body))
		decode.UseNumber()
		if decode.Decode(&values) != nil || decode.More() {
			return nil, false
		}
		for name, value := range values {
			switch value := value.(type) {
			case string:
				params[name] = value
			case json.Number:
				params[name] = value.String()
			default:
				return nil, false
			}
		}
	case r.Method == http.MethodPost || r.Method == http.MethodGet:
		query := string(body)
		if r.Method == http.MethodGet {
			query = r.URL.RawQuery
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return nil, false
		}
		for name, value := range values {
			if len(value) != 1 {
				return nil, false
			}
			params[name] = value[0]
		}
	default:
		return nil, false
	}
	for name := range params {
		if strings.ContainsAny(name, "&=") {
			return nil, false
		}
	}
	return params, true
}

// signs reports whether the parameter sig is Vonage's signature of the other parameters:
// sorted, each as "&name=value", with "_" instead of "&" and "=" in values
// (https://developer.vonage.com/en/getting-started/concepts/signing-messages).
func (v *Provider) signs(params map[string]string) bool {
	if v.opts.CallbackURL == "" {
		return false
	}
	separator := strings.NewReplacer("&", "_", "=", "_")
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if name != "sig" {
			text.WriteString("&" + name + "=" + separator.Replace(params[name]))
		}
	}
	key, want := v.opts.SignatureSecret.Reveal(), []byte(nil)
	if v.opts.SignatureMethod == md5Hash {
		sum := md5.Sum([]byte(text.String() + key))
		want = sum[:]
	} else {
		mac := hmac.New(hmacHashes[v.opts.SignatureMethod], []byte(key))
		mac.Write([]byte(text.String()))
		want = mac.Sum(nil)
	}
	got, err := hex.DecodeString(params["sig"]) // upper or lower case, depending on the method
	return err == nil && hmac.Equal(got, want)
}

var states = map[string]sms.State{
	"accepted":  sms.Sent,
	"buffered":  sms.Sent,
	"delivered": sms.Delivered,
	"expired":   sms.Undelivered,
	"failed":    sms.Undelivered,
	"rejected":  sms.Failed,
}
