package mfa_test

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// inDigits writes code in the digits that begin with zero.
func inDigits(code string, zero rune) string {
	return strings.Map(func(r rune) rune { return zero + r - '0' }, code)
}

func TestCodesAsPeopleTypeThem(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	for _, tc := range []struct {
		name  string
		typed func(code string) string
		valid bool
	}{
		{"plain", func(c string) string { return c }, true},
		{"in two groups", func(c string) string { return c[:3] + " " + c[3:] }, true},
		{"in three groups", func(c string) string { return c[:2] + "-" + c[2:4] + "-" + c[4:] }, true},
		{"space around", func(c string) string { return " \t" + c + "\r\n" }, true},
		{"no-break space", func(c string) string { return c[:3] + "\u00a0" + c[3:] }, true},
		{"en dash", func(c string) string { return c[:3] + "–" + c[3:] }, true},
		{"Arabic-Indic", func(c string) string { return inDigits(c, '٠') }, true},
		{"Persian", func(c string) string { return inDigits(c, '۰') }, true},
		{"Devanagari", func(c string) string { return inDigits(c, '०') }, true},
		{"full-width, with an ideographic space", func(c string) string { return inDigits(c[:3], '０') + "\u3000" + inDigits(c[3:], '０') }, true},
		{"minus sign", func(c string) string { return c[:3] + "−" + c[3:] }, true},
		{"hyphen that does not break", func(c string) string { return c[:3] + "\u2011" + c[3:] }, true},
		{"byte order mark before", func(c string) string { return "\ufeff" + c }, true},
		{"mathematical bold", func(c string) string { return inDigits(c, '𝟎') }, true},
		{"mixed scripts", func(c string) string { return c[:3] + inDigits(c[3:], '٠') }, true},

		{"empty", func(string) string { return "" }, false},
		{"only spaces", func(string) string { return "   " }, false},
		{"first five", func(c string) string { return c[:5] }, false},
		{"one more", func(c string) string { return c + "0" }, false},
		{"a zero before", func(c string) string { return "0" + c }, false},
		{"twice", func(c string) string { return c + c }, false},
		{"backwards", func(c string) string {
			b := []byte(c)
			slices.Reverse(b)
			if string(b) == c {
				b[0] ^= 1
			}
			return string(b)
		}, false},
		{"in superscript", func(c string) string { return inDigits(c, '⁰') }, false},
		{"with dots", func(c string) string { return c[:3] + "." + c[3:] }, false},
		{"NUL behind", func(c string) string { return c + "\x00" }, false},
		{"bytes that are no text", func(c string) string { return c[:5] + "\xff" }, false},
		{"huge", func(string) string { return strings.Repeat("9", 1<<16) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := w.unlockFactor(f); err != nil && !errors.Is(err, mfa.ErrNotLocked) {
				t.Fatal(err)
			}
			c := w.challenge(f)
			w.mustVerify(c.ID, tc.typed(c.Code.Reveal()), tc.valid)
		})
	}
}

func TestInvisibleCharactersInCodesDoNotMatter(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	for _, r := range mfatest.Invisible {
		c := w.challenge(f)
		w.mustVerify(c.ID, mfatest.WithInvisible(c.Code.Reveal(), r), true)
	}
}

func TestInvisibleCharactersInSecretsDoNotMatter(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	const plain = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	texts := []string{
		"gezd\u00a0gnbv\u2011gy3t\u2009qojq gezd gnbv gy3t qojq", "ＧＥＺＤＧＮＢＶＧＹ３ＴＱＯＪＱＧＥＺＤＧＮＢＶＧＹ３ＴＱＯＪＱ", plain + "\u200b====\ufeff",
	}
	for _, r := range mfatest.Invisible {
		texts = append(texts, mfatest.WithInvisible(plain, r))
	}
	for _, text := range texts {
		e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, Secret: secret.NewString(text)})
		if e.Secret.Reveal() != plain {
			t.Errorf("%q is another secret", text)
		}
	}
}

func TestNumberCode(t *testing.T) {
	for literal, want := range map[string]string{
		"651139": "651139", "59491": "059491", "7": "000007", "0": "000000",
		"1234567": "01234567", "12345678": "12345678", "123456789": "", "-59491": "", "-0": "", "5e4": "", "59491.0": "", "1E5": "", "true": "", "[]": "", "[59491]": "", "{}": "", "": "",
	} {
		if got := mfa.NumberCode(literal); got != want {
			t.Errorf("NumberCode(%s) = %q; want %q", literal, got, want)
		}
	}
}

