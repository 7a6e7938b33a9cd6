package aws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const messageText = "Ihr Code für Förde lautet 482913"

func newMessage() sms.Message {
	return sms.Message{
		To: secret.NewString("+491701234567"), Text: secret.NewString(messageText),
		Reference: "msg_01", ValidFor: 10 * time.Minute,
	}
}

// hideAWSConfig hides the AWS configuration of this machine.
func hideAWSConfig(t *testing.T) {
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN",
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2",
		"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
}

func testOptions(base string) aws.Options {
	return aws.Options{
		Region: testRegion, AccessKeyID: testKeyID, SecretAccessKey: secret.NewString(testSecret), BaseURL: base,
	}
}

func open(t *testing.T, o aws.Options) *aws.Provider {
	t.Helper()
	hideAWSConfig(t)
	a, err := aws.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sendError fails the test unless err is an *sms.Error without personal data and secrets.
func sendError(t *testing.T, err error) *sms.Error {
	t.Helper()
	var e *sms.Error
	if !errors.As(err, &e) {
		t.Fatalf("Send = %v; want an *Error", err)
	}
	for _, s := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", *e)} {
		for _, hidden := range []string{"491701234567", "482913", testSecret, testKeyID, temporarySecret, temporaryToken, identityToken} {
			if strings.Contains(s, hidden) {
				t.Errorf("the error %q shows %q", s, hidden)
			}
		}
	}
	return e
}

func TestSends(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*aws.Options, *sms.Message)
		accepts acceptedMessage
	}{
		{
			"by End User Messaging", func(*aws.Options, *sms.Message) {},
			acceptedMessage{To: "+491701234567", Text: messageText, Kind: "TRANSACTIONAL", TTL: 600, Context: map[string]string{"reference": "msg_01"}},
		},
		{
			"with all options", func(o *aws.Options, m *sms.Message) {
				o.OriginationIdentity, o.ConfigurationSet, o.ProtectConfiguration = "pool-1", "otp", "protect-1"
				o.MaxPrice, o.EntityID, o.TemplateID = "0.05", "1701", "1707"
				o.SessionToken = secret.NewString("temporary")
				m.Text = secret.NewString("验证码 482913 🔑")
			},
			acceptedMessage{
				To: "+491701234567", Text: "验证码 482913 🔑", Kind: "TRANSACTIONAL", TTL: 600, From: "pool-1", ConfigurationSet: "otp",
				Protect: "protect-1", MaxPrice: "0.05", Context: map[string]string{"reference": "msg_01"},
				Country: map[string]string{"IN_ENTITY_ID": "1701", "IN_TEMPLATE_ID": "1707"},
			},
		},
		{
			"without validity", func(_ *aws.Options, m *sms.Message) { m.ValidFor, m.Reference = 0, "" },
			acceptedMessage{To: "+491701234567", Text: messageText, Kind: "TRANSACTIONAL"},
		},
		{
			"valid for too short a time", func(_ *aws.Options, m *sms.Message) { m.ValidFor, m.Reference = time.Second, "" },
			acceptedMessage{To: "+491701234567", Text: messageText, Kind: "TRANSACTIONAL", TTL: 5},
		},
		{
			"valid for too long a time", func(_ *aws.Options, m *sms.Message) { m.ValidFor, m.Reference = 100*time.Hour, "" },
			acceptedMessage{To: "+491701234567", Text: messageText, Kind: "TRANSACTIONAL", TTL: 259200},
		},
		{
			"by SNS", func(o *aws.Options, _ *sms.Message) { o.API = aws.SNS },
			acceptedMessage{To: "+491701234567", Text: messageText, Attributes: map[string]string{"AWS.SNS.SMS.SMSType": "Transactional"}},
		},
		{
			"by SNS from a sender id", func(o *aws.Options, _ *sms.Message) {
				o.API, o.OriginationIdentity, o.MaxPrice, o.EntityID, o.TemplateID = aws.SNS, "Example", "0.05", "1701", "1707"
			},
			acceptedMessage{To: "+491701234567", Text: messageText, Attributes: map[string]string{
				"AWS.SNS.SMS.SMSType": "Transactional", "AWS.SNS.SMS.SenderID": "Example", "AWS.SNS.SMS.MaxPrice": "0.05",
				"AWS.MM.SMS.EntityId": "1701", "AWS.MM.SMS.TemplateId": "1707",
			}},
		},
		{
			"by SNS from a number", func(o *aws.Options, _ *sms.Message) { o.API, o.OriginationIdentity = aws.SNS, "+12065550100" },
			acceptedMessage{To: "+491701234567", Text: messageText, Attributes: map[string]string{
				"AWS.SNS.SMS.SMSType": "Transactional", "AWS.MM.SMS.OriginationNumber": "+12065550100",
			}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble(t)
			o, m := testOptions(d.URL), newMessage()
			tc.change(&o, &m)
			id, err := open(t, o).Send(t.Context(), m)
			if err != nil || id != "862a8790-60c0-4430-9b2b-000000000001" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			if got := d.accepted(); len(got) != 1 || !reflect.DeepEqual(got[0], tc.accepts) {
				t.Errorf("accepted %+v; want %+v", got, tc.accepts)
			}
		})
	}
}

