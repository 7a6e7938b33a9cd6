package aws_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
)

const (
	testTopic = "arn:aws:sns:eu-central-1:123456789012:sms-events"
	certPath  = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	certURL   = "https://sns.eu-central-1.amazonaws.com" + certPath
)

var fixedNow = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

var signingKeys = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		var err error
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return keys
})

// A snsDouble is the part of SNS in one region that subscribers see. It is an
// http.RoundTripper and replaces the network.
type snsDouble struct {
	certs  map[string][]byte // by path
	status int               // answered instead of a certificate
	broken error             // returned instead of an answer

	mu    sync.Mutex
	calls []string
}

func newSNSDouble(t *testing.T) *snsDouble {
	t.Helper()
	return &snsDouble{certs: map[string][]byte{certPath: makeCertificate(t, "sns.amazonaws.com", fixedNow.Add(24*time.Hour))}}
}

func makeCertificate(t *testing.T, name string, until time.Time) []byte {
	t.Helper()
	key := signingKeys()[0]
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: fixedNow.Add(-365 * 24 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (d *snsDouble) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, r.URL.String())
	if d.broken != nil {
		return nil, d.broken
	}
	w := httptest.NewRecorder()
	body, found := d.certs[r.URL.Path]
	switch {
	case r.URL.Scheme != "https" || r.URL.Host != "sns.eu-central-1.amazonaws.com" || r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMisdirectedRequest)
	case d.status != 0:
		w.WriteHeader(d.status)
	case found:
		w.Write(body)
	case r.URL.Query().Get("Action") == "ConfirmSubscription" && r.URL.Query().Get("TopicArn") == testTopic && r.URL.Query().Get("Token") == "2336412f37":
		io.WriteString(w, "<ConfirmSubscriptionResponse/>")
	default:
		w.WriteHeader(http.StatusForbidden)
	}
	return w.Result(), nil
}

// A snsPost is a post of SNS before it is signed.
type snsPost map[string]string

func snsNotification(message string) snsPost {
	return snsPost{
		"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": testTopic,
		"Message": message, "Timestamp": "2026-11-24T11:59:58.655Z", "SignatureVersion": "1",
		"SigningCertURL": certURL, "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
	}
}

func snsConfirmation() snsPost {
	p := snsNotification("You have chosen to subscribe to the topic " + testTopic + ".\nTo confirm the subscription, visit the SubscribeURL.")
	p["Type"], p["Token"] = "SubscriptionConfirmation", "2336412f37"
	p["SubscribeURL"] = "https://evil.example/?Action=ConfirmSubscription"
	delete(p, "UnsubscribeURL")
	return p
}

