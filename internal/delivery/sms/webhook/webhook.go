// Package webhook posts messages to a gateway of the operator, which sends them.
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
	"github.com/countersign-mfa/countersign/internal/trace"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// Options configure a Provider.
type Options struct {
	URL         string           `yaml:"url"`          // https URL of the gateway, or http on this machine; required
	Secret      secret.String    `yaml:"secret"`       // signs messages and receipts, at least 32 bytes; required
	CallbackURL string           `yaml:"callback_url"` // https URL for receipts, sent with each message; default none: no receipts
	Now         func() time.Time // default time.Now
}

// A Provider posts messages to a gateway, which sends them.
type Provider struct {
	opts   Options
	client *http.Client
}

const (
	signatureHeader = "Countersign-Signature"
	maxAge          = 5 * time.Minute // largest difference between now and the time of a signature
	minSecret       = 32              // bytes
)

// idPattern matches the ids that a gateway may give: visible ASCII characters.
var idPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

// New returns a Provider, or an error that names the wrong option.
func New(o Options) (*Provider, error) {
	o.Now = wallclock.Or(o.Now)
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

// A messageRequest is the body of the posted request.
type messageRequest struct {
	ID          string `json:"id"`
	To          string `json:"to"`
	Text        string `json:"text"`
	ValidFor    int64  `json:"valid_for,omitempty"` // seconds
	CallbackURL string `json:"callback_url,omitempty"`
}

// Send implements sms.Provider. The id is the reference of the message unless the gateway
// gives another.
//
// The request has no Idempotency-Key: with one, net/http would repeat the request after a
// broken connection.
func (w *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	text, err := json.Marshal(messageRequest{
		ID: m.Reference, To: m.To.Reveal(), Text: m.Text.Reveal(),
		ValidFor: int64(m.ValidFor / time.Second), CallbackURL: w.opts.CallbackURL,
	})
	if err != nil {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req, err := wire.NewPost(w.opts.URL, "application/json", string(text))
	if err != nil {
		return "", err
	}
	t := strconv.FormatInt(w.opts.Now().Unix(), 10)
	req.Header.Set(signatureHeader, "t="+t+",v1="+hex.EncodeToString(w.mac(t, text)))
	trace.Inject(ctx, req.Header) // the gateway belongs to the operator
	status, header, body, err := wire.Exchange(ctx, w.client, req)
	if err != nil {
		return "", err
	}
	var reply struct {
		ID      string `json:"id"`
		Refused bool   `json:"refused"`
		Reason  string `json:"reason"`
	}
	wrong := json.Unmarshal(body, &reply) // the body may be empty, or not JSON
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

// mac returns the valid signature of body at t, in seconds since 1970.
func (w *Provider) mac(t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(w.opts.Secret.Reveal()))
	mac.Write([]byte(t))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return mac.Sum(nil)
}

// states has the states that a gateway may report.
var states = map[sms.State]bool{sms.Queued: true, sms.Sent: true, sms.Delivered: true, sms.Undelivered: true, sms.Failed: true}

// Receipts implements sms.Receiver. A callback has one receipt. A message of Countersign
// that is posted back has a valid signature but no state, so it is malformed.
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

// signed reports whether one of the signatures in header is valid and recent. A gateway
// may send several while the secret is being replaced.
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
