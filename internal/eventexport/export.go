// Package eventexport writes events in the formats that other systems read: JSON Lines,
// OCSF, CEF and CSV. Commands and the events sink use it.
package eventexport

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Format is a form in which events are written, one a line.
type Format string

// The formats.
const (
	JSONLines Format = "jsonl" // the object of GET /events, and the name of the environment
	OCSF      Format = "ocsf"  // Open Cybersecurity Schema Framework 1.8.0
	CEF       Format = "cef"   // ArcSight Common Event Format, version 0
	CSV       Format = "csv"   // RFC 4180; Header returns the first line
)

// Formats are all formats.
var Formats = []Format{JSONLines, OCSF, CEF, CSV}

// ParseFormat returns the format with a name.
func ParseFormat(name string) (Format, error) {
	if f := Format(name); slices.Contains(Formats, f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is not a format; use jsonl, ocsf, cef or csv", name)
}

// A Writer writes events in one format.
type Writer struct {
	Format  Format
	Version string // of Countersign
}

// Header returns the line before the first event, or nil for formats without such a line.
func (w Writer) Header() []byte {
	if w.Format == CSV {
		return appendCSV(nil, csvNames...)
	}
	return nil
}

// Append appends the line of an event, with its line break. env is the name of the
// environment of the event.
func (w Writer) Append(b []byte, env string, e *events.Event) []byte {
	switch w.Format {
	case OCSF:
		return appendOCSF(b, w.Version, env, e)
	case CEF:
		return appendCEF(b, w.Version, env, e)
	case CSV:
		return appendCSVEvent(b, env, e)
	}
	b = eventwire.Append(b, *e)
	b = append(b[:len(b)-1], `,"environment":`...)
	b = appendJSON(b, env)
	return append(b, "}\n"...)
}

// A result is how an attempt to authenticate ended.
type result int

const (
	noResult result = iota
	success
	failure
)

// outcome returns the result that an event reports.
func outcome(t mfa.EventType) result {
	switch t {
	case mfa.ChallengeSucceeded:
		return success
	case mfa.ChallengeFailed, mfa.ChallengeRefused, mfa.ChallengeVoided:
		return failure
	}
	return noResult
}

// Words returns a type of event in words for people: "wrong code".
func Words(t mfa.EventType) string {
	if words, ok := exceptions[t]; ok {
		return words
	}
	return strings.NewReplacer(".", " ", "_", " ").Replace(string(t))
}

// exceptions are the types whose names are not the words.
var exceptions = map[mfa.EventType]string{
	mfa.UserLocked:            "user locked",
	mfa.UserUnlocked:          "user unlocked",
	mfa.FactorCloneSuspected:  "clone of a passkey suspected",
	mfa.BypassCreated:         "bypass code issued",
	mfa.BypassUsed:            "bypass code used",
	mfa.BypassRevoked:         "bypass code ended",
	mfa.RecoveryUsed:          "recovery code used",
	mfa.RecoveryLow:           "few recovery codes left",
	mfa.RecoveryRegenerated:   "recovery codes replaced",
	mfa.ChallengeSucceeded:    "right code",
	mfa.ChallengeFailed:       "wrong code",
	mfa.ChallengeRefused:      "code refused unchecked",
	mfa.DailyLimitReached:     "daily message limit reached",
	mfa.PrefixPaused:          "messages to a prefix paused",
	mfa.PrefixReleased:        "messages to a prefix released",
	mfa.TestMessageSent:       "test message sent",
	mfa.KeyCreated:            "API key created",
	mfa.KeyRenamed:            "API key renamed",
	mfa.KeyRevoked:            "API key revoked",
	mfa.EndpointSecretRotated: "webhook secret rotated",
	mfa.EndpointReplayed:      "webhook events sent again",
	mfa.KeysetRotated:         "keyset rotated",
	mfa.StoreCopied:           "store copied",
}

func factorID(e *events.Event) string {
	if e.Factor == (mfa.FactorID{}) {
		return ""
	}
	return e.Factor.String()
}

func challengeID(e *events.Event) string {
	if e.Challenge == (mfa.ChallengeID{}) {
		return ""
	}
	return e.Challenge.String()
}