// Every decimal digit of Unicode has its value. The digits come in ordered runs of ten, so
// the n-th digit has the value n mod 10.
func TestDigitsOfEveryScript(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	var digits []rune
	for r := range rune(unicode.MaxRune + 1) {
		if unicode.Is(unicode.Nd, r) {
			digits = append(digits, r)
		}
	}
	for run := range slices.Chunk(digits, 10) {
		if run[9]-run[0] != 9 {
			t.Fatalf("%U to %U are no run of ten", run[0], run[9])
		}
		c := w.challenge(f)
		v, err := w.verify(c.ID, inDigits(c.Code.Reveal(), run[0]))
		if err != nil || !v.Valid {
			t.Errorf("code in the digits from %U (%c): %v, %v", run[0], run[0], v.Valid, err)
		}
	}
}

// Every code is made of the same number of draws: those below 4294 whole millions.
func TestCodesAreUniform(t *testing.T) {
	draws := &scriptedDraws{t: t}
	w := newFixture(t, mfa.Options{Rand: draws})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	for _, tc := range []struct {
		draws []uint32
		want  string
	}{
		{[]uint32{0}, "000000"},
		{[]uint32{42}, "000042"},
		{[]uint32{999_999}, "999999"},
		{[]uint32{1_000_000}, "000000"},
		{[]uint32{1_012_345}, "012345"},
		{[]uint32{4_293_999_999}, "999999"},
		{[]uint32{4_294_000_000, 7}, "000007"},
		{[]uint32{1<<32 - 1, 4_294_967_295, 123_456}, "123456"},
	} {
		draws.next = tc.draws
		c := w.challenge(f)
		if got := c.Code.Reveal(); got != tc.want || len(draws.next) != 0 {
			t.Errorf("draws %d give the code %s, %d of them unused; want %s", tc.draws, got, len(draws.next), tc.want)
		}
		w.mustVerify(c.ID, tc.want, true)
	}
}

func TestWithoutRandomnessNothingHappens(t *testing.T) {
	draws := &scriptedDraws{t: t}
	w := newFixture(t, mfa.Options{Rand: draws})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	before := len(w.events(f.Bucket()))
	draws.err = errors.New("no entropy")
	if _, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil); !errors.Is(err, draws.err) {
		t.Errorf("Challenge = %v; want %v", err, draws.err)
	}
	if _, err := w.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.TOTP}, nil); !errors.Is(err, draws.err) {
		t.Errorf("Enroll = %v; want %v", err, draws.err)
	}
	if after := len(w.events(f.Bucket())); after != before {
		t.Errorf("%d events were added", after-before)
	}
}

// scriptedDraws is a source in which the draws of codes, of four bytes each, are
// chosen by the test. The rest is 0x5a.
type scriptedDraws struct {
	t    *testing.T
	next []uint32
	err  error
}

func (s *scriptedDraws) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(p) != 4 {
		return repeated(0x5a).Read(p)
	}
	if len(s.next) == 0 {
		s.t.Error("more draws than expected")
		return 0, io.EOF
	}
	binary.BigEndian.PutUint32(p, s.next[0])
	s.next = s.next[1:]
	return 4, nil
}

func TestTemplate(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}).ID
	const most = 1600
	for _, tc := range []struct {
		name, template string
		want           string // CODE means the code
		field          string // the code of the error, if it is refused
	}{
		{"default", "", "Your verification code is: CODE", ""},
		{"own text", "{{code}} is your Acme code", "CODE is your Acme code", ""},
		{"only the code", "{{code}}", "CODE", ""},
		{"code twice", "{{code}}, and again {{code}}", "CODE, and again CODE", ""},
		{"longest, in characters", strings.Repeat("é", most-8) + "{{code}}", strings.Repeat("é", most-8) + "CODE", ""},
		{"no code", "Your code is on its way", "", "missing_code"},
		{"code in single braces", "Your code is {code}", "", "missing_code"},
		{"code with spaces", "Your code is {{ code }}", "", "missing_code"},
		{"too long", strings.Repeat("é", most-7) + "{{code}}", "", "too_long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.clock.Advance(3 * 60 * 60e9)
			sent := w.carrier.Sent()
			_, err := w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{Template: tc.template}, nil)
			if tc.field != "" {
				bad, ok := errors.AsType[*mfa.InvalidError](err)
				if !ok || len(bad.Fields) != 1 || bad.Fields[0].Field != "sms_template" || bad.Fields[0].Code != tc.field {
					t.Errorf("Challenge = %#v; want an InvalidError of sms_template, %s", err, tc.field)
				}
				if w.carrier.Sent() != sent {
					t.Error("a message was sent all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := w.carrier.Last()
			if want := strings.ReplaceAll(tc.want, "CODE", m.Code.Reveal()); m.Text.Reveal() != want {
				t.Errorf("text is %q; want %q", m.Text.Reveal(), want)
			}
		})
	}
}
