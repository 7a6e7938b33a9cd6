package telnyx_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

// A double behaves as POST /v2/messages of api.telnyx.com is documented to.
type double struct {
	*httptest.Server

	mu       sync.Mutex
	accepted []acceptedMessage
	optedOut map[string]bool // numbers that answered STOP
	broke    bool
	waits    string // x-ratelimit-reset, while requests are too many
}

type acceptedMessage struct {
	From               string  `json:"from"`
	MessagingProfileID string  `json:"messaging_profile_id"`
	To                 string  `json:"to"`
	Text               string  `json:"text"`
	Type               string  `json:"type"`
	WebhookURL         string  `json:"webhook_url"`
	UseProfileWebhooks *bool   `json:"use_profile_webhooks"`
	ID                 string  `json:"-"`
	Encoding           string  `json:"-"`
	FailoverURL        *string `json:"webhook_failover_url"`
}

const (
	signingKey = "KEY0123456789ABCDEF_" + smstest.Secret
	profile    = "4000eba1-a0c0-4563-9925-b25e842a7cb6"
	sender     = "+18445550001" // is on the profile
)

var e164Pattern = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func newDouble(t *testing.T) *double {
	d := &double{optedOut: map[string]bool{}}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

// all returns the accepted messages.
func (d *double) all() []acceptedMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fail := func(status int, code, title, pointer string) {
		e := map[string]any{
			"code": code, "title": title, "detail": title + ": " + smstest.Number + ".",
			"meta": map[string]string{"url": "https://developers.telnyx.com/docs/overview/errors/" + code},
		}
		if pointer != "" {
			e["source"] = map[string]string{"pointer": pointer}
		}
		smstest.AnswerJSON(w, status, map[string]any{"errors": []any{e}})
	}
	if r.URL.Path != "/v2/messages" || r.Method != http.MethodPost {
		fail(404, "10005", "Resource not found", "")
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+signingKey {
		fail(401, "10009", "Authentication failed", "")
		return
	}
	if d.waits != "" {
		w.Header().Set("X-RateLimit-Limit", "50")
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", d.waits)
		fail(429, "10011", "Too many requests", "")
		return
	}
	if r.Header.Get("Content-Type") != "application/json" {
		fail(415, "10014", "Unsupported Media Type", "")
		return
	}
	var m acceptedMessage
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		fail(400, "10015", "Bad Request", "")
		return
	}
	callback, err := url.Parse(m.WebhookURL)
	switch named := strings.ContainsAny(strings.ToLower(m.From), "abcdefghijklmnopqrstuvwxyz"); {
	case m.To == "":
		fail(422, "10004", "Missing required parameter", "/to")
	case !strings.HasPrefix(m.To, "+"):
		fail(422, "10016", "Phone number must be in +E.164 format", "/to")
	case !e164Pattern.MatchString(m.To):
		fail(422, "40310", "Invalid 'to' address", "/to")
	case m.Text == "":
		fail(422, "40316", "No content provided for message", "/text")
	case m.Type != "SMS":
		fail(422, "40304", "Invalid combination of message content arguments", "/type")
	case m.From == "" && m.MessagingProfileID == "":
		fail(422, "10004", "Missing required parameter", "/from")
	case m.From != "" && !named && m.From != sender:
		fail(422, "40305", "Invalid 'from' address", "/from")
	case named && m.MessagingProfileID == "":
		fail(422, "40306", "Alpha sender not configured", "/from")
	case m.WebhookURL != "" && (err != nil || callback.Host == ""):
		fail(422, "10003", "Invalid URL", "/webhook_url")
	case d.optedOut[m.To]:
		fail(409, "40300", "Blocked due to STOP message", "")
	case d.broke:
		fail(402, "20100", "Insufficient Funds", "")
	default:
		m.ID = fmt.Sprintf("40385f64-5717-4562-b3fc-%012d", len(d.accepted)+1)
		m.Encoding = "GSM-7"
		for _, c := range m.Text {
			if c > 127 {
				m.Encoding = "UCS-2" // sufficient: no test has other letters of GSM-7
			}
		}
		d.accepted = append(d.accepted, m)
		smstest.AnswerJSON(w, 200, map[string]any{"data": map[string]any{
			"record_type": "message", "direction": "outbound", "id": m.ID, "type": m.Type,
			"messaging_profile_id": profile,
			"from":                 map[string]any{"phone_number": m.From, "carrier": "TELNYX LLC", "line_type": "VoIP"},
			"to":                   []any{map[string]any{"phone_number": m.To, "status": "queued", "carrier": "T-MOBILE USA, INC.", "line_type": "Wireless"}},
			"text":                 m.Text, "encoding": m.Encoding, "parts": 1, "valid_until": nil, "errors": []any{},
		}})
	}
}

// webhookBody returns the body of a Telnyx webhook about a message.
func webhookBody(event, id, status string, errors ...string) []byte {
	list := []any{}
	for _, code := range errors {
		list = append(list, map[string]any{"code": code, "title": "Undeliverable", "detail": "to " + smstest.Number})
	}
	body, err := json.Marshal(map[string]any{
		"data": map[string]any{
			"event_type": event, "id": "4ee8c3a6-4995-4309-a3c6-38e3db9ea4be", "record_type": "event",
			"occurred_at": "2026-11-24T10:00:00.148+00:00",
			"payload": map[string]any{
				"id": id, "direction": "outbound", "record_type": "message", "type": "SMS", "text": smstest.Text,
				"from":   map[string]any{"phone_number": sender},
				"to":     []any{map[string]any{"phone_number": smstest.Number, "status": status}},
				"errors": list,
			},
		},
		"meta": map[string]any{"attempt": 1, "delivered_to": "https://mfa.example.com/sms/telnyx"},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// signedRequest returns a request with body, signed at a time.
func signedRequest(key ed25519.PrivateKey, at time.Time, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/sms/telnyx", nil)
	t := strconv.FormatInt(at.Unix(), 10)
	r.Header.Set("telnyx-timestamp", t)
	r.Header.Set("telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(t+"|"+string(body)))))
	return r
}
