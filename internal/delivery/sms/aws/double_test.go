package aws_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testKeyID  = "AKIAIOSFODNN7EXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	testRegion = "eu-central-1"
)

// A double answers as AWS does in one region: End User Messaging by JSON, SNS by the query
// protocol. It refuses the requests that AWS refuses.
type double struct {
	*httptest.Server
	answer http.HandlerFunc // answers valid requests instead of the double
	now    func() time.Time

	mu       sync.Mutex
	messages []acceptedMessage
	tries    int
	keyIDs   []string // of the accepted messages
}

// An acceptedMessage is a message that the double accepted by one of the APIs.
type acceptedMessage struct {
	To, Text, Kind, From string
	ConfigurationSet     string
	Protect              string
	MaxPrice             string
	TTL                  int
	Context, Country     map[string]string
	Attributes           map[string]string // SNS
}

func newDouble(t *testing.T) *double {
	t.Helper()
	d := &double{now: time.Now}
	d.Server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.Close)
	return d
}

func (d *double) accepted() []acceptedMessage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]acceptedMessage(nil), d.messages...)
}

func (d *double) lastKeyID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keyIDs) == 0 {
		return ""
	}
	return d.keyIDs[len(d.keyIDs)-1]
}

func (d *double) tried() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries
}

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.tries++
	d.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	refuse, service, accept := refuseJSON, "sms-voice", d.sendTextMessage
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		refuse, service, accept = refuseXML, "sns", d.publish
	}
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		refuse(w, 404, "UnknownOperationException", r.Method+" "+r.URL.Path, "")
		return
	}
	if code := d.checkSignature(r, body, service); code != "" {
		refuse(w, 403, code, "The request signature we calculated does not match", "")
		return
	}
	m, problem := accept(r, body)
	if problem != "" {
		refuse(w, 400, "ValidationException", problem, "INVALID_PARAMETER")
		return
	}
	if d.answer != nil {
		d.answer(w, r)
		return
	}
	d.mu.Lock()
	d.messages = append(d.messages, m)
	d.keyIDs = append(d.keyIDs, authorizationPattern.FindStringSubmatch(r.Header.Get("Authorization"))[1])
	id := fmt.Sprintf("862a8790-60c0-4430-9b2b-%012d", len(d.messages))
	d.mu.Unlock()
	if service == "sns" {
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>%s</MessageId></PublishResult><ResponseMetadata><RequestId>d74b8436-ae13-5ab4-a9ff-ce54dfea72a0</RequestId></ResponseMetadata></PublishResponse>`, id)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	fmt.Fprintf(w, `{"MessageId":%q}`, id)
}

var numberForm = regexp.MustCompile(`^\+?[1-9][0-9]{1,18}$`)

func (d *double) sendTextMessage(r *http.Request, body []byte) (m acceptedMessage, problem string) {
	if got := r.Header.Get("Content-Type"); got != "application/x-amz-json-1.0" {
		return m, "content type " + got
	}
	if got := r.Header.Get("X-Amz-Target"); got != "PinpointSMSVoiceV2.SendTextMessage" {
		return m, "target " + got
	}
	var in struct {
		DestinationPhoneNumber, MessageBody, MessageType, OriginationIdentity string
		ConfigurationSetName, ProtectConfigurationID, MaxPrice                string
		TimeToLive                                                            *int
		Context, DestinationCountryParameters                                 map[string]string
	}
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&in); err != nil {
		return m, err.Error()
	}
	m = acceptedMessage{
		To: in.DestinationPhoneNumber, Text: in.MessageBody, Kind: in.MessageType, From: in.OriginationIdentity,
		ConfigurationSet: in.ConfigurationSetName, Protect: in.ProtectConfigurationID, MaxPrice: in.MaxPrice,
		Context: in.Context, Country: in.DestinationCountryParameters,
	}
	switch {
	case !numberForm.MatchString(in.DestinationPhoneNumber):
		return m, "DestinationPhoneNumber"
	case len(in.MessageBody) == 0 || len([]rune(in.MessageBody)) > 1600:
		return m, "MessageBody"
	case in.MessageType != "TRANSACTIONAL" && in.MessageType != "PROMOTIONAL":
		return m, "MessageType"
	case in.TimeToLive != nil && (*in.TimeToLive < 5 || *in.TimeToLive > 259200):
		return m, "TimeToLive"
	}
	if in.TimeToLive != nil {
		m.TTL = *in.TimeToLive
	}
	return m, ""
}

func (d *double) publish(_ *http.Request, body []byte) (m acceptedMessage, problem string) {
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil:
		return m, err.Error()
	case form.Get("Action") != "Publish" || form.Get("Version") != "2010-03-31":
		return m, "Action or Version"
	case !numberForm.MatchString(form.Get("PhoneNumber")):
		return m, "PhoneNumber"
	case form.Get("Message") == "":
		return m, "Message"
	case form.Has("TopicArn") || form.Has("TargetArn"):
		return m, "one target alone"
	}
	m = acceptedMessage{To: form.Get("PhoneNumber"), Text: form.Get("Message"), Attributes: map[string]string{}}
	for i := 1; ; i++ {
		entry := "MessageAttributes.entry." + strconv.Itoa(i) + "."
		name := form.Get(entry + "Name")
		if name == "" {
			return m, ""
		}
		want := "String"
		if name == "AWS.SNS.SMS.MaxPrice" {
			want = "Number"
		}
		if form.Get(entry+"Value.DataType") != want {
			return m, "the type of " + name
		}
		m.Attributes[name] = form.Get(entry + "Value.StringValue")
	}
}

func refuseJSON(w http.ResponseWriter, status int, code, message, reason string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	out := map[string]any{"__type": "com.amazonaws.pinpointsmsvoicev2#" + code, "Message": message}
	if reason, field, named := strings.Cut(reason, " "); reason != "" {
		out["Reason"] = reason
		if named {
			out["Fields"] = []map[string]string{{"Name": field, "Message": message}}
		}
	}
	json.NewEncoder(w).Encode(out)
}

func refuseXML(w http.ResponseWriter, status int, code, message, _ string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	var text bytes.Buffer
	xml.EscapeText(&text, []byte(message))
	fmt.Fprintf(w, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>b25f48e8</RequestId></ErrorResponse>`, code, &text)
}

