package stats

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The numbers of the series of messages.
const (
	sent = iota
	delivered
	undelivered
	failed
	verified
	segments
)

// hasReason lists the types of event whose reasons are counted. All their reasons come from
// Countersign, so there are few.
var hasReason = map[mfa.EventType]bool{
	mfa.ChallengeFailed: true, mfa.ChallengeRefused: true, mfa.ChallengeVoided: true,
	mfa.DailyLimitReached: true, mfa.EndpointDisabled: true,
}

// isReason reports whether a reason is a name, and not a text of a person.
func isReason(s string) bool {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') {
			return false
		}
	}
	return len(s) <= 40
}

// count adds an event to a batch.
func (b batch) count(e *mfa.Event) {
	reason := ""
	if hasReason[e.Type] && isReason(e.Reason) {
		reason = e.Reason
	}
	b.add(Events, e.At, groupOf(string(e.Type), string(e.Kind), reason), numbers{1})
	if n, ok := messages(e); ok {
		b.countMessages(e, n)
	}
}

// countMessages adds the numbers of an event about a message. A message counts in the hour
// in which its challenge was created, and so do its receipts and its code: then the numbers
// of an hour can be compared.
func (b batch) countMessages(e *mfa.Event, n numbers) {
	at := e.At
	if e.Challenge != (mfa.ChallengeID{}) {
		at = mfa.TimeOf(e.Challenge)
	}
	m := e.Message
	if m.Provider == "" && e.Type == messageQueued {
		m.Provider = e.Reason // an event of an older release
	}
	b.add(SMS, at, groupOf(m.Provider, m.Country, ""), n)
	if m.Prefix != "" {
		b.add(Prefixes, at, groupOf(m.Prefix, m.Country, ""), n)
	}
}

const (
	messageQueued      = mfa.EventType("message." + delivery.Queued)
	messageDelivered   = mfa.EventType("message." + delivery.Delivered)
	messageUndelivered = mfa.EventType("message." + delivery.Undelivered)
	messageFailed      = mfa.EventType("message." + delivery.Failed)
)

// messages returns what an event changes in the numbers of messages; ok is false for no
// change. A message that a provider accepted is sent. It then is delivered, undelivered,
// failed or none of them. A message that no provider accepted has only failed.
func messages(e *mfa.Event) (n numbers, ok bool) {
	switch e.Type {
	case messageQueued:
		n[sent], n[segments] = 1, int64(e.Message.Segments)
	case mfa.TestMessageSent:
		if e.Message.Provider == "" {
			return n, false // it may have been sent
		}
		n[sent], n[segments] = 1, int64(e.Message.Segments)
	case messageDelivered:
		n[delivered] = 1
	case messageUndelivered:
		n[undelivered] = 1
	case messageFailed, mfa.ChallengeVoided:
		n[failed] = 1
	case mfa.ChallengeSucceeded:
		if e.Kind != mfa.SMS || e.Reason != "" { // a bypass code, which no message carried, is the only reason
			return n, false
		}
		n[verified] = 1
	default:
		return n, false
	}
	switch e.Message.Replaced {
	case delivery.Undelivered:
		n[undelivered]--
	case delivery.Failed:
		n[failed]--
	}
	return n, true
}

// HourOf returns the start of the hour of a time.
func HourOf(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }
