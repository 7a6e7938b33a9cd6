package delivery

import (
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

// A Record describes one message of a challenge, as it is stored.
type Record struct {
	Provider  string    // that accepted it; "" until a provider has
	ID        string    // a short keyed hash of the id that the provider gave it; "" without an id
	State     State     // Queued at first
	Reason    string    // the provider's own code for a failure, or ""
	Segments  int       // the number of messages that carriers send and charge
	Country   string    // of the phone number, by ISO 3166-1; "" in a record of an older release
	Prefix    string    // the reference of the prefix of the phone number; "" in a sandbox
	Sealed    []byte    // of the first message: the code and then the whole text, while the code can be used
	At        time.Time // when it was handed to the provider
	UpdatedAt time.Time // when State changed; for a test number this can be in the future
}

// A State is the state of a message.
type State string

// The states of a message. Each state replaces the ones above it, in any order of the
// reports: a message that was reported as failed may still arrive.
const (
	Queued      State = "queued"      // a provider has it, or will have it soon
	Sent        State = "sent"        // a carrier has it
	Undelivered State = "undelivered" // the carrier could not deliver it
	Failed      State = "failed"      // no carrier has it
	Delivered   State = "delivered"   // the phone has it
)

var rank = map[State]int{Queued: 1, Sent: 2, Undelivered: 3, Failed: 3, Delivered: 4}

// NewRecord returns the record of a message that is about to be sent to the phone number
// that k names.
func NewRecord(text string, k Keys, now time.Time) Record {
	return Record{State: Queued, Segments: smstext.Measure(text).Segments, Country: k.Country, Prefix: k.Prefix, At: now, UpdatedAt: now}
}

// Again returns the record of another message with the same text as r.
func (r Record) Again(now time.Time) Record {
	return Record{State: Queued, Segments: r.Segments, Country: r.Country, Prefix: r.Prefix, At: now, UpdatedAt: now}
}

// Advance moves r to a later state. It reports whether r changed.
func (r *Record) Advance(to State, reason string, now time.Time) bool {
	if rank[to] <= rank[r.State] {
		return false
	}
	r.State, r.Reason, r.UpdatedAt = to, reason, now
	return true
}

// isUndone reports whether r was certainly not sent: its challenge is valid, and another
// message may replace it.
func (r Record) isUndone() bool { return r.State == Failed && r.Provider == "" && r.ID == "" }

// Records are the messages of a challenge, oldest first.
type Records []Record

// Latest returns the message that represents the challenge at now: the one that arrived,
// otherwise the last one that was sent, otherwise the last one. ok is false if there is no
// message.
func (rs Records) Latest(now time.Time) (r Record, ok bool) {
	for i, m := range rs {
		if i > 0 && m.isUndone() && !r.isUndone() {
			continue
		}
		r = m
		if now.Before(r.UpdatedAt) {
			r.State, r.Reason, r.UpdatedAt = Queued, "", r.At
		}
		if r.State == Delivered {
			break
		}
	}
	return r, len(rs) > 0
}

// Resends counts the messages after the first.
func (rs Records) Resends() int {
	n := len(rs) - 1
	if n > 0 && rs[n].isUndone() {
		n--
	}
	return n
}

// With returns the records with one more. It replaces the last one if that was not sent.
func (rs Records) With(r Record) Records {
	rs = slices.Clone(rs)
	if n := len(rs) - 1; n > 0 && rs[n].isUndone() {
		rs = rs[:n]
	}
	return append(rs, r)
}

// Avoid returns the provider of the message before the last, if that probably did not
// arrive.
func (rs Records) Avoid() string {
	if n := len(rs) - 2; n >= 0 && rs[n].State != Delivered {
		return rs[n].Provider
	}
	return ""
}
