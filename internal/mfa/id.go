package mfa

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
)

// The ids of package ids, as the domain uses them.
type (
	Bucket        = ids.Bucket
	EnvironmentID = ids.EnvironmentID
	FactorID      = ids.FactorID
	ChallengeID   = ids.ChallengeID
	EventID       = ids.EventID
	Position      = ids.Position
)

// An Environment is a tenant. No row of one environment is visible in another.
type Environment struct {
	ID         EnvironmentID
	Name       string
	Production bool // otherwise a sandbox
	Settings   Settings
}

// Tenant returns e for packages that know no settings.
func (e Environment) Tenant() ids.Environment {
	return ids.Environment{ID: e.ID, Name: e.Name, Production: e.Production}
}

// Buckets is the number of partitions of the rows.
const Buckets = ids.Buckets

// UserBucket returns the bucket of all factors of a user.
func UserBucket(env EnvironmentID, user string) Bucket { return ids.UserBucket(env, user) }

// MaxCounter is the largest Counter of a Position.
const MaxCounter = ids.MaxCounter

// PositionOf returns the position in an id.
func PositionOf(id EventID) Position { return ids.PositionOf(id) }

// ParseEventID reads an id as String writes it.
func ParseEventID(s string) (EventID, bool) { return ids.ParseEventID(s) }

// TimeOf returns the creation time of an id, in whole milliseconds.
func TimeOf(id [16]byte) time.Time { return ids.TimeOf(id) }

// markBit is the lowest random bit of an id, in its byte 14. In the id of a factor it is set
// if Countersign sends the codes of the factor, and otherwise zero.
const markBit = 1 << 2

// mark sets or clears the markBit of a new id.
func mark(id *FactorID, k kind) {
	id[14] &^= markBit
	if _, ok := k.(messenger); ok {
		id[14] |= markBit
	}
}

// isMarked reports whether a factor sends its codes. Such factors that an older release
// enrolled are not marked.
func isMarked(id FactorID) bool { return id[14]&markBit != 0 }

// ParseFactorID reads an id as String writes it. Any other text is a
// *NotFoundError: no factor can have that id.
func ParseFactorID(s string) (FactorID, error) {
	id, ok := ids.ParseFactorID(s)
	if !ok {
		return FactorID{}, &NotFoundError{Entity: EntityFactor, ID: s}
	}
	return id, nil
}

// ParseChallengeID reads an id as String writes it. Any other text is a
// *NotFoundError: no challenge can have that id.
func ParseChallengeID(s string) (ChallengeID, error) {
	id, ok := ids.ParseChallengeID(s)
	if !ok {
		return ChallengeID{}, &NotFoundError{Entity: EntityChallenge, ID: s}
	}
	return id, nil
}
