package smstext_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

func TestLink(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"scheme", "See https://example.com/a?b=c now", "https://example.com/a?b=c"},
		{"scheme in upper case", "HTTP://EXAMPLE.COM", "HTTP://EXAMPLE.COM"},
		{"scheme, host without a dot", "http://localhost", "http://localhost"},
		{"scheme with the code", "https://{{code}}", "https://{{code}}"},
		{"scheme without slashes", "go to https:example", "https:example"},
		{"a scheme of an app", "open acme-app+2://login", "acme-app+2://login"},
		{"scheme after a letter of another script", "打开https://a", "https://a"},
		{"tel", "tel:112", "tel:112"},
		{"tel with the code", "Tel:{{code}}", "Tel:{{code}}"},
		{"mailto", "mailto:a@localhost", "mailto:a@localhost"},
		{"tel after a letter of another script", "拨打tel:112", "tel:112"},
		{"longest scheme", "(facetime:a)", "facetime:a)"},

		{"www", "www.1", "www.1"},
		{"www with the code", "Www.{{code}}", "Www.{{code}}"},
		{"www within brackets", "(WWW.x)", "WWW.x"},
		{"www after a letter of another script", "访问www.1", "www.1"},
		{"www, a whole domain", "on www.example.co.uk.", "www.example.co.uk"},

		{"domain", "Your code for example.com is {{code}}", "example.com"},
		{"domain with a path", "bit.ly/x", "bit.ly"},
		{"subdomains", "a.b-c.example.com,", "a.b-c.example.com"},
		{"sentence without a space", "Your code.Do not share it", "code.Do"},
		{"the code and a sentence without a space", "{{code}}.Do not share it", "{{code}}.Do"},
		{"the code in a domain", "x{{code}}.com", "x{{code}}.com"},
		{"domain with a digit before", "1.fm", "1.fm"},
		{"IDN", "auf bücher.de!", "bücher.de"},
		{"IDN, its letters in two code points", "bu\u0308cher.de", "bu\u0308cher.de"},
		{"IDN at the top", "пример.рф", "пример.рф"},
		{"IDN of marks and letters", "उदाहरण.भारत", "उदाहरण.भारत"},
		{"Chinese", "例子.中国", "例子.中国"},
		{"IDN in ASCII", "xn--bcher-kva.de", "xn--bcher-kva.de"},
		{"IDN in ASCII at the top", "example.xn--p1ai", "example.xn--p1ai"},
		{"IDN at the top, Bengali", "উদাহরণ.বাংলা", "উদাহরণ.বাংলা"},
		{"IDN at the top, of Latin letters", "a.vermögensberatung", "a.vermögensberatung"},
		{"new domain at the top", "acme.app/login", "acme.app"},
		{"in capitals", "ACME.CO.UK", "ACME.CO.UK"},
		{"after a label that is no domain at the top", "acme.punkt.com", "acme.punkt.com"},
		{"before letters without a space", "example.com查看", "example.com查看"},
		{"look-alike letters", "\u0430pple.com", "\u0430pple.com"},
		{"emoji", "😀.ws", "😀.ws"},
		{"domain before one letter", "example.com.a", "example.com.a"},
		{"domain before a hyphen", "example.com-", "example.com-"},
		{"domain before an underscore", "example.com_", "example.com"},
		{"full-width", "ｅｘａｍｐｌｅ．ｃｏｍ", "example．com"},
		{"full-width dot", "example．com", "example．com"},
		{"ideographic dot", "example。com", "example。com"},
		{"half-width ideographic dot", "bücher｡de", "bücher｡de"},
		{"ideographic dot in Cyrillic", "пример。рф", "пример。рф"},
		{"ideographic dot in Greek", "παράδειγμα。ελ", "παράδειγμα。ελ"},
		{"full-width scheme", "ｈｔｔｐｓ：／／ａ", "https://a"},

		{"e-mail", "write to <ada.l+x@example.com>", "ada.l+x@example.com"},
		{"e-mail of the code", "{{code}}@example.com", "{{code}}@example.com"},
		{"host of a bound code", "@example.com #{{code}}", "example.com"},

		{"IPv4", "on 192.0.2.1.", "192.0.2.1"},
		{"IPv4, largest", "255.255.255.255", "255.255.255.255"},
		{"IPv4 with a port", "192.0.2.1:8080", "192.0.2.1"},
		{"IPv4, ideographic dots", "1。1。1。1", "1。1。1。1"},
		{"IPv4 among letters of another script", "访问192.0.2.1查看", "192.0.2.1"},
		{"IPv4 in brackets", "[192.0.2.1]", "192.0.2.1"},
		{"IPv6", "on [2001:db8::1]:8080", "[2001:db8::1]"},
		{"IPv6, mapped", "[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"},
		{"IPv6 with a zone", "[fe80::1%eth0]", "[fe80::1%eth0]"},

		{"phone number", "call 5550123 now", "5550123"},
		{"phone number, E.164", "+4915112345678", "+4915112345678"},
		{"phone number, American", "+1 (555) 012-3456.", "+1 (555) 012-3456"},
		{"phone number, German", "+49 (0) 30/123 45-67", "+49 (0) 30/123 45-67"},
		{"phone number, non-breaking", "030\u00a0123\u202f45\u201167", "030\u00a0123\u202f45\u201167"},
		{"phone number, full-width", "０３０１２３４", "0301234"},
		{"phone number in Arabic digits", "٠٣٠١٢٣٤", "٠٣٠١٢٣٤"},
		{"phone number, three separators", "03 - 01 - 23 4", "03 - 01 - 23 4"},
		{"phone number after the code", "{{code}} 5550123", "5550123"},
		{"phone number after a smaller one", "12345, then 5550123", "5550123"},
		{"phone number, plus within brackets", "(+)5550123", "+)5550123"},

		{"the first of several", "5550123, https://a.example, b.example", "5550123"},
		{"the first of several, in another order", "b.com https://a.example 5550123", "b.com"},
		{"the longest from one place", "192.0.2.1-555", "192.0.2.1-555"},

		{"zero-width space within", "exam\u200bple.c\u200bom", "example.com"},
		{"joiners within", "htt\u200cps\u200d:/\u2060/a", "https://a"},
		{"turned around", "\u202eexample\u202c.\u200fcom\u2066", "example.com"},
		{"soft hyphen", "exam\u00adple.com", "example.com"},
		{"byte order mark", "5550\ufeff123", "5550123"},
		{"variation selector", "example\ufe0f.com", "example.com"},
		{"tags", "example.\U000e0061com", "example.com"},
		{"filler", "example.\u3164com", "example.com"},
		{"what only looks like the code", "{{co\u200bde}} a.com", "a.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := smstext.Link(tc.text); got != tc.want {
				t.Errorf("Link(%q) = %q; want %q", tc.text, got, tc.want)
			}
		})
	}
}

