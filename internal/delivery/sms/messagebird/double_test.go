package messagebird_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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

// A double answers as the documentation of POST /messages of rest.messagebird.com says.
type double struct {
	*httptest.Server

	mu       sync.Mutex
	accepted []acceptedMessage
	broke    bool
	failed   int // the status error code of messages, which then fail at once
}

type acceptedMessage struct {
	Originator string   `json:"originator"`
	Body       string   `json:"body"`
	Recipients []string `json:"recipients"`
	Type       string   `json:"type"`
	Reference  string   `json:"reference"`
	Validity   *int     `json:"validity"`
	DataCoding string   `json:"datacoding"`
	ReportURL  string   `json:"reportUrl"`
	ID         string   `json:"-"`
	Shown      string   `json:"-"` // on the phone
}

const accessKey = "live_" + smstest.Secret

var msisdnPattern = regexp.MustCompile(`^[1-9][0-9]{6,14}$`)

func newDouble(t *testing.T) *double {
	d := &double{}
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
	type problem map[string]any
	fail := func(status int, problems ...problem) {
		smstest.AnswerJSON(w, status, map[string]any{"errors": problems})
	}
	if r.URL.Path != "/messages" {
		fail(404, problem{"code": 98, "description": "API not found", "parameter": nil})
		return
	}
	if r.Header.Get("Authorization") != "AccessKey "+accessKey {
		fail(401, problem{"code": 2, "description": "Request not allowed (incorrect access_key)", "parameter": "access_key"})
		return
	}
	var m acceptedMessage
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		fail(400, problem{"code": 21, "description": "Bad request", "parameter": nil})
		return
	}
	var problems []problem
	if m.Originator == "" {
		problems = append(problems, problem{"code": 9, "description": "originator is required", "parameter": "originator"})
	} else if len(m.Originator) > 17 || strings.Contains(m.Originator, "Forbidden") {
		problems = append(problems, problem{"code": 10, "description": "originator is invalid", "parameter": "originator"})
	}
	if m.Body == "" {
		problems = append(problems, problem{"code": 9, "description": "body is required", "parameter": "body"})
	}
	if len(m.Recipients) != 1 || !msisdnPattern.MatchString(m.Recipients[0]) {
		problems = append(problems, problem{"code": 9, "description": "no (correct) recipients found: " + smstest.Number, "parameter": "recipients"})
	}
	if m.Validity != nil && (*m.Validity < 1 || *m.Validity > 172800) {
		problems = append(problems, problem{"code": 10, "description": "validity is invalid", "parameter": "validity"})
	}
	if m.DataCoding != "" && m.DataCoding != "plain" && m.DataCoding != "unicode" && m.DataCoding != "auto" {
		problems = append(problems, problem{"code": 10, "description": "datacoding is invalid", "parameter": "datacoding"})
	}
	if m.ReportURL != "" && m.Reference == "" {
		problems = append(problems, problem{"code": 9, "description": "reference is required", "parameter": "reference"})
	}
	if m.Type != "" && m.Type != "sms" {
		problems = append(problems, problem{"code": 10, "description": "type is invalid", "parameter": "type"})
	}
	if len(problems) > 0 {
		fail(422, problems...)
		return
	}
	if d.broke {
		fail(402, problem{"code": 25, "description": "Not enough balance", "parameter": nil})
		return
	}
	m.ID, m.Shown = fmt.Sprintf("e8077d803532c0b5937c6%011d", len(d.accepted)+1), m.Body
	if m.DataCoding == "" || m.DataCoding == "plain" {
		m.Shown = strings.Map(func(c rune) rune {
			if c > 127 {
				return '?'
			}
			return c
		}, m.Body)
	}
	d.accepted = append(d.accepted, m)
	item := map[string]any{"recipient": json.Number(m.Recipients[0]), "status": "sent", "statusDatetime": "2026-11-24T10:00:00+00:00", "messagePartCount": 1}
	if d.failed > 0 {
		item["status"], item["statusReason"], item["statusErrorCode"] = "delivery_failed", "opted out", d.failed
	}
	smstest.AnswerJSON(w, 201, map[string]any{
		"id": m.ID, "href": d.URL + "/messages/" + m.ID, "direction": "mt", "type": "sms", "originator": m.Originator,
		"body": m.Body, "reference": m.Reference, "validity": m.Validity, "gateway": 10, "typeDetails": map[string]any{},
		"datacoding": m.DataCoding, "mclass": 1, "scheduledDatetime": nil, "createdDatetime": "2026-11-24T10:00:00+00:00",
		"recipients": map[string]any{"totalCount": 1, "totalSentCount": 1, "totalDeliveredCount": 0, "totalDeliveryFailedCount": 0, "items": []any{item}},
	})
}

// statusReport returns the query of a status report.
func statusReport(id, status string, more ...string) string {
	q := url.Values{
		"id": {id}, "status": {status}, "reference": {"auth_challenge_01FVYZWQ-1"}, "recipient": {smstest.Number[1:]},
		"statusDatetime": {"2026-11-24T10:00:00+00:00"}, "mccmnc": {"20408"}, "ported": {"1"},
	}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q.Encode()
}

// signToken returns a JSON Web Token with a header and claims.
func signToken(key, header string, claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(text)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

// newClaims returns the claims of a token for a URL and a body at a time.
func newClaims(at time.Time, url string, body []byte) map[string]any {
	sum := func(data []byte) string { h := sha256.Sum256(data); return hex.EncodeToString(h[:]) }
	claims := map[string]any{
		"iss": "MessageBird", "nbf": at.Unix(), "exp": at.Unix() + 60,
		"jti": "59a244dc-e9ad-4e23-9778-371faa238f72", "url_hash": sum([]byte(url)),
	}
	if len(body) > 0 {
		claims["payload_hash"] = sum(body)
	}
	return claims
}

// setOldSignature adds the older signature to a request with a query that is sorted by key
// and without a body.
func setOldSignature(r *http.Request, key string, at time.Time, query string) {
	t, empty := strconv.FormatInt(at.Unix(), 10), sha256.Sum256(nil)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(t + "\n" + query + "\n" + string(empty[:])))
	r.Header.Set("MessageBird-Request-Timestamp", t)
	r.Header.Set("MessageBird-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
