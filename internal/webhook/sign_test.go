package webhook_test

import (
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/webhook"
)

func TestSign(t *testing.T) {
	at := time.Date(2022, 3, 27, 5, 15, 26, 432_999_999, time.UTC)
	// The digest is what openssl dgst -sha256 -hmac s3cret prints for 1648358126432.{"a":"b"}
	want := "t=1648358126432, v1=00d96392660c733a59ee7bd7be736a8e14c786f4c75a27885b9cb7c40b61d21d"
	if got := webhook.Sign("s3cret", at, []byte(`{"a":"b"}`)); got != want {
		t.Errorf("Sign = %q; want %q", got, want)
	}
}

// What JSON.stringify prints was taken from Node.
func TestMarshal(t *testing.T) {
	type body struct {
		Text string  `json:"text"`
		N    int     `json:"n"`
		OK   bool    `json:"ok"`
		None *string `json:"none"`
	}
	for _, tc := range []struct{ name, text, want string }{
		{"plain", "abc", "abc"},
		{"what HTML must escape", "<a href='x'>&</a>", "<a href='x'>&</a>"},
		{"beyond ASCII", "Förde 🔑", "Förde 🔑"},
		{"line separators", "a\u2028b\u2029c", "a\u2028b\u2029c"},
		{"a backslash before u2028", `\u2028`, `\\u2028`},
		{"two backslashes before a line separator", "\\\\\u2028", "\\\\\\\\\u2028"},
		{"quotes and slashes", `"/\`, `\"/\\`},
		{"control characters", "\b\f\n\r\t\x00\x1f\x7f", "\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := webhook.Marshal(body{Text: tc.text, N: 9007199254740991, OK: true})
			if err != nil {
				t.Fatal(err)
			}
			want := `{"text":"` + tc.want + `","n":9007199254740991,"ok":true,"none":null}`
			if string(got) != want {
				t.Errorf("Marshal = %q; want %q", got, want)
			}
		})
	}
	if _, err := webhook.Marshal(func() {}); err == nil {
		t.Error("a function was marshalled")
	}
}

// The signature is from the tests of the library standardwebhooks.
func TestSignStandard(t *testing.T) {
	got, err := webhook.SignStandard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 999e6), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("SignStandard = %q, %v; want %q", got, err, want)
	}
	if _, err := webhook.SignStandard("whsec_%", "id", time.Unix(0, 0), nil); err == nil {
		t.Error("a secret that is not base64 signs")
	}
}
