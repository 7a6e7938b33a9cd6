package console

import (
	"net/url"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An eventRow is an event in a table.
type eventRow struct {
	ID        string
	At        time.Time
	What      string // the type in words
	Type      string
	Tone      string // "good", "bad" or ""
	User      string // "" if the event concerns no user
	UserPath  string
	Kind      string // of the factor; or ""
	Subject   string // the id of the factor, API key or endpoint; or ""
	About     string // Subject in words
	Path      string // of the subject's page; or ""
	Challenge string // the id; or ""
	ChalPath  string
	By        string // who caused it
	Reason    string
	IPAddress string
	UserAgent string
	Request   string
}

// rowOf returns the row of an event of an environment.
func rowOf(env mfa.Environment, e *events.Event) eventRow {
	_, resource, reason := eventwire.Resource(e)
	row := eventRow{
		ID: e.ID.String(), At: e.At, What: sentenceStart(eventexport.Words(e.Type)), Type: string(e.Type), Tone: toneOf(e.Type),
		User: e.User, Kind: string(e.Kind), Subject: resource, By: byWhom(e.Caller), Reason: reason,
		IPAddress: e.IPAddress, UserAgent: e.UserAgent, Request: e.Request,
	}
	if e.User != "" {
		row.UserPath = userPath(env, e.User)
	}
	switch {
	case e.Factor != mfa.FactorID{}:
		row.Subject = e.Factor.String()
		row.About = strings.TrimSpace(string(e.Kind) + " factor")
		row.Path = in(env, "factors", row.Subject)
	case strings.HasPrefix(resource, "we_"):
		row.About, row.Path = "webhook endpoint", in(env, "webhooks", resource)
	default:
		row.About = shortened(resource)
	}
	if e.Challenge != (mfa.ChallengeID{}) {
		row.Challenge = e.Challenge.String()
		row.ChalPath = in(env, "challenges", row.Challenge)
	}
	return row
}

// rowsOf returns the rows of events.
func rowsOf(env mfa.Environment, list []events.Event) []eventRow {
	rows := make([]eventRow, len(list))
	for i := range list {
		rows[i] = rowOf(env, &list[i])
	}
	return rows
}

// userPath returns the path of the page of a user. The id is a parameter, because a path
// cannot have every id as an element.
func userPath(env mfa.Environment, user string) string {
	return in(env, "user") + "?id=" + url.QueryEscape(user)
}

// byWhom names a caller for people.
func byWhom(caller string) string {
	if name, ok := strings.CutPrefix(caller, "operator:"); ok {
		return "operator " + name
	}
	if caller == "" {
		return "Countersign"
	}
	return caller
}

// toneOf says whether a type of event is good or bad news.
func toneOf(t mfa.EventType) string {
	switch t {
	case mfa.ChallengeSucceeded, mfa.FactorUnlocked, mfa.UserUnlocked, "message.delivered":
		return "good"
	case mfa.ChallengeFailed, mfa.ChallengeRefused, mfa.ChallengeVoided, mfa.FactorLocked, mfa.UserLocked, mfa.PrefixPaused,
		mfa.DailyLimitReached, "message.failed", "message.undelivered", mfa.EndpointDisabled:
		return "bad"
	}
	return ""
}

// sentenceStart returns a text with an upper-case first letter.
func sentenceStart(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
