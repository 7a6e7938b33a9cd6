package mfa

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// An Event records one occurrence. It is appended in the transaction of the occurrence and
// never changes. It outlives its factor, so it has no personal data, except in Context.
type Event struct {
	// ID is the position of the event: readers get the events of an environment in the order
	// of their ids. The store sets it when it appends the event and keeps only its bucket.
	ID          EventID
	At          time.Time // when it happened; UTC, whole milliseconds
	Environment EnvironmentID
	Type        EventType
	Factor      FactorID    // zero if it concerns a user, a prefix or no factor
	Challenge   ChallengeID // zero if it concerns a whole factor
	Kind        FactorType  // of the factor; "" in events of an older release
	Reason      string      // why it happened; "" if its type has no reasons
	ClockOffset int         // totp: by how many times 30 s the clock of the app is ahead, as the code shows; 0 if it is not, or not known
	Caller      string      // "key_…", "operator:NAME", or "" for Countersign itself
	Request     string      // the id of the request; or ""

	// Message describes the message that the event is about. A verified sms challenge names
	// the message that represents it. Zero in other events, and in events of an older release.
	Message delivery.Trace
}

// In returns the event in an environment, as an event that concerns no factor.
func (e Event) In(env EnvironmentID) Event {
	e.Environment = env
	binary.BigEndian.PutUint16(e.ID[14:], uint16(UserBucket(env, "")))
	return e
}

// An EventType is the kind of an event.
type EventType string

// The types of event.
const (
	FactorEnrolled       EventType = "factor.enrolled"
	FactorLocked         EventType = "factor.locked"
	FactorUnlocked       EventType = "factor.unlocked"
	FactorDeleted        EventType = "factor.deleted"
	FactorSuspended      EventType = "factor.suspended"
	FactorResumed        EventType = "factor.resumed"
	BypassCreated        EventType = "factor.bypass_created"
	BypassUsed           EventType = "factor.bypass_used"
	BypassRevoked        EventType = "factor.bypass_revoked"
	FactorCloneSuspected EventType = "factor.clone_suspected"     // two copies of the key of a webauthn factor may exist
	RecoveryUsed         EventType = "recovery_codes.used"        // the reason is the number of codes that are left
	RecoveryLow          EventType = "recovery_codes.low"         // few codes are left; the reason is their number
	RecoveryRegenerated  EventType = "recovery_codes.regenerated" // new codes replaced all earlier ones
	UserLocked           EventType = "factor.user_locked"
	UserUnlocked         EventType = "factor.user_unlocked"
	ChallengeCreated     EventType = "challenge.created"
	ChallengeRefused     EventType = "challenge.refused"            // codes that were not checked; see leavesEvent
	ChallengeVoided      EventType = "challenge.voided"             // its message could not be sent
	ChallengeSucceeded   EventType = "authentication.mfa_succeeded" // a right code
	ChallengeFailed      EventType = "authentication.mfa_failed"    // a wrong code
	PrefixPaused         EventType = "message.prefix_paused"        // the reason is a keyed hash of the prefix
	PrefixReleased       EventType = "message.prefix_released"
	DailyLimitReached    EventType = "message.daily_limit_reached" // the reason is "all" or "abroad"
	TestMessageSent      EventType = "message.test_sent"           // by an operator, without a code

	// Acts of administration.
	EnvironmentCreated    EventType = "environment.created"
	EnvironmentUpdated    EventType = "environment.updated" // the reason is the names of the settings that were changed
	KeyCreated            EventType = "api_key.created"
	KeyRenamed            EventType = "api_key.renamed"
	KeyRevoked            EventType = "api_key.revoked"
	EndpointCreated       EventType = "webhook_endpoint.created"
	EndpointUpdated       EventType = "webhook_endpoint.updated"
	EndpointDeleted       EventType = "webhook_endpoint.deleted"
	EndpointDisabled      EventType = "webhook_endpoint.disabled"
	EndpointSecretRotated EventType = "webhook_endpoint.secret_rotated"
	EndpointReplayed      EventType = "webhook_endpoint.replayed" // past events are sent again; the reason is which
	KeysetRotated         EventType = "operator.keyset_rotated"
	StoreCopied           EventType = "operator.store_copied"

	// Operators of the web console.
	OperatorCreated       EventType = "operator.created"
	OperatorLinkCreated   EventType = "operator.link_created"
	OperatorRoleChanged   EventType = "operator.role_changed"
	OperatorDisabled      EventType = "operator.disabled"
	OperatorEnabled       EventType = "operator.enabled"
	OperatorSignedIn      EventType = "operator.signed_in"
	SignInFailed          EventType = "operator.sign_in_failed"
	OperatorConfirmed     EventType = "operator.confirmed"
	OperatorSignedOut     EventType = "operator.signed_out"
	OperatorSessionsEnded EventType = "operator.sessions_ended"
	PasskeyAdded          EventType = "operator.passkey_added"
	PasskeyRemoved        EventType = "operator.passkey_removed"
	PasskeyCloneSuspected EventType = "operator.passkey_clone_suspected"
	Viewed                EventType = "operator.viewed" // the reason is the kind of the view, a colon and the operator's text
)

// EventTypes are all types of event.
var EventTypes = []EventType{
	FactorEnrolled, FactorLocked, FactorUnlocked, FactorDeleted, FactorSuspended, FactorResumed, FactorCloneSuspected, BypassCreated, BypassUsed, BypassRevoked, UserLocked, UserUnlocked,
	RecoveryUsed, RecoveryLow, RecoveryRegenerated,
	ChallengeCreated, ChallengeSucceeded, ChallengeFailed, ChallengeRefused, ChallengeVoided,
	messageEvent(delivery.Queued), messageEvent(delivery.Sent), messageEvent(delivery.Undelivered), messageEvent(delivery.Failed), messageEvent(delivery.Delivered),
	PrefixPaused, PrefixReleased, DailyLimitReached, TestMessageSent,
	EnvironmentCreated, EnvironmentUpdated, KeyCreated, KeyRenamed, KeyRevoked,
	EndpointCreated, EndpointUpdated, EndpointDeleted, EndpointDisabled, EndpointSecretRotated, EndpointReplayed,
	KeysetRotated, StoreCopied,
	OperatorCreated, OperatorLinkCreated, OperatorRoleChanged, OperatorDisabled, OperatorEnabled,
	OperatorSignedIn, SignInFailed, OperatorConfirmed, OperatorSignedOut, OperatorSessionsEnded,
	PasskeyAdded, PasskeyRemoved, PasskeyCloneSuspected,
	Viewed,
}

// IsKnown reports whether t is one of EventTypes.
func (t EventType) IsKnown() bool { return slices.Contains(EventTypes, t) }

// messageEvent returns the type of event for a message with a new state:
// "message.delivered". The reason of a queued one is its provider's name.
func messageEvent(to delivery.State) EventType { return EventType("message." + to) }

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
	reasonSuspended       = "suspended"
	reasonBypass          = "bypass"               // of a right code: it was a bypass code
	reasonRecovery        = "recovery"             // of a right code: it was a recovery code of the user
	reasonDuplicateSeed   = "duplicate_seed"       // of an enrollment: another factor of the user has the secret
	reasonUnverified      = "not_verified_in_time" // of a deleted factor
	reasonDelivery        = "delivery_failed"
	reasonRecipient       = "recipient_refused" // a provider refuses the phone number
)