func TestFindsCredentials(t *testing.T) {
	d := newDouble(t)
	o := testOptions(d.URL)
	o.AccessKeyID, o.SecretAccessKey = "", secret.String{}
	a := open(t, o)
	_, err := a.Send(t.Context(), newMessage())
	if e := sendError(t, err); e.Kind != sms.Unavailable || e.Reason != "no credentials found" {
		t.Errorf("Send without credentials = %v", e)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", testKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	if a, err = aws.New(o); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Send(t.Context(), newMessage()); err != nil {
		t.Errorf("Send with credentials of the environment = %v", err)
	}
}

// quotingError is an error text of AWS that quotes number and text. No error may show it.
const quotingError = "Invalid parameter: PhoneNumber Reason: +491701234567 is not valid to publish to: 482913"

func TestClassifiesErrors(t *testing.T) {
	for _, tc := range []struct {
		api          string
		status       int
		code, reason string
		want         sms.Error
	}{
		{"", 400, "ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT", sms.Error{Kind: sms.Refused, Reason: "the number opted out"}},
		{"", 400, "ConflictException", "DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE", sms.Error{Kind: sms.Refused, Reason: "the number is blocked by protect_configuration"}},
		{"", 400, "ValidationException", "INVALID_PARAMETER DestinationPhoneNumber", sms.Error{Kind: sms.Unavailable, Reason: "refused the number", Healthy: true}},
		{"", 400, "ValidationException", "INVALID_PARAMETER MessageBody", sms.Error{Kind: sms.Unavailable, Reason: "refused a parameter"}},
		{"", 400, "ConflictException", "DESTINATION_PHONE_NUMBER_NOT_VERIFIED", sms.Error{Kind: sms.Unavailable, Reason: "the account is in the sandbox, and the number not verified", Healthy: true}},
		{"", 400, "ConflictException", "SOMETHING_NEW", sms.Error{Kind: sms.Unavailable, Reason: "cannot send in the state of the account"}},
		{"", 400, "ValidationException", "DESTINATION_COUNTRY_BLOCKED", sms.Error{Kind: sms.Unavailable, Reason: "the country is not enabled", Healthy: true}},
		{"", 400, "ValidationException", "INVALID_IDENTITY_FOR_DESTINATION_COUNTRY", sms.Error{Kind: sms.Unavailable, Reason: "the origination identity is not for the country", Healthy: true}},
		{"", 400, "ValidationException", "PRICE_OVER_THRESHOLD", sms.Error{Kind: sms.Unavailable, Reason: "more expensive than max_price", Healthy: true}},
		{"", 400, "ValidationException", "INVALID_PARAMETER", sms.Error{Kind: sms.Unavailable, Reason: "refused a parameter"}},
		{"", 400, "ThrottlingException", "", sms.Error{Kind: sms.Unavailable, Reason: "throttled", RetryAfter: 7 * time.Second}},
		{"", 400, "ServiceQuotaExceededException", "MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT", sms.Error{Kind: sms.Unavailable, Reason: "the monthly spending limit is reached"}},
		{"", 400, "AccessDeniedException", "ACCOUNT_DISABLED", sms.Error{Kind: sms.Unavailable, Reason: "the account is disabled"}},
		{"", 400, "AccessDeniedException", "", sms.Error{Kind: sms.Unavailable, Reason: "not permitted"}},
		{"", 400, "ResourceNotFoundException", "", sms.Error{Kind: sms.Unavailable, Reason: "origination identity or configuration set not found"}},
		{"", 500, "InternalServerException", "", sms.Error{Kind: sms.Unavailable, Reason: "an error at AWS"}},
		{"", 400, "UnrecognizedClientException", "", sms.Error{Kind: sms.Unavailable, Reason: "refused the credentials"}},
		{"", 400, "NeverHeardOfException", "", sms.Error{Kind: sms.Unavailable, Reason: "answered with status 400"}},
		{aws.SNS, 400, "InvalidParameter", "", sms.Error{Kind: sms.Unavailable, Reason: "refused the number", Healthy: true}},
		{aws.SNS, 400, "OptedOut", "", sms.Error{Kind: sms.Refused, Reason: "the number opted out"}},
		{aws.SNS, 400, "Throttling", "", sms.Error{Kind: sms.Unavailable, Reason: "throttled", RetryAfter: 7 * time.Second}},
		{aws.SNS, 403, "AuthorizationError", "", sms.Error{Kind: sms.Unavailable, Reason: "not permitted"}},
		{aws.SNS, 403, "InvalidClientTokenId", "", sms.Error{Kind: sms.Unavailable, Reason: "refused the credentials"}},
		{aws.SNS, 500, "InternalError", "", sms.Error{Kind: sms.Unavailable, Reason: "an error at AWS"}},
	} {
		t.Run(strings.Trim(tc.api+" "+tc.code+" "+tc.reason, " "), func(t *testing.T) {
			d := newDouble(t)
			d.answer = func(w http.ResponseWriter, _ *http.Request) {
				if tc.want.RetryAfter > 0 {
					w.Header().Set("Retry-After", "7")
				}
				if tc.api == aws.SNS {
					refuseXML(w, tc.status, tc.code, quotingError, "")
				} else {
					refuseJSON(w, tc.status, tc.code, quotingError, tc.reason)
				}
			}
			reason, _, _ := strings.Cut(tc.reason, " ")
			tc.want.Code = strings.TrimSuffix(tc.code+"."+reason, ".")
			o := testOptions(d.URL)
			o.API = tc.api
			id, err := open(t, o).Send(t.Context(), newMessage())
			if e := sendError(t, err); *e != tc.want || id != "" {
				t.Errorf("Send = %q, %+v; want %+v", id, *e, tc.want)
			}
			if n := d.tried(); n != 1 {
				t.Errorf("tried %d times; want once", n)
			}
		})
	}
}