func TestLinkFindsNone(t *testing.T) {
	for _, text := range []string{
		"",
		"{{code}}",
		"{{code}}.",
		"{{code}}{{code}}",
		"Your verification code is: {{code}}",
		"Your code is: {{code}}. Do not share it.",
		"Your code is:{{code}}",
		"Acme: {{code}} is your code. It works for 10 minutes, until 12.30pm.",
		"Ihr Code:{{code}}.Bitte nicht weitergeben",
		"{{code}}.Danke",
		"St.Gallen {{code}}",
		"kein.punkt {{code}}",
		"Votre code:{{code}}.Merci.Acme",
		"Su código es {{code}}.Gracias. No lo comparta",
		"Ваш код {{code}}.Спасибо",
		"acme.localhost acme.internal acme.test acme.invalid acme.lan {{code}}",
		"{{code}}.danköy x.xn--zzzzzz",
		"a." + strings.Repeat("com", 30) + " a." + strings.Repeat("ж", 64),
		"Code {{code}} / 24/7 support",
		"{{code}} 123456", // the code next to six digits makes no phone number
		"123456{{code}}",
		"Dein Code, z.B. für Acme, d.h. {{code}}.\nTeile ihn nicht.\nAcme GmbH & Co. KG",
		"Acme S.p.A.: {{code}}",
		"Wait...and {{code}}",
		"Hotel: {{code}}",
		"hotel:5",
		"1tel:5 {{code}}tel:5 xfacetime:5",
		"Tel: none",
		"Tel:",
		"http",
		"//", // only slashes
		"://",
		"www. www",
		"awww.1 1www.1",
		"v1.2.3.4 of 1.2.3",
		"256.1.1.1 or 1.1.1.256 or 1.1.1.1a or 1.1..1.1",
		"1.1.1",
		"[not an address] [::g] [1.2.3] [",
		"user@localhost",
		"5 mm or 2.5mm",
		"-.com",
		"a.b.c.d",
		"a.b1c2 a.bb1 a.bb{{code}}",
		"a.e\u0301", // a domain of one letter
		"123 456",
		"123,456,789",
		"123     45678", // too far apart
		"12345\n67890",
		"Ihr Code: {{code}}\u200b. Danke",
		"Ваш код: {{code}}. Не сообщайте его никому.",
		"رمز التحقق: {{code}}. لا تشاركه مع أحد.",
		"आपका कोड {{code}} है। इसे साझा न करें।",
		"您的验证码是{{code}}。请勿告诉他人。",
		"【Acme】您的验证码是{{code}}。Acme不会索要验证码",
		"您的 code。请勿告诉他人",
		"認証コードは{{code}}です。Acmeより",
		"サーバー。Acme",
		"コード：{{code}}．他人に教えないでください",
		"인증번호는 {{code}}입니다. 타인에게 알려주지 마세요.",
		"รหัสของคุณคือ {{code}}",
		"😀 {{code}} 🔑",
	} {
		if got := smstext.Link(text); got != "" {
			t.Errorf("Link(%q) = %q; want \"\"", text, got)
		}
	}
}

