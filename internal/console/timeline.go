package console

import (
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A timelineRow is an event on the timeline of a person, a factor or a challenge.
type timelineRow struct {
	operator.Entry
	Tone     string
	ChalPath string // of the challenge's page; "" without one
	Operator string // the name of the operator who did it; or ""
}

// timelineOf returns the rows of a timeline, newest first.
func timelineOf(env mfa.Environment, entries []operator.Entry) []timelineRow {
	rows := make([]timelineRow, len(entries))
	for i, e := range entries {
		rows[i] = timelineRow{Entry: e, Tone: toneOf(e.Type)}
		if name, ok := strings.CutPrefix(e.Caller, "operator:"); ok {
			rows[i].Operator = name
		}
		if e.Challenge != (mfa.ChallengeID{}) {
			rows[i].ChalPath = in(env, "challenges", e.Challenge.String())
		}
	}
	slices.Reverse(rows)
	return rows
}

// stateTones has the tone of each state of a factor and of a challenge.
var stateTones = map[string]string{
	"locked": "bad", "suspended": "bad", "deleted": "", "unverified": "warn",
	"open": "warn", "blocked": "bad", "verified": "good", "exhausted": "bad", "expired": "", "not_sent": "bad",
}

// stateWords has the words of states whose names are not words.
var stateWords = map[string]string{
	"not_sent": "not sent", "exhausted": "attempts used up", "blocked": "blocked by a lock",
}

// A stateView is a state with its words and its tone.
type stateView struct{ Words, Tone string }

// stateOf returns the view of a state of a factor or a challenge.
func stateOf[S ~string](s S) stateView {
	words, ok := stateWords[string(s)]
	if !ok {
		words = string(s)
	}
	return stateView{words, stateTones[string(s)]}
}
