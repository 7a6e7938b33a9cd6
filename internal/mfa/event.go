package mfa

import (
	"context"
	"encoding/binary"
	"time"
)

// An Event records one occurrence. It is appended in the transaction of the occurrence and
// never changes. It has no personal data, because it outlives its factor.
type Event struct {
	ID          EventID // contains the time
	Environment EnvironmentID
	Type        EventType
	Factor      FactorID    // zero if it concerns a user or a prefix
	Challenge   ChallengeID // zero if it concerns a whole factor
	Reason      string      // why it happened; "" if its type has no reasons
}

// At returns when the event happened.
func (e Event) At() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(e.ID[:8]) >> 16)).UTC()
}

// An EventType is the kind of an event.
type EventType string

// The types of event.
const (
	FactorEnrolled     EventType = "factor.enrolled"
	FactorLocked       EventType = "factor.locked"
	FactorUnlocked     EventType = "factor.unlocked"
	FactorDeleted      EventType = "factor.deleted"
	UserLocked         EventType = "user.locked"
	UserUnlocked       EventType = "user.unlocked"
	ChallengeCreated   EventType = "challenge.created"
	ChallengeSucceeded EventType = "challenge.succeeded" // a right code
	ChallengeFailed    EventType = "challenge.failed"    // a wrong code
	ChallengeRefused   EventType = "challenge.refused"   // codes that were not checked; see leavesEvent
	ChallengeVoided    EventType = "challenge.voided"    // its message could not be sent
	PrefixPaused       EventType = "sms.prefix_paused"   // the reason is a keyed hash of the prefix
	PrefixReleased     EventType = "sms.prefix_released"
	DailyLimitReached  EventType = "sms.daily_limit_reached" // the reason is "all" or "abroad"
)

// EventTypes are all types of event.
var EventTypes = []EventType{
	FactorEnrolled, FactorLocked, FactorUnlocked, FactorDeleted, UserLocked, UserUnlocked,
	ChallengeCreated, ChallengeSucceeded, ChallengeFailed, ChallengeRefused, ChallengeVoided,
	messageEvent(Queued), messageEvent(Sent), messageEvent(Undelivered), messageEvent(Failed), messageEvent(Delivered),
	PrefixPaused, PrefixReleased, DailyLimitReached,
}

// messageEvent returns the type of event for a message with a new state:
// "message.delivered". The reason of a queued one is its provider's name.
func messageEvent(to DeliveryState) EventType { return EventType("message." + to) }

// observed is a Store that reports each event after its commit.
type observed struct {
	Store
	tell func(EventType)
}

// Update calls the Update of the Store and reports the events of the committed run.
func (o observed) Update(ctx context.Context, r Read, fn func(*Tx) error) error {
	var writes []Write
	err := o.Store.Update(ctx, r, func(tx *Tx) error {
		err := fn(tx)
		writes = tx.Writes
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range writes {
		if e, ok := w.(AppendEvent); ok {
			o.tell(e.Type)
		}
	}
	return nil
}

// The reasons of events.
const (
	reasonWrongCode       = "wrong_code"
	reasonSpentCode       = "spent_code" // a right code that was used before: it may have been intercepted
	reasonExpired         = "expired"
	reasonVerified        = "previously_verified"
	reasonTooManyAttempts = "too_many_attempts"
	reasonDelivery        = "delivery_failed"
	reasonRecipient       = "recipient_refused" // a provider refuses the phone number
)
