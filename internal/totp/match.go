package totp

import (
	"crypto/hmac"
	"crypto/subtle"
	"time"
)

// An Outcome is the result of a check.
type Outcome int

// The outcomes.
const (
	Wrong Outcome = iota // the code of no step that is accepted now
	Spent                // the code of a step already accepted, of one before it, or of one that is not accepted any more
	Right                // the code of a step still to be accepted
)

// An App describes an authenticator app and its clock. The zero value is an app
// with the default Params that was not used yet.
type App struct {
	Params
	Ahead  int   // learned: by how many steps the clock of the app is ahead; negative if it is behind
	Missed int64 // the last step whose code was wrong only because of the time; zero if there was no such code
}

// MaxDrift is the largest difference between the clocks of an app and of this machine that
// an App learns.
const MaxDrift = 5 * time.Minute

// An app whose code was wrong only because of the time shows that it has the secret with one
// of the next codes (RFC 4226, section 7.4 and Appendix E.4). followers is how many of them are
// accepted: the app shows them while its owner reads the answer.
const followers = 4

// Match compares code with the codes of the step at now, corrected by a.Ahead, and of window
// steps on either side. After a code that was wrong only because of the time, it also
// compares the next few codes after that one, if they belong to a time within MaxDrift. A
// right code changes Ahead to the difference of the clocks that it shows. With a window of 0,
// nothing is learned.
//
// Only a step greater than last, the last one accepted, can be Right; zero means that no step
// was accepted yet. The returned step is the one to record as accepted if Right, the one
// already spent if Spent, and zero if Wrong. If the code belongs to several steps, the
// smallest unspent one counts.
//
// Every step in the window is computed, and compared in constant time, even after a match.
func (a *App) Match(secret []byte, code string, now time.Time, window int, last int64) (step int64, outcome Outcome) {
	var (
		mac     = hmac.New(a.Hash.new(), secret)
		given   = []byte(code)
		scratch = make([]byte, 0, mac.Size())
		digits  = a.Digits()
		current = a.Step(now)
		center  = current + int64(a.Ahead)
	)
	try := func(s int64) {
		want := appendCode(scratch, mac, uint64(s), digits)
		same := subtle.ConstantTimeCompare(given, want) == 1
		switch {
		case same && s > last && s != a.Missed:
			step, outcome = s, Right
		case same && outcome == Wrong:
			step, outcome = s, Spent
		}
		mac.Reset() // after each use, not before: the first is fresh, and a Reset costs
	}
	if a.Missed != 0 && window > 0 {
		for s := a.Missed + followers; s > a.Missed; s-- {
			if abs(s-current) <= a.maxDrift() && abs(s-center) > int64(window) {
				try(s)
			}
		}
	}
	for s := center + int64(window); s >= center-int64(window); s-- {
		try(s)
	}
	if outcome != Right {
		return step, outcome
	}
	if a.Missed <= step { // a later one must not become right when its time comes
		a.Missed = 0
	}
	if window > 0 {
		most := a.maxDrift()
		a.Ahead = int(min(max(step-current, -most), most))
	}
	return step, outcome
}

// maxDrift returns MaxDrift in steps.
func (a *App) maxDrift() int64 { return int64(MaxDrift / a.Period()) }

// A Miss describes a wrong code that would be right at another time.
type Miss struct {
	Found  bool
	Offset int // the number of steps between now and the step of the code; 0 if Ahead is wrong

	// Tell says that the owner of the app may learn about the difference: to a guesser, the
	// answer is of no use. It is set only within MaxDrift.
	Tell   bool
	Behind int // by how many steps the app is behind Ahead; negative if it is ahead
}

// Miss looks for the step of a code that is Wrong by Match: up to MaxDrift away, or one hour
// away, for a clock that someone has moved by hand instead of its time zone. A random code has
// such a step with a probability of about 1 in 40,000.
//
// If it sets Tell, the code cannot be accepted any more: its time is over, or Miss has
// stored its step in a.Missed. While such a step is still to come, Miss tells nothing about
// other steps that are still to come. So a guesser learns no code that will be right later.
func (a *App) Miss(secret []byte, code string, now time.Time, window int) (m Miss) {
	var (
		mac     = hmac.New(a.Hash.new(), secret)
		given   = []byte(code)
		scratch = make([]byte, 0, mac.Size())
		digits  = a.Digits()
		current = a.Step(now)
		center  = current + int64(a.Ahead)
		near    = a.maxDrift()
		hour    = int64(time.Hour / a.Period())
	)
	try := func(offset int64) {
		if s := current + offset; abs(s-center) <= int64(window) || s < 0 {
			return // compared by Match
		}
		want := appendCode(scratch, mac, uint64(current+offset), digits)
		if subtle.ConstantTimeCompare(given, want) == 1 && !m.Found {
			m.Found, m.Offset = true, int(offset)
		}
		mac.Reset()
	}
	try(0)
	for offset := int64(1); offset <= near; offset++ {
		try(offset)
		try(-offset)
	}
	for offset := hour - 1; offset <= hour+1; offset++ {
		try(offset)
		try(-offset)
	}
	if step := current + int64(m.Offset); m.Found && window > 0 && abs(int64(m.Offset)) <= near {
		m.Behind = int(center - step)
		waiting := a.Missed > center-int64(window)-1 // its time is not over
		if m.Tell = m.Behind > 0 || !waiting; m.Tell {
			a.Missed = max(a.Missed, step)
		}
	}
	return m
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
