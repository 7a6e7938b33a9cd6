// Package rows describes the rows of every store, column by column, and encodes values
// that need one column each.
//
// A description is a function that passes each field of a row to a Columns, in the
// order of the columns. A store has three Columns: the first collects names, the second
// binds values and the third scans them. The store makes its statements from the names.
// A new column needs one line here, a field in package mfa, and a migration in each
// store.
package rows

import (
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Columns visits the columns of one row. The field is a pointer of one of these
// types. The type determines how the column is stored:
//
//	*Key, *Ref, *mfa.Bucket, *KeyBucket, *UserBucket, *TallyBucket, *Owner, *CreatedBy,
//	*int, *int64, *string, *Name, *Word, *[]byte,
//	*time.Time, *OptionalTime, *Expiry,
//	or a pointer that implements Number or Bytes
//
// Column panics for any other type. Each description is visited once when the
// program starts, so the program does not start with a wrong description.
type Columns interface {
	Column(name string, field any)
}

// The types of fields.
type (
	// A Key is the id of the row itself. It includes the bucket and the time of the
	// row.
	Key [16]byte
	// A Ref is the id of another row. The zero Ref is stored as NULL.
	Ref [16]byte
	// A KeyBucket is a bucket that the store derives from the key of the row.
	KeyBucket mfa.Bucket
	// A UserBucket is the bucket of a user.
	UserBucket mfa.User
	// A TallyBucket is the bucket of a tally. The store derives it from the tally's
	// key.
	TallyBucket delivery.Counter
	// An Owner is the user of a factor. A factor without a user is stored with NULL.
	Owner mfa.Factor
	// A Name is text that is stored as text even if it is empty, never as NULL.
	Name string
	// A Word is text that has one of a few values in nearly all rows. An empty string
	// is stored as NULL.
	Word string
	// An OptionalTime is a time that is zero in many rows.
	OptionalTime time.Time
	// An Expiry is a time at which a row expires. The zero time means never and is
	// stored as NULL.
	Expiry time.Time
)

// A Number is a field that is stored as one integer of 32 bits.
type Number interface {
	Number() int
	SetNumber(int)
}

// A Bytes is a field that is stored as bytes. Nil bytes are stored as NULL. Decode does
// not keep b.
type Bytes interface {
	Encode() []byte
	Decode(b []byte) error
}

// Factor describes a factor.
func Factor(c Columns, f *mfa.Factor) {
	c.Column("id", (*Key)(&f.ID))
	c.Column("environment", (*int64)(&f.Environment))
	c.Column("type", (*Word)(&f.Type))
	c.Column("user_id", (*Owner)(f))
	c.Column("issuer", &f.Old.Issuer)
	c.Column("account", &f.Old.Account)
	c.Column("replay", (*factorReplay)(f))
	c.Column("created_at", &f.CreatedAt)
	c.Column("label", &f.Label)
	c.Column("phone", (*phoneHash)(&f.PhoneHash))
	factorState(c, &f.FactorState)
}

// UpdateFactor describes a new state of a factor.
func UpdateFactor(c Columns, u *mfa.UpdateFactor) {
	c.Column("id", (*Key)(&u.ID))
	factorState(c, &u.FactorState)
}

func factorState(c Columns, s *mfa.FactorState) {
	c.Column("sealed", &s.Sealed)
	c.Column("last_step", &s.LastStep)
	c.Column("failures", &s.Failures)
	c.Column("locked_until", (*OptionalTime)(&s.LockedUntil))
	c.Column("last_used_at", (*OptionalTime)(&s.LastUsedAt))
	c.Column("suspended_at", (*OptionalTime)(&s.SuspendedAt))
	c.Column("app", (*app)(&s.App))
	c.Column("missed_step", &s.App.Missed)
	c.Column("expires_at", (*Expiry)(&s.ExpiresAt))
	c.Column("updated_at", &s.UpdatedAt)
}

// Challenge describes a challenge.
func Challenge(c Columns, ch *mfa.Challenge) {
	c.Column("id", (*Key)(&ch.ID))
	c.Column("factor", (*Ref)(&ch.Factor))
	c.Column("type", (*Word)(&ch.Type))
	c.Column("code_mac", &ch.CodeMAC)
	c.Column("created_at", &ch.CreatedAt)
	c.Column("expires_at", &ch.ExpiresAt)
	c.Column("created_by", (*CreatedBy)(&ch.CreatedBy))
	c.Column("receipt", &ch.Receipt)
	challengeState(c, &ch.ChallengeState)
}

// UpdateChallenge describes a new state of a challenge.
func UpdateChallenge(c Columns, u *mfa.UpdateChallenge) {
	c.Column("id", (*Key)(&u.ID))
	challengeState(c, &u.ChallengeState)
}

func challengeState(c Columns, s *mfa.ChallengeState) {
	c.Column("sealed_code", &s.SealedCode)
	c.Column("messages", (*deliveries)(&s.Messages))
	c.Column("attempts", (*counters)(s))
	c.Column("updated_at", &s.UpdatedAt)
	c.Column("verified_at", (*OptionalTime)(&s.VerifiedAt))
	c.Column("verified_by", &s.VerifiedBy)
}

// User describes a user.
func User(c Columns, u *mfa.User) {
	c.Column("bucket", (*UserBucket)(u))
	c.Column("environment", (*int64)(&u.Environment))
	c.Column("id", &u.ID)
	c.Column("failures", &u.Failures)
	c.Column("expires_at", (*Expiry)(&u.ExpiresAt))
	if u.At != 0 && u.ExpiresAt.IsZero() {
		u.At = 0 // only former users have At
	}
}

// Place returns the bucket of a user or a former user.
func (u *UserBucket) Place() mfa.Bucket {
	if u.ExpiresAt.IsZero() {
		return u.Bucket()
	}
	return u.At
}

// Phone describes the limit of a phone number.
func Phone(c Columns, p *delivery.PhoneLimit) {
	c.Column("bucket", (*KeyBucket)(&p.Bucket))
	c.Column("key", (*hash)(&p.Key))
	c.Column("sends", (*sends)(&p.Sends))
	c.Column("expires_at", &p.ExpiresAt)
}

// Counter describes a tally. It leaves out Of, which is not stored.
func Counter(c Columns, t *delivery.Counter) {
	c.Column("bucket", (*TallyBucket)(t))
	c.Column("environment", (*int64)(&t.Environment))
	c.Column("name", (*Name)(&t.Name))
	c.Column("sealed", &t.Sealed)
	c.Column("counts", (*counts)(&t.Counts))
	c.Column("paused_until", (*OptionalTime)(&t.PausedUntil))
	c.Column("expires_at", &t.ExpiresAt)
}

// Message describes a message reference.
func Message(c Columns, m *delivery.MessageRef) {
	c.Column("bucket", (*KeyBucket)(&m.Bucket))
	c.Column("key", (*hash)(&m.Key))
	c.Column("challenge", (*Ref)(&m.Challenge))
	c.Column("number", &m.Number)
	c.Column("state", (*string)(&m.State))
	c.Column("reason", &m.Reason)
	c.Column("expires_at", &m.ExpiresAt)
}

// Bypass describes a bypass code.
func Bypass(c Columns, b *mfa.Bypass) {
	c.Column("bucket", &b.Bucket)
	c.Column("key", (*hash)(&b.Key))
	c.Column("code_mac", &b.CodeMAC)
	c.Column("guesses", &b.Guesses)
	c.Column("created_at", &b.CreatedAt)
	c.Column("expires_at", &b.ExpiresAt)
	c.Column("operator", &b.Operator)
	c.Column("reason", &b.Reason)
}

// Replay describes a replay record.
func Replay(c Columns, r *mfa.Replay) {
	c.Column("bucket", &r.Bucket)
	c.Column("key", (*replayKey)(&r.Key))
	c.Column("fingerprint", (*hash)(&r.Fingerprint))
	c.Column("about", (*Ref)(&r.About))
	c.Column("sealed", &r.Sealed)
	c.Column("expires_at", &r.ExpiresAt)
	c.Column("pending", (*OptionalTime)(&r.PendingUntil))
}

// EventContext describes the personal data of an event.
func EventContext(c Columns, e *mfa.EventContext) {
	c.Column("id", (*Key)(&e.Event))
	c.Column("person", (*personKey)(&e.Person))
	c.Column("sealed", &e.Sealed)
}

// DeletedFactor describes a deleted factor.
func DeletedFactor(c Columns, d *mfa.DeletedFactor) {
	c.Column("id", (*Key)(&d.ID))
	c.Column("person", (*personKey)(&d.Person))
	c.Column("sealed", &d.Sealed)
	c.Column("expires_at", (*Expiry)(&d.ExpiresAt))
}

// Erasure describes a scheduled erasure.
func Erasure(c Columns, e *mfa.Erasure) {
	c.Column("bucket", &e.Bucket)
	c.Column("person", (*personKey)(&e.Person))
	c.Column("due_at", &e.DueAt)
}

// Event describes an event.
func Event(c Columns, e *mfa.Event) {
	c.Column("id", (*Key)(&e.ID))
	c.Column("environment", (*int64)(&e.Environment))
	c.Column("type", (*Word)(&e.Type))
	c.Column("factor", (*Ref)(&e.Factor))
	c.Column("challenge", (*Ref)(&e.Challenge))
	reason(c, e)
	c.Column("at", &e.At)
	if e.At.IsZero() { // an event of an older release: its id has the time
		e.At = mfa.TimeOf(e.ID)
	}
	c.Column("kind", (*Word)(&e.Kind))
	c.Column("caller", &e.Caller)
	c.Column("request", &e.Request)
	c.Column("message", &e.Message)
}

// reason describes the reason of an event. The clock offset of a checked code follows it in
// the same column, because most codes have none: "wrong_code@-4", or "@1" without a reason.
func reason(c Columns, e *mfa.Event) {
	if e.ClockOffset != 0 {
		e.Reason += "@" + strconv.Itoa(e.ClockOffset)
	}
	c.Column("reason", (*Word)(&e.Reason))
	if e.Type != mfa.ChallengeSucceeded && e.Type != mfa.ChallengeFailed {
		return // an operator's text may have the same form
	}
	if i := strings.LastIndexByte(e.Reason, '@'); i >= 0 {
		if steps, err := strconv.Atoi(e.Reason[i+1:]); err == nil {
			e.Reason, e.ClockOffset = e.Reason[:i], steps
		}
	}
}
