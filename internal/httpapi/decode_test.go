package httpapi_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

func BenchmarkDecode(b *testing.B) {
	for _, bc := range []struct {
		name   string
		decode func([]byte) error
		body   string
	}{
		{"verify", httpapi.DecodeVerify, `{"code":"123456"}`},
		{"enroll", httpapi.DecodeEnroll, `{"type":"totp","totp_issuer":"Example","totp_user":"ada@example.com","user_id":"user_1"}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			body := []byte(bc.body)
			b.ReportAllocs()
			for b.Loop() {
				if err := bc.decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
