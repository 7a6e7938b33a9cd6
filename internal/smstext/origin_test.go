package smstext_test

import (
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

func TestOriginBound(t *testing.T) {
	for _, tc := range []struct{ name, text, code, want string }{
		// The message of the specification, section 3.1.
		{"example", "747723 is your ExampleCo authentication code.", "747723",
			"747723 is your ExampleCo authentication code.\n\n@example.com #747723"},
		{"template", "Your code: {{code}}", smstext.Place, "Your code: {{code}}\n\n@example.com #{{code}}"},
		{"no text", "", "747723", "@example.com #747723"},
		{"text that ends its line", "Hello\r\n", "747723", "Hello\n\n@example.com #747723"},
		{"text with the empty line", "Hello\n\n", "747723", "Hello\n\n@example.com #747723"},
		{"text of several lines", "Hello\nyou", "747723", "Hello\nyou\n\n@example.com #747723"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := smstext.OriginBound(tc.text, "example.com", tc.code)
			if got != tc.want {
				t.Fatalf("OriginBound = %q; want %q", got, tc.want)
			}
			if host, code := parseOriginBound(got); host != "example.com" || code != tc.code {
				t.Errorf("a browser reads %q, %q", host, code)
			}
		})
	}
}

// parseOriginBound parses a message by the steps of the specification, section 3.2. It
// returns "" if the message is not bound.
func parseOriginBound(message string) (host, code string) {
	message = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(message)
	line := message[strings.LastIndex(message, "\n")+1:]
	token := func(marker string) string {
		rest, ok := strings.CutPrefix(line, marker)
		if !ok {
			return ""
		}
		end := strings.IndexAny(rest, "\t\n\f\r ")
		if end < 0 {
			end = len(rest)
		}
		line = rest[end:]
		return rest[:end]
	}
	if host = token("@"); host == "" || !strings.HasPrefix(line, " ") {
		return "", ""
	}
	line = line[1:]
	if code = token("#"); code == "" {
		return "", ""
	}
	return host, code
}

func TestOriginBoundStaysInGSM7(t *testing.T) {
	if got := smstext.Measure(smstext.OriginBound("Your code: 123456", "example.com", "123456")); got != (smstext.Length{gsm7, 39, 1}) {
		t.Errorf("Measure = %+v", got)
	}
}

func TestCheckHost(t *testing.T) {
	for _, host := range []string{
		"example.com", "login.example.co.uk", "a.io", "1and1.de", "my-site.example", "xn--bcher-kva.de", "example.xn--p1ai",
		strings.Repeat("a", 63) + ".com",
		strings.Repeat("a.", 125) + "com", // 253 characters
	} {
		if err := smstext.CheckHost(host); err != nil {
			t.Errorf("CheckHost(%q) = %v", host, err)
		}
	}
	for _, host := range []string{
		"", "localhost", "com", "https://example.com", "example.com/", "example.com:8443", "@example.com", "a@example.com",
		"Example.com", "bücher.de", "example.com.", ".example.com", "example..com", "-a.example.com", "a-.example.com",
		"example.com #1", "example.com\n", "my_site.example.com", "192.0.2.1", "[2001:db8::1]", "2001:db8::1", "example.1", "*.example.com",
		strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 125) + "coms",
	} {
		if smstext.CheckHost(host) == nil {
			t.Errorf("CheckHost(%q) accepts it", host)
		}
	}
}
