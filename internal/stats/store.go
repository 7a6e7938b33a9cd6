package stats

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Store keeps the counts. storetest.RunStatistics states its promises.
type Store interface {
	// UpdateStatistics reads the position of an environment and the rows of keys, runs fn and
	// stores what fn left in tx, all in one transaction. Updates of one environment follow one
	// another. If fn fails, UpdateStatistics stores nothing and returns its error. fn may run
	// more than once.
	UpdateStatistics(ctx context.Context, env mfa.EnvironmentID, keys []Key, fn func(tx *Tx) error) error
	// Position returns the position of an environment; zero if it is not stored.
	Position(ctx context.Context, env mfa.EnvironmentID) (Position, error)
	// Statistics lists the rows of a series that start at or after from and before to,
	// oldest first.
	Statistics(ctx context.Context, env mfa.EnvironmentID, series Series, from, to time.Time) ([]Row, error)
	// SweepStatistics removes up to limit rows of a series that start before a time, oldest
	// first. It reports whether there may be more.
	SweepStatistics(ctx context.Context, env mfa.EnvironmentID, series Series, before time.Time, limit int) (more bool, err error)
	// Holdings lists the factors of the users in one of ids.Buckets parts, in an order in which
	// the factors of a user follow one another. A user is always in the same part. Factors
	// without a user are not listed.
	Holdings(ctx context.Context, part int) ([]Holding, error)
}

// A Series is a kind of row.
type Series string

// The series.
const (
	Events   Series = "events"   // by type of event, type of factor and reason
	SMS      Series = "sms"      // by provider and country
	Prefixes Series = "prefixes" // by the reference of a prefix, and country
	Holders  Series = "coverage" // users by their factors; the newest count of the hour
)

// A Key names a row of an environment.
type Key struct {
	Series Series
	Start  time.Time // of an hour, UTC
}

// A Row has the counts of an hour, encoded.
type Row struct {
	Key
	Counts []byte
}

// A Position says how far the events of an environment are counted, and by which node.
type Position struct {
	At          mfa.EventID // of the last event that is counted; zero: none
	LeasedBy    [16]byte    // the node that counted last
	LeasedUntil time.Time   // until then, other nodes leave the environment to it
}

// A StoredRow is a row with its environment. Only stores and copies use it.
type StoredRow struct {
	Environment mfa.EnvironmentID
	Row
}

// A StoredPosition is a position with its environment.
type StoredPosition struct {
	Environment mfa.EnvironmentID
	Position
}

// A Tx has rows and collects the writes of one transaction.
type Tx struct {
	Position Position // fn may change it
	Rows     []Row    // in the order of the keys; Counts is nil if the row is not stored; fn sets it
}

// A Holding is a factor of a user.
type Holding struct {
	Environment mfa.EnvironmentID
	User        string
	Type        mfa.FactorType
	Suspended   bool
}

// everywhere is the environment whose position is the lease of the work that concerns all
// environments.
const everywhere mfa.EnvironmentID = -1

// BucketOf returns the bucket of all rows of an environment.
func BucketOf(env mfa.EnvironmentID) mfa.Bucket { return ids.UserBucket(env, "") }
