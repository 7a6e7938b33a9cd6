package mfa

import (
	"encoding/binary"
	"time"
)

// An Event says what happened. It is appended in the transaction in which it
// happened and never changed, and holds no personal data, for it outlives its factor.
type Event struct {
	ID          EventID // also tells when
	Environment EnvironmentID
	Type        EventType
	Factor      FactorID    // zero if it concerns a user
	Challenge   ChallengeID // zero if it concerns a whole factor
	Reason      string      // why, for those that have a reason
}

// At returns when the event happened.
func (e Event) At() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(e.ID[:8]) >> 16)).UTC()
}

// An EventType says what kind of thing happened.
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
	ChallengeRefused   EventType = "challenge.refused"   // a code that was not looked at
	ChallengeVoided    EventType = "challenge.voided"    // its message could not be sent
)

// The reasons of events.
const (
	reasonWrongCode       = "wrong_code"
	reasonSpentCode       = "spent_code" // a right code, used before: perhaps overheard
	reasonExpired         = "expired"
	reasonVerified        = "previously_verified"
	reasonTooManyAttempts = "too_many_attempts"
	reasonDelivery        = "delivery_failed"
)