// sign adds the signature as the documentation of SNS builds it.
func (p snsPost) sign(t *testing.T, key *rsa.PrivateKey) snsPost {
	t.Helper()
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if p["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text strings.Builder
	for _, name := range names {
		if value, ok := p[name]; ok {
			text.WriteString(name + "\n" + value + "\n")
		}
	}
	hash, digest := crypto.SHA1, []byte(nil)
	if p["SignatureVersion"] == "2" {
		sum := sha256.Sum256([]byte(text.String()))
		hash, digest = crypto.SHA256, sum[:]
	} else {
		sum := sha1.Sum([]byte(text.String()))
		digest = sum[:]
	}
	signature, err := rsa.SignPKCS1v15(nil, key, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	p["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return p
}

func (p snsPost) set(name, value string) snsPost {
	p[name] = value
	return p
}

func (p snsPost) body(t testing.TB) []byte {
	t.Helper()
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func eventJSON(kind string) string {
	return `{"eventType":"` + kind + `","eventVersion":"1.0","eventTimestamp":1686975103470,"isFinal":true,` +
		`"originationPhoneNumber":"+12065550152","destinationPhoneNumber":"+491701234567","isoCountryCode":"DE",` +
		`"messageId":"862a8790-60c0-4430-9b2b-000000000001","messageEncoding":"GSM","messageType":"TRANSACTIONAL",` +
		`"messageStatus":"` + strings.TrimPrefix(kind, "TEXT_") + `","messageStatusDescription":"of \"some\" length","context":{"reference":"msg_01"}}`
}

func openReceiver(t testing.TB, d *snsDouble, now func() time.Time) *aws.Provider {
	t.Helper()
	o := testOptions("")
	o.TopicARN, o.TopicClient, o.Now = testTopic, &http.Client{Transport: d}, now
	a, err := aws.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func receive(t testing.TB, a *aws.Provider, body []byte) ([]sms.Receipt, error) {
	t.Helper()
	return a.Receipts(httptest.NewRequest(http.MethodPost, "/callbacks/aws", nil), body)
}

func TestReceipts(t *testing.T) {
	hideAWSConfig(t)
	d := newSNSDouble(t)
	a := openReceiver(t, d, func() time.Time { return fixedNow })
	const id = "862a8790-60c0-4430-9b2b-000000000001"
	for _, tc := range []struct {
		event string
		want  []sms.Receipt
	}{
		{"TEXT_QUEUED", []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"TEXT_PENDING", []sms.Receipt{{ID: id, State: sms.Queued}}},
		{"TEXT_SENT", []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"TEXT_SUCCESSFUL", []sms.Receipt{{ID: id, State: sms.Sent}}},
		{"TEXT_DELIVERED", []sms.Receipt{{ID: id, State: sms.Delivered}}},
		{"TEXT_CARRIER_UNREACHABLE", []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "CARRIER_UNREACHABLE"}}},
		{"TEXT_BLOCKED", []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "BLOCKED"}}},
		{"TEXT_UNKNOWN", []sms.Receipt{{ID: id, State: sms.Undelivered, Reason: "UNKNOWN"}}},
		{"TEXT_TTL_EXPIRED", []sms.Receipt{{ID: id, State: sms.Failed, Reason: "TTL_EXPIRED"}}},
		{"TEXT_INVALID", []sms.Receipt{{ID: id, State: sms.Failed, Reason: "INVALID"}}},
		{"TEXT_PROTECT_BLOCKED", []sms.Receipt{{ID: id, State: sms.Failed, Reason: "PROTECT_BLOCKED"}}},
		{"TEXT_OF_TOMORROW", nil},
		{"VOICE_COMPLETED", nil},
	} {
		for _, version := range []string{"1", "2"} {
			t.Run(tc.event+" v"+version, func(t *testing.T) {
				p := snsNotification(eventJSON(tc.event)).set("SignatureVersion", version).sign(t, signingKeys()[0])
				got, err := receive(t, a, p.body(t))
				if err != nil || !reflect.DeepEqual(got, tc.want) {
					t.Errorf("Receipts = %+v, %v; want %+v", got, err, tc.want)
				}
			})
		}
	}
	if len(d.calls) != 1 || d.calls[0] != certURL {
		t.Errorf("called %v; want the certificate, once", d.calls)
	}
	t.Run("with a subject", func(t *testing.T) {
		p := snsNotification(eventJSON("TEXT_DELIVERED")).set("Subject", "an event").sign(t, signingKeys()[0])
		if got, err := receive(t, a, p.body(t)); err != nil || len(got) != 1 {
			t.Errorf("Receipts = %+v, %v", got, err)
		}
	})
	t.Run("of text that is not an event", func(t *testing.T) {
		p := snsNotification("hello").sign(t, signingKeys()[0])
		if got, err := receive(t, a, p.body(t)); err != nil || got != nil {
			t.Errorf("Receipts = %+v, %v; want none", got, err)
		}
	})
}

func TestRefusesReceipts(t *testing.T) {
	hideAWSConfig(t)
	delivered := func() snsPost { return snsNotification(eventJSON("TEXT_DELIVERED")) }
	ours, theirs := signingKeys()[0], signingKeys()[1]
	for _, tc := range []struct {
		name string
		body []byte
	}{
		{"unsigned", delivered().body(t)},
		{"signed by another key", delivered().sign(t, theirs).body(t)},
		{"an altered message", delivered().sign(t, ours).set("Message", eventJSON("TEXT_BLOCKED")).body(t)},
		{"an altered type", delivered().sign(t, ours).set("Type", "UnsubscribeConfirmation").body(t)},
		{"an altered time", delivered().sign(t, ours).set("Timestamp", "2026-11-24T12:00:00.000Z").body(t)},
		{"an added subject", delivered().sign(t, ours).set("Subject", "").body(t)},
		{"an altered version", delivered().sign(t, ours).set("SignatureVersion", "2").body(t)},
		{"an unknown version", delivered().sign(t, ours).set("SignatureVersion", "3").body(t)},
		{"an unknown type", delivered().set("Type", "Wish").sign(t, ours).body(t)},
		{"stale", delivered().set("Timestamp", "2026-11-24T10:44:59.000Z").sign(t, ours).body(t)},
		{"from the future", delivered().set("Timestamp", "2026-11-24T12:05:01.000Z").sign(t, ours).body(t)},
		{"without a time", delivered().set("Timestamp", "").sign(t, ours).body(t)},
		{"of another topic", delivered().set("TopicArn", testTopic+"2").sign(t, ours).body(t)},
		{"a certificate from elsewhere", delivered().set("SigningCertURL", "https://sns.evil.example"+certPath).sign(t, ours).body(t)},
		{"a certificate of another region", delivered().set("SigningCertURL", "https://sns.us-east-1.amazonaws.com"+certPath).sign(t, ours).body(t)},
		{"a certificate in the clear", delivered().set("SigningCertURL", strings.Replace(certURL, "https", "http", 1)).sign(t, ours).body(t)},
		{"a certificate behind a user", delivered().set("SigningCertURL", strings.Replace(certURL, "//", "//sns@", 1)).sign(t, ours).body(t)},
		{"a certificate at another port", delivered().set("SigningCertURL", strings.Replace(certURL, ".com/", ".com:8443/", 1)).sign(t, ours).body(t)},
		{"a certificate with a query", delivered().set("SigningCertURL", certURL+"?x=1").sign(t, ours).body(t)},
		{"another file", delivered().set("SigningCertURL", "https://sns.eu-central-1.amazonaws.com/bucket/x.pem").sign(t, ours).body(t)},
		{"no such certificate", delivered().set("SigningCertURL", strings.Replace(certURL, "0123", "4567", 1)).sign(t, ours).body(t)},
		{"a signature that is not base64", delivered().set("Signature", "%").body(t)},
		{"raw delivery", []byte(eventJSON("TEXT_DELIVERED"))},
		{"malformed", []byte(`{"Type":`)},
		{"empty", nil},
		{"a confirmation of another key", snsConfirmation().sign(t, theirs).body(t)},
		{"a confirmation with another token", snsConfirmation().sign(t, ours).set("Token", "1").body(t)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newSNSDouble(t)
			a := openReceiver(t, d, func() time.Time { return fixedNow })
			got, err := receive(t, a, tc.body)
			if !errors.Is(err, sms.ErrSignature) || got != nil {
				t.Errorf("Receipts = %+v, %v; want ErrSignature", got, err)
			}
			for _, call := range d.calls {
				if !strings.HasPrefix(call, "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-") {
					t.Errorf("called %s", call)
				}
			}
		})
	}
	t.Run("without a topic", func(t *testing.T) {
		a := open(t, testOptions(""))
		if _, err := receive(t, a, delivered().sign(t, ours).body(t)); !errors.Is(err, sms.ErrSignature) {
			t.Errorf("Receipts = %v; want ErrSignature", err)
		}
	})
}

