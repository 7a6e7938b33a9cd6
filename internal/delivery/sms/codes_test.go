package sms_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// TestCodesOfAHealthyService lists the codes that are about a country or a sender in
// it, as each service documents them, and has each of them answered.
func TestCodesOfAHealthyService(t *testing.T) {
	awsAlone(t)
	withCode := func(status int, before, after string) func(code string) http.HandlerFunc {
		return func(code string) http.HandlerFunc { return wireAnswer(status, before+code+after) }
	}
	for _, tc := range []struct {
		provider string
		open     func(base string) sms.Provider
		answer   func(code string) http.HandlerFunc
		codes    []string // sorted
		other    string   // one that is not about numbers
	}{
		{
			"aws", func(base string) sms.Provider { return newAWS(t, awsOptions(base)) },
			func(code string) http.HandlerFunc {
				return func(w http.ResponseWriter, _ *http.Request) { awsRefuseJSON(w, 400, "ValidationException", "no", code) }
			},
			[]string{
				"COUNTRY_NOT_ENABLED", "DESTINATION_COUNTRY_BLOCKED", "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION",
				"DESTINATION_PHONE_NUMBER_NOT_VERIFIED",
				"INTERNATIONAL_SENDING_NOT_SUPPORTED", "INVALID_IDENTITY_FOR_DESTINATION_COUNTRY", "NO_ORIGINATION_IDENTITIES_FOUND",
				"PRICE_OVER_THRESHOLD", "SENDER_ID_NOT_REGISTERED", "SENDER_ID_NOT_SUPPORTED", "SENDER_ID_REQUIRES_REGISTRATION",
			}, "ACCOUNT_DISABLED",
		},
		{
			"messagebird", func(base string) sms.Provider { return openBird(t, base, nil) },
			withCode(201, `{"id":"`+birdID+`","recipients":{"items":[{"status":"delivery_failed","statusErrorCode":`, `}]}}`),
			[]string{"104", "105"}, "106",
		},
		{
			"telnyx", func(base string) sms.Provider { return openTelnyx(t, base, nil) },
			withCode(403, `{"errors":[{"code":"`, `"}]}`),
			[]string{"10039", "40010", "40301", "40309", "40319"}, "40305",
		},
		{
			"twilio", func(base string) sms.Provider { return openTwilio(t, twilioOptions(base)) },
			withCode(400, `{"code":`, `}`),
			[]string{"21408", "21608", "21612", "21657", "30450"}, "21606",
		},
		{
			"vonage", func(base string) sms.Provider { return openVonage(t, vonageOptions(base)) },
			withCode(200, `{"messages":[{"status":"`, `"}]}`),
			[]string{"15", "29", "6"}, "9",
		},
		{"plivo", nil, nil, nil, ""}, // refuses without a code
		{"smpp", nil, nil, nil, ""},  // the codes of carriers are their own
	} {
		t.Run(tc.provider, func(t *testing.T) {
			if got := sms.Unserved(tc.provider); !slices.Equal(got, tc.codes) {
				t.Errorf("the codes are %q; want %q", got, tc.codes)
			}
			for _, code := range append(tc.codes, tc.other) {
				if code == "" {
					continue
				}
				srv := httptest.NewServer(tc.answer(code))
				_, err := tc.open(srv.URL).Send(t.Context(), wireMessage(wireText))
				srv.Close()
				e, ok := errors.AsType[*sms.Error](err)
				if !ok || e.Kind != sms.Unavailable || !strings.HasSuffix(e.Code, code) || e.Healthy != (code != tc.other) {
					t.Errorf("%s: Send = %#v", code, err)
				}
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	const sent = "Tue, 24 Nov 2026 10:00:00 GMT"
	for _, tc := range []struct {
		name, after, date string
		want              time.Duration
	}{
		{"seconds", "7", sent, 7 * time.Second},
		{"nothing", "", sent, 0},
		{"no seconds", "0", sent, 0},
		{"seconds gone by", "-7", sent, 0},
		{"a day", "86400", sent, 24 * time.Hour},
		{"more than a day", "86401", sent, 24 * time.Hour},
		{"more than a time has", "9223372036854775807", sent, 24 * time.Hour},
		{"a date", "Tue, 24 Nov 2026 10:01:30 GMT", sent, 90 * time.Second},
		{"a date in an older form", "Tuesday, 24-Nov-26 10:01:30 GMT", sent, 90 * time.Second},
		{"a date gone by", "Tue, 24 Nov 2026 09:59:59 GMT", sent, 0},
		{"a date far off", "Fri, 31 Dec 9999 23:59:59 GMT", sent, 24 * time.Hour},
		{"a date after none", "Tue, 24 Nov 2026 10:01:30 GMT", "yesterday", 0},
		{"nonsense", "soon", sent, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(wireAnswer(503, "", "Retry-After", tc.after, "Date", tc.date))
			defer srv.Close()
			_, err := openGateway(t, srv.URL, nil).Send(t.Context(), wireMessage(wireText))
			wireError(t, err, sms.Error{Kind: sms.Unavailable, Code: "503", RetryAfter: tc.want})
		})
	}
}
