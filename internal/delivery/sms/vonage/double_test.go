package vonage_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

const (
	key       = "abcd1234"
	apiSecret = smstest.Secret
	sender    = "Acme"
)

// A double answers as Vonage's SMS API does: with the status 200, and one entry
// for each part of a message.
type double struct {
	*httptest.Server
	mu       sync.Mutex
	accepted []url.Values
	status   []string // of the parts, instead of "0"
}

func newDouble(t *testing.T) *double {
	d := &double{}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

var number = regexp.MustCompile(`^[0-9]{7,15}$`)

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/sms/json" || r.URL.RawQuery != "" {
		http.NotFound(w, r)
		return
	}
	answer := func(parts ...map[string]string) {
		smstest.AnswerJSON(w, http.StatusOK, map[string]any{"message-count": strconv.Itoa(len(parts)), "messages": parts})
	}
	refuse := func(status, text string) {
		answer(map[string]string{"status": status, "error-text": text})
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err := r.ParseForm(); err != nil || media != smstest.FormMedia {
		refuse("2", "Missing api_key")
		return
	}
	form := r.PostForm
	for name, values := range form {
		known := []string{"api_key", "api_secret", "from", "to", "text", "type", "ttl", "callback", "client-ref"}
		if !slices.Contains(known, name) || len(values) != 1 {
			refuse("3", "Invalid value for parameter: "+name)
			return
		}
	}
	for _, name := range []string{"api_key", "api_secret", "from", "to", "text"} {
		if form.Get(name) == "" {
			refuse("2", "Missing "+name)
			return
		}
	}
	text, to := form.Get("text"), form.Get("to")
	ttl, ttlErr := strconv.Atoi(form.Get("ttl"))
	callback, callbackErr := url.Parse(form.Get("callback"))
	size := 160
	if form.Get("type") == "unicode" {
		size = 70
	}
	switch {
	case form.Get("api_key") != key || form.Get("api_secret") != apiSecret:
		refuse("4", "Bad Credentials")
	case !number.MatchString(to):
		refuse("3", "Invalid to parameter: "+to)
	case form.Get("type") != "text" && form.Get("type") != "unicode":
		refuse("3", "Invalid value for parameter: type")
	case form.Has("ttl") && (ttlErr != nil || ttl < 20000 || ttl > 604800000):
		refuse("3", "Invalid value for parameter: ttl")
	case len(form.Get("client-ref")) > 40:
		refuse("3", "Invalid value for parameter: client-ref")
	case form.Get("from") != sender && form.Get("from") != "447700900001":
		refuse("15", "Illegal Sender Address - rejected")
	case form.Has("callback") && (callbackErr != nil || !callback.IsAbs()):
		refuse("23", "Invalid callback url")
	default:
		parts := []map[string]string{}
		for rest := len(utf16.Encode([]rune(text))); rest > 0; rest -= size {
			status, n := "0", len(parts)
			if n < len(d.status) {
				status = d.status[n]
			}
			if status != "0" {
				parts = append(parts, map[string]string{"status": status, "error-text": "Not to " + to + ": " + text + apiSecret})
				continue
			}
			parts = append(parts, map[string]string{
				"to": to, "message-id": fmt.Sprintf("0A00000000ABCD%02d", n), "status": status, "client-ref": form.Get("client-ref"),
				"remaining-balance": "3.14159265", "message-price": "0.03330000", "network": "23410",
			})
		}
		d.mu.Lock()
		d.accepted = append(d.accepted, form)
		d.mu.Unlock()
		answer(parts...)
	}
}

// sign is written from the description of Vonage's signature, independently of the
// code under test.
func sign(method, secret string, params map[string]string) string {
	lines := []string{}
	for name, value := range params {
		if name != "sig" {
			lines = append(lines, "&"+name+"="+strings.NewReplacer("=", "_", "&", "_").Replace(value))
		}
	}
	slices.Sort(lines)
	text := strings.Join(lines, "")
	var h hash.Hash
	switch method {
	case "md5hash":
		return fmt.Sprintf("%x", md5.Sum([]byte(text+secret)))
	case "md5":
		h = hmac.New(md5.New, []byte(secret))
	case "sha1":
		h = hmac.New(sha1.New, []byte(secret))
	case "sha256":
		h = hmac.New(sha256.New, []byte(secret))
	case "sha512":
		h = hmac.New(sha512.New, []byte(secret))
	}
	h.Write([]byte(text))
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}
