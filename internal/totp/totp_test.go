package totp_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/totp"
)

// rfcSecret is the SHA-1 secret of both RFCs.
var rfcSecret = []byte("12345678901234567890")

func TestHOTPAppendixD(t *testing.T) { // RFC 4226
	for counter, want := range []string{
		"755224", "287082", "359152", "969429", "338314",
		"254676", "287922", "162583", "399871", "520489",
	} {
		if got := totp.HOTP(sha1.New, rfcSecret, uint64(counter), totp.Digits); got != want {
			t.Errorf("HOTP of counter %d = %q; want %q", counter, got, want)
		}
	}
}

func TestTOTPAppendixB(t *testing.T) { // RFC 6238, seeds by its erratum 2866
	var (
		secret256 = []byte("12345678901234567890123456789012")
		secret512 = []byte("1234567890123456789012345678901234567890123456789012345678901234")
	)
	for _, tc := range []struct {
		unix                 int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		step := totp.Step(time.Unix(tc.unix, 0))
		for _, hotp := range []struct {
			name   string
			hash   func() hash.Hash
			params totp.Hash
			secret []byte
			want   string
		}{
			{"SHA-1", sha1.New, totp.SHA1, rfcSecret, tc.sha1},
			{"SHA-256", sha256.New, totp.SHA256, secret256, tc.sha256},
			{"SHA-512", sha512.New, totp.SHA512, secret512, tc.sha512},
		} {
			if got := totp.HOTP(hotp.hash, hotp.secret, uint64(step), 8); got != hotp.want {
				t.Errorf("%s at %d = %q; want %q", hotp.name, tc.unix, got, hotp.want)
			}
			for _, p := range []totp.Params{
				{Hash: hotp.params, Eight: true}, {Hash: hotp.params}, {Hash: hotp.params, Eight: true, Minute: true}, {Hash: hotp.params, Minute: true},
			} {
				at := time.Unix(tc.unix, 0)
				if p.Minute { // the vectors have steps of 30 seconds: the same step is at twice the time
					at = time.Unix(2*tc.unix, 0)
				}
				want := hotp.want[len(hotp.want)-p.Digits():]
				if got := p.Code(hotp.secret, p.Step(at)); got != want {
					t.Errorf("%+v at %d = %q; want %q", p, tc.unix, got, want)
				}
				app := totp.App{Params: p}
				if s, outcome := app.Match(hotp.secret, want, at, 1, 0); s != step || outcome != totp.Right {
					t.Errorf("%+v at %d: Match = %d, %v; want %d, right", p, tc.unix, s, outcome, step)
				}
			}
		}
		if got, want := totp.Code(rfcSecret, step), tc.sha1[2:]; got != want {
			t.Errorf("Code at %d = %q; want %q", tc.unix, got, want)
		}
	}
}

func TestStep(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   time.Time
		want int64
	}{
		{"first instant", time.Unix(0, 0), 0},
		{"last instant of a step", time.Unix(29, 999_999_999), 0},
		{"first instant of the next", time.Unix(30, 0), 1},
		{"any time zone", time.Unix(60, 0).In(time.FixedZone("", 5400)), 2},
		{"past 32 bits of seconds, signed (2038)", time.Unix(1<<31, 0), 1 << 31 / 30},
		{"past 32 bits of seconds (2106)", time.Unix(1<<32, 0), 1 << 32 / 30},
		{"past 32 bits of steps (6053)", time.Unix(30<<32, 0), 1 << 32},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := totp.Step(tc.at); got != tc.want {
				t.Errorf("Step = %d; want %d", got, tc.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	now := time.Unix(20_000_000_000, 0) // in 2603
	current := totp.Step(now)
	code := func(offset int64) string { return totp.Code(rfcSecret, current+offset) }

	for _, tc := range []struct {
		name    string
		code    string
		window  int
		after   int64
		step    int64
		outcome totp.Outcome
	}{
		{"current step", code(0), 1, 0, current, totp.Right},
		{"one step late", code(-1), 1, 0, current - 1, totp.Right},
		{"one step early", code(1), 1, 0, current + 1, totp.Right},
		{"two steps late", code(-2), 1, 0, 0, totp.Wrong},
		{"two steps early", code(2), 1, 0, 0, totp.Wrong},
		{"two steps late in a wider window", code(-2), 2, 0, current - 2, totp.Right},
		{"current step without a window", code(0), 0, 0, current, totp.Right},
		{"one step late without a window", code(-1), 0, 0, 0, totp.Wrong},

		{"the step before was the last accepted", code(0), 1, current - 1, current, totp.Right},
		{"this step was the last accepted", code(0), 1, current, current, totp.Spent},
		{"a later step was the last accepted", code(0), 1, current + 1, current, totp.Spent},
		{"next step after this one was accepted", code(1), 1, current, current + 1, totp.Right},
		{"wrong code after this step was accepted", code(2), 1, current, 0, totp.Wrong},

		{"no code", "", 1, 0, 0, totp.Wrong},
		{"a digit short", code(0)[:5], 1, 0, 0, totp.Wrong},
		{"a digit over", code(0) + "0", 1, 0, 0, totp.Wrong},
		{"a space within", code(0)[:3] + " " + code(0)[3:], 1, 0, 0, totp.Wrong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			step, outcome := new(totp.App).Match(rfcSecret, tc.code, now, tc.window, tc.after)
			if step != tc.step || outcome != tc.outcome {
				t.Errorf("Match = %d, %d; want %d, %d", step, outcome, tc.step, tc.outcome)
			}
		})
	}
}

// Two steps of one window rarely have the same code. A search found these two.
func TestMatchTwins(t *testing.T) {
	const first, second = 153_567, 153_569
	code := totp.Code(rfcSecret, first)
	if totp.Code(rfcSecret, second) != code {
		t.Fatalf("steps %d and %d differ", first, second)
	}
	now := time.Unix(30*(first+1), 0)

	for _, tc := range []struct {
		name    string
		after   int64
		step    int64
		outcome totp.Outcome
	}{
		{"none spent", 0, first, totp.Right},
		{"first spent", first, second, totp.Right},
		{"both spent", second, second, totp.Spent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			step, outcome := new(totp.App).Match(rfcSecret, code, now, 1, tc.after)
			if step != tc.step || outcome != tc.outcome {
				t.Errorf("Match = %d, %d; want %d, %d", step, outcome, tc.step, tc.outcome)
			}
		})
	}
}

func BenchmarkCode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		totp.Code(rfcSecret, 66666666)
	}
}

func BenchmarkMatch(b *testing.B) {
	now := time.Unix(2_000_000_000, 0)
	code := totp.Code(rfcSecret, totp.Step(now))
	b.ReportAllocs()
	for b.Loop() {
		var app totp.App
		app.Match(rfcSecret, code, now, 1, 0)
	}
}
