package rows

import (
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// Endpoint describes a webhook endpoint. Its ids are Refs, so its times do not depend on
// them, and the store can compare the times of different rows.
func Endpoint(c Columns, e *webhook.Endpoint) {
	bucketOf(c, e.ID.Bucket())
	c.Column("id", (*Ref)(&e.ID))
	c.Column("environment", (*int64)(&e.Environment))
	c.Column("sandbox", (*flag)(&e.Sandbox))
	c.Column("url", &e.URL)
	c.Column("status", (*string)(&e.Status))
	c.Column("disabled_for", &e.DisabledFor)
	c.Column("types", (*eventTypes)(&e.Events))
	c.Column("created_at", &e.CreatedAt)
	c.Column("updated_at", &e.UpdatedAt)
	c.Column("creation", (*hash)(&e.Creation))
	c.Column("sealed", &e.Sealed)
	c.Column("next_sealed", &e.NextSealed)
	c.Column("switch_at", (*OptionalTime)(&e.SwitchAt))
	c.Column("position", (*Ref)(&e.Cursor))
	c.Column("failures", &e.Failures)
	c.Column("last_success", (*OptionalTime)(&e.LastSuccess))
	c.Column("failing_since", (*OptionalTime)(&e.FailingSince))
	c.Column("hold_until", (*OptionalTime)(&e.HoldUntil))
	c.Column("replay_after", (*Ref)(&e.Replay.After))
	c.Column("replay_since", (*OptionalTime)(&e.Replay.Since))
	c.Column("replay_until", (*OptionalTime)(&e.Replay.Until))
	c.Column("replay_end", (*Ref)(&e.Replay.End))
	c.Column("leased_by", (*Ref)(&e.LeasedBy))
	c.Column("leased_until", (*OptionalTime)(&e.LeasedUntil))
}

// Delivery describes a delivery of a webhook.
func Delivery(c Columns, d *webhook.Delivery) {
	bucketOf(c, d.Endpoint.Bucket())
	c.Column("endpoint", (*Ref)(&d.Endpoint))
	c.Column("event", (*Ref)(&d.Event))
	c.Column("event_at", &d.EventAt)
	c.Column("state", (*string)(&d.State))
	c.Column("attempts", &d.Attempts)
	c.Column("next_at", &d.NextAt)
	c.Column("expires_at", &d.ExpiresAt)
}

// Attempt describes an attempt to deliver a webhook.
func Attempt(c Columns, a *webhook.Attempt) {
	bucketOf(c, a.Endpoint.Bucket())
	c.Column("endpoint", (*Ref)(&a.Endpoint))
	c.Column("id", (*Ref)(&a.ID))
	c.Column("event", (*Ref)(&a.Event))
	c.Column("type", (*Word)(&a.Type))
	c.Column("number", &a.Number)
	c.Column("at", &a.At)
	c.Column("took_ms", (*millis)(&a.Took))
	c.Column("status", &a.Status)
	c.Column("outcome", (*string)(&a.Outcome))
	c.Column("answer", &a.Answer)
	c.Column("next_at", (*OptionalTime)(&a.NextAt))
	c.Column("expires_at", &a.ExpiresAt)
}

// bucketOf describes the bucket of a row that has it in one of its ids.
func bucketOf(c Columns, b mfa.Bucket) {
	derived := KeyBucket(b)
	c.Column("bucket", &derived)
}

// eventTypes are stored as text, separated by spaces.
type eventTypes []mfa.EventType

func (t *eventTypes) Encode() []byte {
	names := make([]string, len(*t))
	for i, typ := range *t {
		names[i] = string(typ)
	}
	return []byte(strings.Join(names, " "))
}

func (t *eventTypes) Decode(b []byte) error {
	*t = nil
	for _, name := range strings.Fields(string(b)) {
		*t = append(*t, mfa.EventType(name))
	}
	return nil
}