func TestUnreadableAnswers(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		kind   sms.Kind
		code   string
	}{
		{"malformed JSON", answer(200, `{"MessageId":`), sms.Uncertain, ""},
		{"an empty body", answer(200, ""), sms.Uncertain, ""},
		{"no id", answer(200, "{}"), sms.Uncertain, ""},
		{"an empty 500", answer(500, ""), sms.Unavailable, "500"},
		{"an unreadable 503", answer(503, "<html>busy</html>"), sms.Unavailable, "503"},
		{"a bad gateway", answer(502, "<html>bad</html>"), sms.Uncertain, "502"},
		{"an unreadable 429", answer(429, "slow"), sms.Unavailable, "429"},
		{"a code that quotes the number", answer(400, `{"__type":"+491701234567"}`), sms.Unavailable, "400"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, sms.Unavailable, "307"},
		{"a connection closed after the request", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, sms.Uncertain, ""},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, sms.Uncertain, ""},
	} {
		for _, api := range []string{aws.EndUserMessaging, aws.SNS} {
			t.Run(tc.name+" of "+api, func(t *testing.T) {
				d := newDouble(t)
				d.answer = tc.answer
				patience := time.Minute
				if tc.name == "silence" {
					patience = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				o := testOptions(d.URL)
				o.API = api
				_, err := open(t, o).Send(ctx, newMessage())
				if e := sendError(t, err); e.Kind != tc.kind || e.Code != tc.code {
					t.Errorf("Send = %+v; want %v, code %q", *e, tc.kind, tc.code)
				}
				if n := d.tried(); n != 1 {
					t.Errorf("tried %d times; want once", n)
				}
			})
		}
	}
}

func TestNotReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = open(t, testOptions("http://"+l.Addr().String())).Send(t.Context(), newMessage())
	if e := sendError(t, err); e.Kind != sms.Unavailable {
		t.Errorf("Send to a closed port = %v; want unavailable", e)
	}
}

func TestRefusesCredentials(t *testing.T) {
	d := newDouble(t)
	o := testOptions(d.URL)
	o.SecretAccessKey = secret.NewString("another")
	_, err := open(t, o).Send(t.Context(), newMessage())
	if e := sendError(t, err); e.Kind != sms.Unavailable || e.Code != "InvalidSignatureException" {
		t.Errorf("Send with the wrong key = %+v", *e)
	}
	if got := d.accepted(); len(got) != 0 {
		t.Errorf("accepted %v", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	hideAWSConfig(t)
	for _, tc := range []struct {
		name   string
		change func(*aws.Options)
		want   string
	}{
		{"no region", func(o *aws.Options) { o.Region = "" }, "region"},
		{"no such region", func(o *aws.Options) { o.Region = "example.com/" }, "region"},
		{"no such api", func(o *aws.Options) { o.API = "pinpoint" }, "api"},
		{"half a key", func(o *aws.Options) { o.SecretAccessKey = secret.String{} }, "secret_access_key"},
		{"only a session token", func(o *aws.Options) {
			o.AccessKeyID, o.SecretAccessKey, o.SessionToken = "", secret.String{}, secret.NewString("x")
		}, "session_token"},
		{"a price in words", func(o *aws.Options) { o.MaxPrice = "cheap" }, "max_price"},
		{"an entity without a template", func(o *aws.Options) { o.EntityID = "1" }, "template_id"},
		{"a topic that is not a topic", func(o *aws.Options) { o.TopicARN = "arn:aws:sns:eu-central-1:1:x" }, "topic_arn"},
		{"a base without a host", func(o *aws.Options) { o.BaseURL = "localhost" }, "base_url"},
		{"a topic with sns", func(o *aws.Options) { o.API, o.TopicARN = aws.SNS, testTopic }, "topic_arn"},
		{"a set with sns", func(o *aws.Options) { o.API, o.ConfigurationSet = aws.SNS, "otp" }, "configuration_set"},
		{"protection with sns", func(o *aws.Options) { o.API, o.ProtectConfiguration = aws.SNS, "p" }, "protect_configuration"},
		{"a pool with sns", func(o *aws.Options) { o.API, o.OriginationIdentity = aws.SNS, "arn:aws:sms-voice:x" }, "origination_identity"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions("")
			tc.change(&o)
			if _, err := aws.New(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New = %v; want an error that names %s", err, tc.want)
			} else if strings.Contains(err.Error(), testSecret) {
				t.Errorf("the error %q shows the key", err)
			}
		})
	}
}

func TestCodesOfNumbersNotServed(t *testing.T) {
	answer := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { refuseJSON(w, 400, "ValidationException", "no", code) }
	}
	smstest.RunUnserved(t, func(base string) sms.Provider { return open(t, testOptions(base)) }, answer, aws.CodeTables, []string{
		"COUNTRY_NOT_ENABLED", "DESTINATION_COUNTRY_BLOCKED", "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION",
		"DESTINATION_PHONE_NUMBER_NOT_VERIFIED",
		"INTERNATIONAL_SENDING_NOT_SUPPORTED", "INVALID_IDENTITY_FOR_DESTINATION_COUNTRY", "NO_ORIGINATION_IDENTITIES_FOUND",
		"PRICE_OVER_THRESHOLD", "SENDER_ID_NOT_REGISTERED", "SENDER_ID_NOT_SUPPORTED", "SENDER_ID_REQUIRES_REGISTRATION",
	}, "ACCOUNT_DISABLED")
}
