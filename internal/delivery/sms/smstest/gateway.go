package smstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/webhook"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var gatewayNow = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// NewGateway returns a provider that accepts the callbacks of GatewayPost.
func NewGateway(t *testing.T) sms.Provider {
	t.Helper()
	p, err := webhook.New(webhook.Options{
		URL: "https://gateway.example.com/", Secret: secret.NewString(Secret),
		CallbackURL: "https://mfa.example.com/sms/webhook", Now: func() time.Time { return gatewayNow },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// GatewayPost returns a signed callback of a gateway.
func GatewayPost(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/sms/receipts/gateway", strings.NewReader(body))
	r.Header.Set("Countersign-Signature", SignWebhook(Secret, gatewayNow, []byte(body)))
	return r
}

// SignWebhook returns the Countersign-Signature of a body that a gateway posts at a time.
func SignWebhook(key string, at time.Time, body []byte) string {
	t := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(t + "." + string(body)))
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
