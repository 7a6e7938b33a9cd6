package sms

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// WebhookOptions say how messages are handed to a gateway of the operator's own.
type WebhookOptions struct {
	URL         string           // where messages are posted, https, or http on this machine; required
	Secret      secret.String    // signs messages and receipts, at least 32 bytes; required
	CallbackURL string           // where receipts go, https; given with each message; default none
	Now         func() time.Time // default time.Now
}

// Webhook posts messages to a gateway, which sends them.
type Webhook struct {
	opts   WebhookOptions
	client *http.Client
}

const (
	webhookSignature = "Countersign-Signature"
	webhookAge       = 5 * time.Minute // how far from now a receipt may have been signed
	webhookSecret    = 32              // bytes, the fewest
)

// webhookID is how a gateway may name a message: in visible ASCII characters.
var webhookID = regexp.MustCompile(`^[!-~]{1,128}$`)

// NewWebhook returns a Webhook, or an error that names the option at fault.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Secret.Reveal()) < webhookSecret {
		return nil, fmt.Errorf("webhook: secret must have at least %d bytes", webhookSecret)
	}
	if err := checkTarget("url", o.URL); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if err := checkCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return &Webhook{opts: o, client: newClient()}, nil
}

// A webhookMessage is what is posted.
type webhookMessage struct {
	ID          string `json:"id"`
	To          string `json:"to"`
	Text        string `json:"text"`
	ValidFor    int64  `json:"valid_for,omitempty"` // seconds
	CallbackURL string `json:"callback_url,omitempty"`
}

// Send hands m over, as Provider says. The id is the message's reference unless
// the gateway gives another.
//
// There is no Idempotency-Key in the request: net/http would send it once more by
// itself after a connection broke.
func (w *Webhook) Send(ctx context.Context, m Message) (string, error) {
	text, err := json.Marshal(webhookMessage{
		ID: m.Reference, To: m.To.Reveal(), Text: m.Text.Reveal(),
		ValidFor: int64(m.ValidFor / time.Second), CallbackURL: w.opts.CallbackURL,
	})
	if err != nil {
		return "", &Error{Kind: Unavailable, Reason: "no request can be made"}
	}
	req, err := newPost(w.opts.URL, "application/json", string(text))
	if err != nil {
		return "", err
	}
	t := strconv.FormatInt(w.opts.Now().Unix(), 10)
	req.Header.Set(webhookSignature, "t="+t+",v1="+hex.EncodeToString(w.mac(t, text)))
	status, header, body, err := exchange(ctx, w.client, req)
	if err != nil {
		return "", err
	}
	var reply struct {
		ID      string `json:"id"`
		Refused bool   `json:"refused"`
		Reason  string `json:"reason"`
	}
	wrong := json.Unmarshal(body, &reply) // an answer may be empty, or not JSON
	if status < 200 || status > 299 {
		e := byStatus(status, header)
		if wrong != nil {
			return "", e
		}
		if code := word(reply.Reason); code != "" {
			e.Code = code
		}
		if reply.Refused && status >= 400 && status < 500 {
			e.Kind, e.Reason, e.RetryAfter = Refused, "refused by the gateway", 0
		}
		return "", e
	}
	if wrong == nil && webhookID.MatchString(reply.ID) {
		return reply.ID, nil
	}
	return m.Reference, nil
}

// mac is what a signature at t, in seconds since 1970, must be.
func (w *Webhook) mac(t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(w.opts.Secret.Reveal()))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// webhookStates has the states that a gateway may report.
var webhookStates = map[State]bool{Queued: true, Sent: true, Delivered: true, Undelivered: true, Failed: true}

// Receipts reads what the gateway posts, as Receiver says: one receipt. A message
// of ours that is sent back has the same signature, but no state, and is malformed.
func (w *Webhook) Receipts(r *http.Request, body []byte) ([]Receipt, error) {
	if !w.signed(r.Header.Get(webhookSignature), body) {
		return nil, ErrSignature
	}
	var receipt struct {
		ID     string `json:"id"`
		State  State  `json:"state"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &receipt) != nil {
		return nil, errReceipt
	}
	if !webhookID.MatchString(receipt.ID) || !webhookStates[receipt.State] {
		return nil, errReceipt
	}
	got := Receipt{ID: receipt.ID, State: receipt.State}
	if got.State == Undelivered || got.State == Failed {
		got.Reason = word(receipt.Reason)
	}
	return []Receipt{got}, nil
}

// signed reports whether one of the signatures in header is right and recent.
// There may be several, while the secret is being replaced.
func (w *Webhook) signed(header string, body []byte) bool {
	var t string
	var signatures []string
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			t = value
		case "v1":
			signatures = append(signatures, value)
		}
	}
	if !isRecent(t, w.opts.Now(), webhookAge, webhookAge) {
		return false
	}
	want := w.mac(t, body)
	for _, s := range signatures {
		if got, err := hex.DecodeString(s); err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}