// hostile are pieces of text whose repetition makes a scan slow that goes back and forth.
var hostile = []string{
	"a", "1", ".", ":", "[", "-", "@", "a.", "1.", "a.b", "1.1.1.", "www.", "www", "a:", "tel", "://", "+", "1 ", "1 1 1    ", "[:", "[::",
	"{{code}}", "{{code}}.", ".{{code}}", "{{", "a-", "a@", "\u200b", "\u200b.", "a。", "。", "😀", "😀.", "\xff", "é", "aa_", "a.bb1", "aaaaaaaa:",
}

func TestLinkTakesLinearTime(t *testing.T) {
	const size = 64 << 10
	for _, piece := range hostile {
		for _, text := range []string{
			strings.Repeat(piece, size/len(piece)),
			strings.Repeat(piece, size/len(piece)) + ".com",
			"http:" + strings.Repeat(piece, size/len(piece)),
		} {
			started := time.Now()
			smstext.Link(text)
			// A quadratic scan takes longer. A linear one takes milliseconds.
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("64 KiB of %q took %s", piece, took)
			}
		}
	}
}

func FuzzLink(f *testing.F) {
	for _, s := range hostile {
		f.Add(s + s)
	}
	for _, s := range []string{
		"Your code is: {{code}}. Do not share it.", "https://example.com", "a@bücher.de", "[2001:db8::1]", "+1 (555) 012-3456", "example。com",
		"{{co\u00adde}}", "1.1.1.1", "tel:{{code}}", "ｗｗｗ．ｅ", "😀.ws",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		link := smstext.Link(text)
		if !utf8.ValidString(link) {
			t.Errorf("Link(%q) = %q, not UTF-8", text, link)
		}
		if link != "" && smstext.Link(link) == "" {
			t.Errorf("Link(%q) = %q, which is not a link by itself", text, link)
		}
		if got := smstext.Link(" " + text + " "); got != link {
			t.Errorf("Link(%q) = %q; between spaces, %q", text, link, got)
		}
		if got := smstext.Link(veiled(text)); got != link {
			t.Errorf("Link(%q) = %q; with invisible characters, %q", text, link, got)
		}
	})
}

// veiled returns text with an invisible character after each character.
func veiled(text string) string {
	var b strings.Builder
	for i, piece := range strings.Split(text, smstext.Place) {
		if i > 0 {
			b.WriteString(smstext.Place)
		}
		for _, r := range piece {
			b.WriteString("\u200b" + string(r) + "\u2060\u202e\u00ad")
		}
	}
	return b.String()
}
