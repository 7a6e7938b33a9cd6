package totp_test

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestURI(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // of rfcSecret
	for _, tc := range []struct {
		name            string
		issuer, account string
		label, query    string // of the URI: the label, and the issuer once more
	}{
		{"plain", "WorkOS", "some_user", "WorkOS:some_user", "WorkOS"},
		{"space and at sign", "Foo Corp", "user@foo-corp.com", "Foo%20Corp:user@foo-corp.com", "Foo%20Corp"},
		{"colons", "a:b", "c:d", "a%3Ab:c%3Ad", "a%3Ab"},
		{"plus", "A+B", "me+mfa@example.com", "A%2BB:me%2Bmfa@example.com", "A%2BB"},
		{"query characters", "R&D=?#", "a&b=?#", "R%26D%3D%3F%23:a%26b%3D%3F%23", "R%26D%3D%3F%23"},
		{"percent and slash", "100%/x", "%41/y", "100%25%2Fx:%2541%2Fy", "100%25%2Fx"},
		{"unreserved", "a-b.c_d~e", "f-g.h_i~j", "a-b.c_d~e:f-g.h_i~j", "a-b.c_d~e"},
		{"beyond ASCII", "Zürich", "山田", "Z%C3%BCrich:%E5%B1%B1%E7%94%B0", "Z%C3%BCrich"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			uri := totp.Params{}.URI(tc.issuer, tc.account, rfcSecret)
			want := "otpauth://totp/" + tc.label + "?secret=" + secret + "&issuer=" + tc.query
			if uri != want {
				t.Errorf("URI =\n%s; want\n%s", uri, want)
			}
			checkReadsBack(t, uri, tc.issuer, tc.account)
		})
	}
}

// checkReadsBack reads uri as an app does.
func checkReadsBack(t *testing.T, uri, issuer, account string) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), ":")
	if got := unescape(t, before); got != issuer {
		t.Errorf("issuer of the label reads back as %q; want %q", got, issuer)
	}
	if got := unescape(t, after); got != account {
		t.Errorf("account reads back as %q; want %q", got, account)
	}
	if got := u.Query().Get("issuer"); got != issuer {
		t.Errorf("issuer reads back as %q; want %q", got, issuer)
	}
	secret, err := totp.ParseSecret(u.Query().Get("secret"))
	if err != nil || !bytes.Equal(secret, rfcSecret) {
		t.Errorf("secret reads back as %q, %v; want %q", secret, err, rfcSecret)
	}
}

func unescape(t *testing.T, s string) string {
	t.Helper()
	s, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func BenchmarkURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		totp.Params{}.URI("Foo Corp", "user@foo-corp.com", rfcSecret)
	}
}
