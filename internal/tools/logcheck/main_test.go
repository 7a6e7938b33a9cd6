package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The secrets that the tests below have "seen".
const seen = "483920\nJBSWY3DPEHPK3PXP\n16073517112\n\n"

func TestLinesWithSecretsAreFound(t *testing.T) {
	for _, tc := range []struct {
		name, line, kind string
	}{
		{"a code in text", "code 483920 accepted", "a code"},
		{"a code in JSON", `{"code":"483920"}`, "a code"},
		{"a code at the end of a sentence", "it was 483920.", "a code"},
		{"a code alone", "483920", "a code"},
		{"a code under the end of a quantity's name", "mybytes=483920", "a code"},
		{"a code in JSON under the end of a quantity's name", `{"mybytes":483920}`, "a code"},
		{"a code in a text under a quantity's name", `{"bytes":"483920"}`, "a code"},
		{"a code in a message", "483920 is your code. 483920", "a code"},
		{"a TOTP secret", "secret=JBSWY3DPEHPK3PXP", "a secret"},
		{"a TOTP secret inside more", "xxJBSWY3DPEHPK3PXPxx", "a secret"},
		{"a phone number without plus", "to=16073517112", "a secret"},
		{"an operator key", "ok_ABCDEFGHIJKLMNOPQRSTUVWXYZ", "an operator key"},
		{"a sandbox key", "Authorization: Bearer sk_test_abcdefgh", "an API key"},
		{"a production key", "sk_live_0123456789abcdef", "an API key"},
		{"a URI", "otpauth://totp/x", "an otpauth URI"},
		{"a phone number", `to="+15005550006"`, "a full phone number"},
		{"a phone number in a query", "GET /dev/inbox?to=%2B15005550006", "a full phone number in a URL"},
		{"a QR code", "data:image/png;base64,iVBOR", "a QR code"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := check(t, "nothing here\n"+tc.line+"\n", seen)
			if err == nil {
				t.Fatal("passed")
			}
			if want := "server.log:2: " + tc.kind; !strings.HasPrefix(out, want) {
				t.Errorf("printed %q; want %q", out, want)
			}
			for _, secret := range []string{"483920", "JBSWY", "607351", "abcdefgh", "0123456", "5005550006", "iVBOR"} {
				if strings.Contains(out+err.Error(), secret) {
					t.Errorf("printed the secret: %q, %v", out, err)
				}
			}
		})
	}
}

func TestLinesWithoutSecretsPass(t *testing.T) {
	for _, tc := range []struct {
		name, line string
	}{
		{"a code's digits inside a longer number", "bytes=1483920 and 4839201"},
		{"a code's digits inside an id", "auth_factor_01A483920B and x483920 and 483920x"},
		{"a code's digits in the fraction of a time", "2026-01-02T03:04:05.483920+00:00"},
		{"a code's digits in the fraction of a number", "ms=12.483920"},
		{"a code's digits before a fraction", "us=483920.25"},
		{"a code's digits as a quantity", `level=INFO msg="backed up the store" bytes=483920`},
		{"a code's digits as a quantity in JSON", `{"msg":"backed up the store","bytes":483920}`},
		{"a masked phone number", "to=+1******7112"},
		{"a masked key", "key=sk_test_…"},
		{"the beginning of a secret", "JBSWY3DPEHPK3PX"},
		{"a time zone", "2026-01-02T03:04:05+1000"},
		{"an empty line", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if out, err := check(t, tc.line+"\n", seen); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestEveryLineIsReported(t *testing.T) {
	out, err := check(t, "483920\nok\n483920\nJBSWY3DPEHPK3PXP", seen)
	if err == nil {
		t.Fatal("passed")
	}
	want := "server.log:1: a code that a test has seen\n" +
		"server.log:3: a code that a test has seen\n" +
		"server.log:4: a secret that a test has seen\n"
	if out != want {
		t.Errorf("printed\n%s; want\n%s", out, want)
	}
}

func TestANameHasOneType(t *testing.T) {
	out, err := check(t, `{"took_ms":1.5,"code":"a"}
{"took_ms":2}
{"took_ms":"2ms","code":7,"limits":[1]}
{"limits":null}
took_ms=x code=y
`, seen)
	want := "server.log:3: \"code\" is a number, and a string in server.log:1\n" +
		"server.log:3: \"took_ms\" is a string, and a number in server.log:1\n" +
		"server.log:4: \"limits\" is a null, and a list in server.log:3\n"
	if err == nil || out != want {
		t.Errorf("%v, printed\n%s; want\n%s", err, out, want)
	}
}

func TestARunThatShowsNothingFails(t *testing.T) {
	for _, tc := range []struct {
		name, log, secrets, want string
	}{
		{"no log", "", seen, "no log"},
		{"no secret", "a line\n", "", "no secret"},
		{"only empty secrets", "a line\n", "\n\n", "no secret"},
		{"a secret too short to search for", "a line\n", "12345\n", "by chance"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := check(t, tc.log, tc.secrets); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v; want one with %q", err, tc.want)
			}
		})
	}
	if err := run(t.TempDir(), t.Output()); err == nil {
		t.Error("an empty directory passed")
	}
}

// check runs logcheck on a directory with one log and one file of secrets.
func check(t *testing.T, log, secrets string) (printed string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"server.log": log, "1.secrets": secrets} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	err = run(dir, &out)
	return out.String(), err
}

func BenchmarkSearch(b *testing.B) {
	values := make([]string, 0, 10_000)
	for i := range cap(values) {
		values = append(values, "secret-"+strings.Repeat("x", i%40)+string(rune('a'+i%26)))
	}
	s, err := newSecrets(values)
	if err != nil {
		b.Fatal(err)
	}
	line := []byte(`{"time":"2026-01-02T03:04:05.123456789Z","level":"INFO","msg":"request","method":"POST","path":"/auth/challenges/auth_challenge_01FZ4WMXXA09XF6NK1XMKNWB3M/verify","status":201}`)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if s.search(line) != "" {
			b.Fatal("found something")
		}
	}
}
