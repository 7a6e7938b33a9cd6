package webhook

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

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Options say how messages are handed to a gateway of the operator's own.
type Options struct {
	URL         string           `yaml:"url"`          // where messages are posted, https, or http on this machine; required
	Secret      secret.String    `yaml:"secret"`       // signs messages and receipts, at least 32 bytes; required
	CallbackURL string           `yaml:"callback_url"` // where receipts go, https; given with each message; default none
	Now         func() time.Time // default time.Now
}

// Provider posts messages to a gateway, which sends them.
type Provider struct {
	opts   Options
	client *http.Client
}

const (
	signatureHeader = "Countersign-Signature"
	maxAge          = 5 * time.Minute // how far from now a receipt may have been signed
	minSecret       = 32              // bytes, the fewest
)

// idPattern is how a gateway may name a message: in visible ASCII characters.
var idPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

// New returns a Webhook, or an error that names the option at fault.
func New(o Options) (*Provider, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Secret.Reveal()) < minSecret {
		return nil, fmt.Errorf("webhook: secret must have at least %d bytes", minSecret)
	}
	if err := wire.CheckTarget("url", o.URL); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if err := wire.CheckCallbackURL(o.CallbackURL); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return &Provider{opts: o, client: wire.NewClient()}, nil
}

// A messageRequest is what is posted.
type messageRequest struct {
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
func (w *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	text, err := json.Marshal(messageRequest{
		ID: m.Reference, To: m.To.Reveal(), Text: m.Text.Reveal(),
		ValidFor: int64(m.ValidFor / time.Second), CallbackURL: w.opts.CallbackURL,
	})
	if err != nil {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "no request can be made"}
	}
	req, err := wire.NewPost(w.opts.URL, "application/json", string(text))
	if err != nil {
		return "", err
	}
	t := strconv.FormatInt(w.opts.Now().Unix(), 10)
	req.Header.Set(signatureHeader, "t="+t+",v1="+hex.EncodeToString(w.mac(t, text)))
	status, header, body, err := wire.Exchange(ctx, w.client, req)
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
		e := wire.StatusError(status, header)
		if wrong != nil {
			return "", e
		}
		if code := wire.Word(reply.Reason); code != "" {
			e.Code = code
		}
		if reply.Refused && status >= 400 && status < 500 {
			e.Kind, e.Reason, e.RetryAfter = sms.Refused, "refused by the gateway", 0
		}
		return "", e
	}
	if wrong == nil && idPattern.MatchString(reply.ID) {
		return reply.ID, nil
	}
	return m.Reference, nil
}

// mac is what a signature at t, in seconds since 1970, must be.
func (w *Provider) mac(t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(w.opts.Secret.Reveal()))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// states has the states that a gateway may report.
var states = map[sms.State]bool{sms.Queued: true, sms.Sent: true, sms.Delivered: true, sms.Undelivered: true, sms.Failed: true}

// Receipts reads what the gateway posts, as Receiver says: one receipt. A message
// of ours that is sent back has the same signature, but no state, and is malformed.
func (w *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	if !w.signed(r.Header.Get(signatureHeader), body) {
		return nil, sms.ErrSignature
	}
	var receipt struct {
		ID     string    `json:"id"`
		State  sms.State `json:"state"`
		Reason string    `json:"reason"`
	}
	if json.Unmarshal(body, &receipt) != nil {
		return nil, sms.ErrMalformed
	}
	if !idPattern.MatchString(receipt.ID) || !states[receipt.State] {
		return nil, sms.ErrMalformed
	}
	got := sms.Receipt{ID: receipt.ID, State: receipt.State}
	if got.State == sms.Undelivered || got.State == sms.Failed {
		got.Reason = wire.Word(receipt.Reason)
	}
	return []sms.Receipt{got}, nil
}

// signed reports whether one of the signatures in header is right and recent.
// There may be several, while the secret is being replaced.
func (w *Provider) signed(header string, body []byte) bool {
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
	if !wire.IsRecent(t, w.opts.Now(), maxAge, maxAge) {
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
