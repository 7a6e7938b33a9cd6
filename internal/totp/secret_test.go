package totp_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestNewSecret(t *testing.T) {
	secret, err := totp.SHA1.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) != 20 {
		t.Errorf("secret of %d bytes; want 20", len(secret))
	}
	if encoded := totp.EncodeSecret(secret); len(encoded) != 32 {
		t.Errorf("encoded as %d characters; want 32", len(encoded))
	}
}

func TestNewSecretFromBadSource(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name   string
		source io.Reader
		want   error
	}{
		{"error", iotest.ErrReader(broken), broken},
		{"too few bytes", strings.NewReader("nineteen bytes only"), io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if secret, err := totp.SHA1.NewSecret(tc.source); !errors.Is(err, tc.want) || secret != nil {
				t.Errorf("NewSecret = %d bytes, %v; want none, %v", len(secret), err, tc.want)
			}
		})
	}
}

func TestParseSecret(t *testing.T) {
	const plain = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // of rfcSecret
	for _, tc := range []struct {
		name string
		in   string
		want []byte
		err  error
	}{
		{"as we write it", plain, rfcSecret, nil},
		{"lower case", strings.ToLower(plain), rfcSecret, nil},
		{"in groups", "gezd gnbv gy3t qojq gezd gnbv gy3t qojq", rfcSecret, nil},
		{"with hyphens", "GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ", rfcSecret, nil},
		{"with non-breaking spaces", "GEZDGNBV\u00a0GY3TQOJQ\u202fGEZDGNBV\u00a0GY3TQOJQ", rfcSecret, nil},
		{"with a line end", "\t" + plain + "\r\n", rfcSecret, nil},

		{"padded", "GEZDGNBVGY3TQOJQGE======", rfcSecret[:11], nil},
		{"unpadded", "GEZDGNBVGY3TQOJQGE", rfcSecret[:11], nil},
		{"padded, in groups", "GEZD GNBV GY3T QOJQ GE== ====", rfcSecret[:11], nil},
		{"padded too much", plain + "========", rfcSecret, nil},
		{"bits over, not zero", "GEZDGNBVGY3TQOJQGF", rfcSecret[:11], nil},
		{"a length base32 never has", "GEZDGNBVGY3TQOJQG", rfcSecret[:10], nil},

		{"80 bits", "GEZDGNBVGY3TQOJQ", rfcSecret[:10], nil},
		{"75 bits", "GEZDGNBVGY3TQOJ", nil, totp.ErrSecretTooShort},
		{"empty", "", nil, totp.ErrSecretTooShort},
		{"only separators", " - = ", nil, totp.ErrSecretTooShort},
		{"1024 bits", totp.EncodeSecret(make([]byte, 128)), make([]byte, 128), nil},
		{"1032 bits", totp.EncodeSecret(make([]byte, 129)), nil, totp.ErrSecretTooLong},

		{"digit 0", "0EZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"digit 1", "1EZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"digit 8", "8EZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"padding within", "GEZDGNBV=GY3TQOJQ", nil, totp.ErrNotBase32},
		{"letter that upper-cases to S", "ſEZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"letter of another script", "АEZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"not UTF-8", "\xffEZDGNBVGY3TQOJQ", nil, totp.ErrNotBase32},
		{"whole URI", "otpauth://totp/a:b?secret=" + plain, nil, totp.ErrNotBase32},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := totp.ParseSecret(tc.in)
			if !bytes.Equal(got, tc.want) || !errors.Is(err, tc.err) {
				t.Errorf("ParseSecret(%q) = %q, %v; want %q, %v", tc.in, got, err, tc.want, tc.err)
			}
		})
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, s := range []string{
		"", "=", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "gezd gnbv-gy3t\u00a0qojq==", "\xff", "ſ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		secret, err := totp.ParseSecret(s)
		if err != nil {
			// The errors are compared directly: a wrapping error could carry the secret.
			if err != totp.ErrNotBase32 && err != totp.ErrSecretTooShort && err != totp.ErrSecretTooLong {
				t.Fatalf("ParseSecret(%q): unknown error %v", s, err)
			}
			return
		}
		if len(secret) < 10 || len(secret) > 128 {
			t.Fatalf("ParseSecret(%q) = %d bytes", s, len(secret))
		}
		again, err := totp.ParseSecret(totp.EncodeSecret(secret))
		if err != nil || !bytes.Equal(again, secret) {
			t.Fatalf("%q reads back as %q, %v", secret, again, err)
		}
	})
}

func BenchmarkParseSecret(b *testing.B) {
	s := totp.EncodeSecret(rfcSecret)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := totp.ParseSecret(s); err != nil {
			b.Fatal(err)
		}
	}
}