var authorizationPattern = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$`)

// secretsOfKeys has the secrets of the keys that the double knows.
var secretsOfKeys = map[string]string{
	testKeyID:              testSecret,
	"ASIATEMPORARYEXAMPLE": temporarySecret,
	"ASIASECONDKEYEXAMPLE": temporarySecret,
}

const (
	temporarySecret = "temporarySecretOfARole/EXAMPLEKEY"
	temporaryToken  = "temporaryTokenOfARole//EXAMPLE=="
)

// checkSignature computes the signature of the request from what arrived and returns AWS's
// error code if it differs.
func (d *double) checkSignature(r *http.Request, body []byte, service string) (code string) {
	parts := authorizationPattern.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil {
		return "MissingAuthenticationToken"
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case parts[1] != testKeyID && r.Header.Get("X-Amz-Security-Token") != temporaryToken:
		return "UnrecognizedClientException"
	case err != nil || d.now().Sub(at).Abs() > 5*time.Minute:
		return "RequestExpired"
	case parts[3] != testRegion || parts[4] != service:
		return "InvalidSignatureException"
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for _, name := range strings.Split(parts[5], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(strings.Split(parts[5], ";"), name) {
			return "InvalidSignatureException"
		}
	}
	canonical += "\n" + parts[5] + "\n" + hash(string(body))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + parts[2] + "/" + parts[3] + "/" + parts[4] + "/aws4_request\n" + hash(canonical)
	secretKey, ok := secretsOfKeys[parts[1]]
	if !ok {
		return "UnrecognizedClientException"
	}
	key := mac(mac(mac(mac([]byte("AWS4"+secretKey), parts[2]), parts[3]), parts[4]), "aws4_request")
	if parts[6] != hex.EncodeToString(mac(key, text)) {
		return "InvalidSignatureException"
	}
	return ""
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
