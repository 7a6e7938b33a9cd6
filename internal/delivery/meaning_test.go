package delivery_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

func TestMeaningKnowsTheServiceByItsName(t *testing.T) {
	for _, tc := range []struct{ provider, code, want string }{
		{"twilio", "30003", "the phone is unreachable: switched off or without a network"},
		{"twilio-eu", "30006", "the number is a landline, or its carrier is not reachable"},
		{"", "30003", "the phone is unreachable: switched off or without a network"},
		{"", "40300", "the phone opted out with STOP"},
		{"first", "30007", "the carrier filtered the message as spam"},
		{"vonage", "9", "the number is not valid"},
		{"messagebird", "9", "the number is not in service"},
		{"vonage2", "2", "the phone is not reachable for now"},
		{"vonagent", "2", ""}, // another name
		{"", "9", ""},
		{"twilio", "40300", ""},
		{"aws", "TTL_EXPIRED", "the message expired before the phone was reachable"},
		{"smpp", "UNDELIV 001", ""},
		{"twilio", "", ""},
	} {
		if got := delivery.Meaning(tc.provider, tc.code); got != tc.want {
			t.Errorf("Meaning(%q, %q) = %q; want %q", tc.provider, tc.code, got, tc.want)
		}
	}
}
