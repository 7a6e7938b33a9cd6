package totp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/totp"
)

// A phone has an authenticator app whose clock can be wrong; app is what a server knows of it.
type phone struct {
	totp.App
	now  time.Time
	last int64
}

func newPhone() *phone { return &phone{now: time.Unix(2_000_000_000, 0)} }

// code returns the code of the step that is offset steps after now.
func (p *phone) code(offset int64) string { return p.Code(rfcSecret, p.Step(p.now)+offset) }

func (p *phone) match(code string, window int) totp.Outcome {
	step, outcome := p.Match(rfcSecret, code, p.now, window, p.last)
	if outcome == totp.Right {
		p.last = step
	}
	return outcome
}

// try enters the code that is offset steps after now, and returns what its owner may learn.
func (p *phone) try(offset int64) string {
	code := p.code(offset)
	switch p.match(code, 1) {
	case totp.Right:
		return "right"
	case totp.Spent:
		return "spent"
	}
	if m := p.Miss(rfcSecret, code, p.now, 1); m.Tell {
		return fmt.Sprintf("behind %d", m.Behind)
	}
	return "wrong"
}

func (p *phone) wait(steps int64) { p.now = p.now.Add(time.Duration(steps) * p.Period()) }

func TestAClockThatDriftsIsFollowed(t *testing.T) {
	for _, params := range []totp.Params{{}, {Minute: true}, {Hash: totp.SHA512, Eight: true}} {
		p := newPhone()
		p.Params = params
		most := int(totp.MaxDrift / p.Period())
		for offset := 1; offset <= most+1; offset++ {
			p.wait(100)
			if got := p.try(int64(offset)); got != "right" {
				t.Fatalf("%+v: a clock that is %d steps ahead after %d: %s", params, offset, offset-1, got)
			}
			if want := min(offset, most); p.Ahead != want {
				t.Errorf("%+v: learned %d steps; want %d", params, p.Ahead, want)
			}
		}
		p.wait(100)
		if got := p.try(int64(most) + 2); got == "right" {
			t.Errorf("%+v: a clock that is %d steps ahead is followed", params, most+2)
		}
	}
}

func TestTheWindowIsAroundTheLearnedDifference(t *testing.T) {
	for offset := int64(-12); offset <= 12; offset++ {
		p := newPhone()
		p.Ahead = -4
		want := totp.Wrong
		if -5 <= offset && offset <= -3 {
			want = totp.Right
		}
		if got := p.match(p.code(offset), 1); got != want {
			t.Errorf("a code %d steps away: %v; want %v", offset, got, want)
		}
	}
}

func TestAWindowOfZeroLearnsNothing(t *testing.T) {
	p := newPhone()
	p.Ahead = 1 // learned before the setting changed
	if p.match(p.code(1), 0) != totp.Right || p.Ahead != 1 {
		t.Errorf("ahead is %d; want 1", p.Ahead)
	}
	p.wait(10)
	code := p.code(5)
	if m := p.Miss(rfcSecret, code, p.now, 0); !m.Found || m.Tell || p.Missed != 0 {
		t.Errorf("a miss is %+v, and %d is remembered; want nothing to tell", m, p.Missed)
	}
}

func TestAMissTellsTheDirection(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ahead int
		code  int64
		want  string
	}{
		{"two steps late", 0, -2, "behind 2"},
		{"two steps early", 0, 2, "behind -2"},
		{"five minutes late", 0, -10, "behind 10"},
		{"five minutes early", 0, 10, "behind -10"},
		{"beyond five minutes", 0, 11, "wrong"},
		{"an hour late", 0, -120, "wrong"},
		{"an hour early", 0, 120, "wrong"},
		{"a clock that was corrected", 6, 0, "behind 6"},
		{"a clock that was corrected, from behind", -6, 0, "behind -6"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPhone()
			p.Ahead = tc.ahead
			if got := p.try(tc.code); got != tc.want {
				t.Errorf("a code %d steps away: %q; want %q", tc.code, got, tc.want)
			}
		})
	}
}

func TestTheNextCodeAfterAMissIsRight(t *testing.T) {
	for _, tc := range []struct {
		name           string
		ahead          int
		missed, second int64 // steps from now
		want           string
	}{
		{"the next code", 0, 5, 6, "right"},
		{"the fourth code", 0, 5, 9, "right"},
		{"the fifth code", 0, 5, 10, "wrong"},
		{"the same code", 0, 5, 5, "wrong"},
		{"the code before", 0, 5, 4, "wrong"},
		{"the next code, beyond the limit", 0, 10, 11, "wrong"},
		{"behind", 0, -5, -4, "right"},
		{"behind, the same code", 0, -5, -5, "behind 5"},
		{"behind, the code before", 0, -5, -6, "behind 6"},
		{"a corrected clock", 6, 0, 1, "right"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPhone()
			p.Ahead = tc.ahead
			p.try(tc.missed)
			if got := p.try(tc.second); got != tc.want {
				t.Fatalf("the second code: %q; want %q", got, tc.want)
			}
			if tc.want != "right" {
				return
			}
			if int64(p.Ahead) != tc.second {
				t.Errorf("learned %d steps; want %d", p.Ahead, tc.second)
			}
			if p.try(tc.second) != "spent" {
				t.Error("the second code is right twice")
			}
		})
	}
}

// A guesser who learns that a code would be right at another time must not be able to use it.
func TestACodeWhoseTimeWasToldIsNeverRight(t *testing.T) {
	for _, after := range []string{"nothing", "a sign-in", "another guess", "a sign-in behind"} {
		t.Run(after, func(t *testing.T) {
			for offset := int64(-10); offset <= 10; offset++ {
				p := newPhone()
				told := p.code(offset)
				if p.match(told, 1) == totp.Right {
					continue // in the window
				}
				if m := p.Miss(rfcSecret, told, p.now, 1); !m.Tell {
					t.Fatalf("%d steps away: %+v", offset, m)
				}
				for step := range int64(25) {
					if step == 1 {
						switch after {
						case "a sign-in":
							p.try(0)
						case "a sign-in behind":
							p.try(-1)
						case "another guess":
							p.try(offset - 1)
							p.try(offset + 2)
						}
					}
					if step > 1 && p.match(told, 1) == totp.Right {
						t.Errorf("told %d steps away: right %d steps later", offset, step)
					}
					p.wait(1)
				}
			}
		})
	}
}

func TestOnlyOneCodeThatIsStillToComeIsTold(t *testing.T) {
	p := newPhone()
	if got := p.try(4); got != "behind -4" {
		t.Fatal(got)
	}
	for _, offset := range []int64{2, 10} { // neither is one of the next codes after the first
		if got := p.try(offset); got != "wrong" {
			t.Errorf("a second code, %d steps ahead: %q", offset, got)
		}
	}
	if got := p.try(-4); got != "behind 4" {
		t.Errorf("a code whose time is over: %q", got)
	}
	p.wait(6) // the time of the first code is over
	if got := p.try(5); got != "behind -5" {
		t.Errorf("a code ahead, after that time: %q", got)
	}
}

func BenchmarkMiss(b *testing.B) {
	now := time.Unix(2_000_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		var app totp.App
		app.Miss(rfcSecret, "12345", now, 1)
	}
}
