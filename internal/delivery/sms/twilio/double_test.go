package twilio_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

const (
	accountSID = "AC0123456789abcdef0123456789abcdef"
	authToken  = smstest.Secret
	keySID     = "SK00112233445566778899aabbccddeeff"
	keySecret  = "KeySecretKeySecretKeySecretKeySe"
	mg         = "MG00112233445566778899aabbccddeeff"
	sender     = "+15017122661"
)

// A double answers as Twilio's Messages resource does when a message is created.
type double struct {
	*httptest.Server
	mu       sync.Mutex
	accepted []url.Values
	refuse   map[string]refusal // by number
}

type refusal struct{ status, code int }

func newDouble(t *testing.T) *double {
	d := &double{refuse: map[string]refusal{}}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	refuse := func(status, code int, message string) {
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "2")
		}
		smstest.AnswerJSON(w, status, map[string]any{
			"code": code, "message": message, "status": status,
			"more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code),
		})
	}
	user, password, _ := r.BasicAuth()
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.URL.Path != "/2010-04-01/Accounts/"+accountSID+"/Messages.json" || r.URL.RawQuery != "":
		refuse(404, 20404, "The requested resource was not found")
		return
	case r.Method != http.MethodPost:
		refuse(405, 20004, "Method not allowed")
		return
	case !(user == accountSID && password == authToken || user == keySID && password == keySecret):
		refuse(401, 20003, "Authenticate")
		return
	case media != "application/x-www-form-urlencoded":
		refuse(415, 20415, "Unsupported media type")
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(400, 20001, "Bad request")
		return
	}
	form := r.PostForm
	for name, values := range form {
		known := []string{"To", "Body", "From", "MessagingServiceSid", "StatusCallback", "ValidityPeriod"}
		if !slices.Contains(known, name) || len(values) != 1 || values[0] == "" {
			refuse(400, 20001, "Parameter "+name+" is not valid")
			return
		}
	}
	to, text := form.Get("To"), form.Get("Body")
	callback, err := url.Parse(form.Get("StatusCallback"))
	period, periodErr := strconv.Atoi(form.Get("ValidityPeriod"))
	switch {
	case to == "":
		refuse(400, 21604, "A 'To' phone number is required.")
	case !form.Has("From") && !form.Has("MessagingServiceSid"):
		refuse(400, 21603, "A 'From' phone number is required.")
	case form.Has("MessagingServiceSid") && form.Get("MessagingServiceSid") != mg:
		refuse(404, 21701, "The Messaging Service does not exist")
	case form.Has("From") && form.Get("From") != sender:
		refuse(400, 21660, "Mismatch between the 'From' number and the account")
	case text == "":
		refuse(400, 21602, "Message body is required.")
	case utf8.RuneCountInString(text) > 1600:
		refuse(400, 21617, "The concatenated message body exceeds the 1600 character limit")
	case form.Has("StatusCallback") && (err != nil || !callback.IsAbs() || callback.Host == ""):
		refuse(400, 21609, "The StatusCallback URL is not a valid URL.")
	case form.Has("ValidityPeriod") && (periodErr != nil || period < 1 || period > 36000):
		refuse(400, 20001, "Parameter ValidityPeriod is not valid")
	case !e164.MatchString(to):
		refuse(400, 21211, "Invalid 'To' Phone Number: "+to)
	case d.refuse[to] != refusal{}:
		refuse(d.refuse[to].status, d.refuse[to].code, "Not to "+to+" by "+user+": "+text)
	default:
		d.mu.Lock()
		d.accepted = append(d.accepted, form)
		sid := fmt.Sprintf("SM%032x", len(d.accepted))
		d.mu.Unlock()
		smstest.AnswerJSON(w, http.StatusCreated, map[string]any{
			"sid": sid, "account_sid": accountSID, "api_version": "2010-04-01", "status": "queued", "direction": "outbound-api",
			"to": to, "from": form.Get("From"), "body": text, "error_code": nil, "error_message": nil, "num_segments": "1",
			"price": nil, "price_unit": "USD", "date_sent": nil, "uri": "/2010-04-01/Accounts/" + accountSID + "/Messages/" + sid + ".json",
		})
	}
}

// sign is written from the description of Twilio's signature, independently of the
// code under test.
func sign(token, callback string, form url.Values) string {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	text := callback
	for _, name := range names {
		text += name + form.Get(name)
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
