package webhook

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// The kinds of refusal.
var (
	ErrDuplicate = errors.New("another endpoint of the environment has this URL")
	ErrURL       = errors.New("the URL cannot be that of an endpoint")
	ErrTooMany   = errors.New("the environment has as many endpoints as it may have")
	ErrReplaying = errors.New("a replay of this endpoint is in progress")
	ErrDisabled  = errors.New("the endpoint is disabled")
)

// Entity is the name of an endpoint in a mfa.NotFoundError.
const Entity mfa.Entity = "Webhook Endpoint"

// An EndpointID is a ULID whose last 10 bits are the bucket of its environment: all
// endpoints of an environment are in one bucket, and so are their deliveries and attempts.
type EndpointID [16]byte

const endpointPrefix = "we_"

// String returns the id as the wire has it, we_01FZ4WRNQ7S9GT4BJBMN9KQKVC.
func (id EndpointID) String() string { return string(ids.Append(nil, endpointPrefix, id)) }

// Bucket returns the partition of the endpoint.
func (id EndpointID) Bucket() mfa.Bucket { return ids.BucketOf(id) }

// ParseEndpointID reads an id as String writes it. Any other text is a *mfa.NotFoundError:
// no endpoint can have that id.
func ParseEndpointID(s string) (EndpointID, error) {
	id, ok := ids.Parse(endpointPrefix, s)
	if !ok {
		return EndpointID{}, notFound(s)
	}
	return id, nil
}

func notFound(id string) error { return &mfa.NotFoundError{Entity: Entity, ID: id} }

// BucketOf returns the bucket of all endpoints of an environment.
func BucketOf(env mfa.EnvironmentID) mfa.Bucket { return mfa.UserBucket(env, "") }

// A Status says whether an endpoint receives events.
type Status string

// The statuses.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// An Endpoint is a URL that receives events of one environment.
type Endpoint struct {
	ID          EndpointID
	Environment mfa.EnvironmentID
	Sandbox     bool // the environment is a sandbox: see waits
	URL         string
	Status      Status
	DisabledFor string          // why it is disabled: Requested, Gone or Failing; "" while it is enabled
	Events      []mfa.EventType // the types that it receives, sorted
	CreatedAt   time.Time       // UTC, whole milliseconds, like all times here
	UpdatedAt   time.Time
	Creation    [32]byte // the hash of the idempotency key and body of its creation; zero without a key

	Sealed     []byte    // the secret
	NextSealed []byte    // the secret that replaces it at SwitchAt; nil if none does
	SwitchAt   time.Time // zero if there is no Next

	Progress
	Replay Replay

	LeasedBy    [16]byte  // the run that delivers now; zero if none does
	LeasedUntil time.Time // when another run may take over
}

// Progress is the part of an endpoint that changes with deliveries.
type Progress struct {
	Cursor       mfa.EventID // all events up to here were delivered or have a Delivery
	Failures     int         // failed attempts since the last success
	LastSuccess  time.Time   // zero before the first one
	FailingSince time.Time   // of the first failed attempt since the last success; zero without one
	HoldUntil    time.Time   // no event after the cursor is sent before
}

// A Replay is a second cursor, which sends past events again. The zero value means none.
type Replay struct {
	After        mfa.EventID // all events up to here were sent again
	Since, Until time.Time   // by the time of the event
	End          mfa.EventID // the cursor of the endpoint when the replay was asked for
}

// IsZero reports whether r means no replay.
func (r Replay) IsZero() bool { return r.End == mfa.EventID{} }

// Reasons for DisabledFor.
const (
	Requested = "requested" // by an API key or an operator
	Gone      = "gone"      // the receiver answered 410
	Failing   = "failing"   // no attempt succeeded for days
)

const secretField = "webhook_endpoints.secret"

func (e *Endpoint) associated() []byte { return fmt.Appendf(nil, "%s\x00%s", secretField, e.ID) }

// Secrets are the secrets that sign the deliveries of an endpoint.
type Secrets struct {
	Current secret.String // signs both forms
	Next    secret.String // also signs the form of Standard Webhooks, while the secret is being replaced; or ""
}

// secrets opens the secrets that sign at a time.
func (e *Endpoint) secrets(keys *secret.Keyset, now time.Time) (s Secrets, err error) {
	open := func(sealed []byte) secret.String {
		if sealed == nil || err != nil {
			return secret.String{}
		}
		var plain []byte
		if plain, err = keys.Open(sealed, e.associated()); err != nil {
			err = fmt.Errorf("open the secret of %s: %w", e.ID, err)
		}
		return secret.NewString(string(plain))
	}
	if e.NextSealed != nil && !now.Before(e.SwitchAt) {
		return Secrets{Current: open(e.NextSealed)}, err
	}
	s = Secrets{Current: open(e.Sealed), Next: open(e.NextSealed)}
	return s, err
}

// settleSecret makes Next the secret once its time has come.
func (e *Endpoint) settleSecret(now time.Time) {
	if e.NextSealed != nil && !now.Before(e.SwitchAt) {
		e.Sealed, e.NextSealed, e.SwitchAt = e.NextSealed, nil, time.Time{}
	}
}

// Receives reports whether the endpoint is subscribed to a type of event.
func (e *Endpoint) Receives(typ mfa.EventType) bool { return slices.Contains(e.Events, typ) }

// enable lets the endpoint receive events again, from its cursor on. Its failures do not
// count any more.
func (e *Endpoint) enable() {
	e.Status, e.DisabledFor = Enabled, ""
	e.Failures, e.FailingSince, e.HoldUntil = 0, time.Time{}, time.Time{}
}

func (e *Endpoint) disable(why string) { e.Status, e.DisabledFor = Disabled, why }

// A Delivery is an event that was sent to an endpoint without success.
type Delivery struct {
	Endpoint  EndpointID
	Event     mfa.EventID
	EventAt   time.Time
	State     DeliveryState
	Attempts  int
	NextAt    time.Time // of the next attempt, while it waits
	ExpiresAt time.Time // when it is removed
}

// A DeliveryState is the state of a Delivery.
type DeliveryState string

// The states.
const (
	Waiting DeliveryState = "waiting" // for NextAt
	Paused  DeliveryState = "paused"  // its endpoint is disabled
	Failed  DeliveryState = "failed"  // all attempts failed
)

// An AttemptID is a ULID in the bucket of its endpoint.
type AttemptID [16]byte

const attemptPrefix = "wa_"

// String returns the id as the wire has it.
func (id AttemptID) String() string { return string(ids.Append(nil, attemptPrefix, id)) }

// An Attempt records one request to an endpoint.
type Attempt struct {
	ID        AttemptID
	Endpoint  EndpointID
	Event     mfa.EventID
	Type      mfa.EventType
	Number    int // of the attempt, from 1
	At        time.Time
	Took      time.Duration // whole milliseconds
	Status    int           // of the answer; 0 without one
	Outcome   Outcome
	Answer    []byte    // the beginning of the answer's body, sealed; nil if it was empty
	NextAt    time.Time // of the next attempt; zero after the last one
	ExpiresAt time.Time // when it is removed
}

func (a *Attempt) associated() []byte { return fmt.Appendf(nil, "webhook_attempts.answer\x00%s", a.ID) }