func TestCertificates(t *testing.T) {
	hideAWSConfig(t)
	body := snsNotification(eventJSON("TEXT_DELIVERED")).sign(t, signingKeys()[0]).body(t)
	for _, tc := range []struct {
		name   string
		change func(*snsDouble)
		refuse bool // with ErrSignature; else with another error, for SNS to try again
	}{
		{"expired", func(d *snsDouble) {
			d.certs[certPath] = makeCertificate(t, "sns.amazonaws.com", fixedNow.Add(-time.Second))
		}, true},
		{"of another service", func(d *snsDouble) {
			d.certs[certPath] = makeCertificate(t, "s3.amazonaws.com", fixedNow.Add(time.Hour))
		}, true},
		{"of nobody", func(d *snsDouble) {
			d.certs[certPath] = makeCertificate(t, "sns.amazonaws.com.example", fixedNow.Add(time.Hour))
		}, true},
		{"that is none", func(d *snsDouble) { d.certs[certPath] = []byte("hello") }, false},
		{"that cannot be read", func(d *snsDouble) {
			d.certs[certPath] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
		}, false},
		{"not now", func(d *snsDouble) { d.status = 503 }, false},
		{"out of reach", func(d *snsDouble) { d.broken = errors.New("no route") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newSNSDouble(t)
			tc.change(d)
			_, err := receive(t, openReceiver(t, d, func() time.Time { return fixedNow }), body)
			if err == nil || errors.Is(err, sms.ErrSignature) != tc.refuse {
				t.Errorf("Receipts = %v; want ErrSignature: %v", err, tc.refuse)
			}
		})
	}
	for _, name := range []string{"sns-signing.eu-central-1.amazonaws.com", "sns.eu-central-1.amazonaws.com", "sns-cn-north-1.amazonaws.com.cn"} {
		t.Run("of "+name, func(t *testing.T) {
			d := newSNSDouble(t)
			d.certs[certPath] = makeCertificate(t, name, fixedNow.Add(time.Hour))
			if _, err := receive(t, openReceiver(t, d, func() time.Time { return fixedNow }), body); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("that others make us fetch", func(t *testing.T) {
		d, now := newSNSDouble(t), fixedNow
		a := openReceiver(t, d, func() time.Time { return now })
		forged := snsNotification("x").set("SigningCertURL", strings.Replace(certURL, "0123", "4567", 1)).sign(t, signingKeys()[1]).body(t)
		for range 20 {
			if _, err := receive(t, a, forged); err == nil {
				t.Fatal("a forged post was taken")
			}
		}
		if len(d.calls) != 1 {
			t.Errorf("fetched %d times; want once a second", len(d.calls))
		}
		now = now.Add(time.Second)
		if _, err := receive(t, a, body); err != nil {
			t.Errorf("Receipts a second later = %v", err)
		}
	})
}

func TestConfirmsTheSubscription(t *testing.T) {
	hideAWSConfig(t)
	d := newSNSDouble(t)
	a := openReceiver(t, d, func() time.Time { return fixedNow })
	got, err := receive(t, a, snsConfirmation().sign(t, signingKeys()[0]).body(t))
	if err != nil || got != nil {
		t.Fatalf("Receipts = %v, %v", got, err)
	}
	want := []string{certURL, "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37&TopicArn=arn%3Aaws%3Asns%3Aeu-central-1%3A123456789012%3Asms-events"}
	if !reflect.DeepEqual(d.calls, want) {
		t.Errorf("called %v; want %v", d.calls, want)
	}
	for name, change := range map[string]func(){
		"refused":      func() { d.status = 403 },
		"out of reach": func() { d.broken = errors.New("no route") },
	} {
		change()
		_, err := receive(t, a, snsConfirmation().sign(t, signingKeys()[0]).body(t))
		if err == nil || errors.Is(err, sms.ErrSignature) || strings.Contains(err.Error(), "2336412f37") {
			t.Errorf("%s: Receipts = %v; want an error without the token", name, err)
		}
	}
	gone := snsConfirmation().set("Type", "UnsubscribeConfirmation").sign(t, signingKeys()[0])
	calls := len(d.calls)
	if got, err := receive(t, a, gone.body(t)); err != nil || got != nil || len(d.calls) != calls {
		t.Errorf("Receipts of an unsubscription = %v, %v, %v", got, err, d.calls)
	}
}

func FuzzReceipts(f *testing.F) {
	f.Add([]byte(`{"Type":"Notification","TopicArn":"` + testTopic + `","Timestamp":"2026-11-24T11:59:58Z","SignatureVersion":"1","Signature":"AAAA","SigningCertURL":"` + certURL + `"}`))
	f.Add([]byte(eventJSON("TEXT_DELIVERED")))
	f.Add([]byte(`{"Type":1}`))
	d := &snsDouble{status: 503}
	a := openReceiver(f, d, func() time.Time { return fixedNow })
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := receive(t, a, body); err == nil || got != nil {
			t.Errorf("Receipts of %q = %v, %v", body, got, err)
		}
	})
}

func TestCallbacks(t *testing.T) {
	hideAWSConfig(t)
	unreachable := newSNSDouble(t)
	unreachable.broken = errors.New("no route to host")
	providers := []sms.Named{
		{Name: "aws", Provider: openReceiver(t, newSNSDouble(t), func() time.Time { return fixedNow })},
		{Name: "aws-alone", Provider: openReceiver(t, unreachable, func() time.Time { return fixedNow })},
	}
	event := string(snsNotification(eventJSON("TEXT_BLOCKED")).sign(t, signingKeys()[0]).body(t))
	post := func() *http.Request { return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(event)) }
	smstest.RunCallbacks(t, providers, []string{"491701234567"}, []smstest.Callback{
		{Name: "of SNS", Provider: "aws", Request: post(), Status: 200, Kept: "aws 862a8790-60c0-4430-9b2b-000000000001 undelivered BLOCKED"},
		{Name: "not to be checked now", Provider: "aws-alone", Request: post(), Status: 503, Logged: "provider=aws-alone"},
	}...)
}
