package plivo_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

const (
	authID    = "MAXXXXXXXXXXXXXXXXXX"
	authToken = smstest.Secret
	sender    = "14152828726"
	powerpack = "86bbb125-97bb-4d72-89fd-81d5c515b015"
)

// A double answers as Plivo's Message API does when a message is sent.
type double struct {
	*httptest.Server
	mu       sync.Mutex
	accepted []map[string]any
	refuse   int // the status that refuses every message
}

func newDouble(t *testing.T) *double {
	d := &double{}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

var numberPattern = regexp.MustCompile(`^[1-9][0-9]{6,14}$`)

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	const apiID = "97ceeb52-58b6-11e1-86da-77300b68f8bb"
	answer := func(status int, fields map[string]any) {
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		fields["api_id"] = apiID
		smstest.AnswerJSON(w, status, fields)
	}
	refuse := func(status int, text string) { answer(status, map[string]any{"error": text}) }
	user, password, _ := r.BasicAuth()
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case user != authID || password != authToken:
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte("Could not verify your access level for that URL.\nYou have to login with proper credentials"))
		return
	case r.URL.Path != "/v1/Account/"+authID+"/Message/" || r.URL.RawQuery != "":
		refuse(404, "not found")
		return
	case r.Method != http.MethodPost:
		refuse(405, "method not allowed")
		return
	case media != "application/json":
		refuse(400, "the content type is not JSON")
		return
	}
	var fields map[string]any
	if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
		refuse(400, "malformed JSON")
		return
	}
	for name := range fields {
		known := []string{"src", "powerpack_uuid", "dst", "text", "type", "url", "method", "message_expiry", "log"}
		if !slices.Contains(known, name) {
			refuse(400, name+" is not a parameter")
			return
		}
	}
	text := func(name string) string { s, _ := fields[name].(string); return s }
	limit := 1600
	for _, c := range text("text") {
		if c > 0x7f {
			limit = 737
		}
	}
	expiry, hasExpiry := fields["message_expiry"].(float64)
	callback, err := url.Parse(text("url"))
	_, hasURL := fields["url"]
	switch {
	case (text("src") == "") == (text("powerpack_uuid") == ""):
		refuse(400, "either src or powerpack_uuid must be given")
	case text("src") != "" && text("src") != sender, text("powerpack_uuid") != "" && text("powerpack_uuid") != powerpack:
		refuse(400, "the source number is not yours")
	case text("text") == "" || utf8.RuneCountInString(text("text")) > limit:
		refuse(400, "text is missing or too long")
	case text("type") != "sms":
		refuse(400, "type is not sms")
	case hasExpiry && (expiry < 5 || expiry > 10800 || expiry != float64(int(expiry))):
		refuse(400, "message_expiry is out of range")
	case hasURL && (err != nil || !callback.IsAbs() || text("method") != "POST" && text("method") != "GET"):
		refuse(400, "url or method is not valid")
	case text("dst") == "":
		refuse(400, "dst parameter not present")
	case strings.Contains(text("dst"), "<"):
		refuse(400, "one number at a time, please")
	case !numberPattern.MatchString(text("dst")):
		answer(400, map[string]any{"error": "all numbers are invalid", "invalid_number": []string{text("dst")}})
	case d.refuse != 0:
		refuse(d.refuse, "Not to "+text("dst")+": "+text("text")+authToken)
	default:
		d.mu.Lock()
		d.accepted = append(d.accepted, fields)
		id := fmt.Sprintf("db3ce55a-7f1d-11e1-8ea7-%012x", len(d.accepted))
		d.mu.Unlock()
		answer(202, map[string]any{"message": "message(s) queued", "message_uuid": []string{id}})
	}
}

// sign is written from the description of version 3 of Plivo's signature, independently
// of the code under test.
func sign(token, callback, nonce string, form url.Values) string {
	pairs := []string{}
	for name := range form {
		pairs = append(pairs, name)
	}
	slices.Sort(pairs)
	for i, name := range pairs {
		pairs[i] = name + form.Get(name)
	}
	text := callback
	if len(pairs) > 0 {
		text += "?" + strings.Join(pairs, "")
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(text + "." + nonce))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
