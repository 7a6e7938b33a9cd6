package mfa

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/ids"
)

// A Store keeps factors, challenges and their related rows. It knows no rules: it reads
// the rows of a Read and makes the Writes of a Tx.
// storetest.Run states its promises.
type Store interface {
	// Update reads the rows that r names, runs fn on them and commits the writes in tx,
	// all in one serializable transaction. It returns nil only after a durable commit. If
	// fn fails, Update stores nothing and returns its error. fn may run more than once,
	// each time on freshly read rows.
	Update(ctx context.Context, r Read, fn func(tx *Tx) error) error

	// View reads the rows that r names, as of one moment.
	View(ctx context.Context, r Read) (Rows, error)

	// Factors lists factors of one user.
	Factors(ctx context.Context, q FactorQuery) ([]Factor, error)

	// FactorsAfter lists up to limit factors of all users. The store chooses the order;
	// each factor comes once. after is the last factor of the previous call, zero for the
	// first call.
	FactorsAfter(ctx context.Context, after FactorID, limit int) ([]Factor, error)

	// Counters lists all counters of messages of an environment, without Of.
	Counters(ctx context.Context, env EnvironmentID) ([]delivery.Counter, error)

	// Contexts lists up to limit contexts of events of all environments, in the order of
	// their events.
	Contexts(ctx context.Context, after EventID, limit int) ([]EventContext, error)

	// DeletedFactors lists up to limit deleted factors, each once, in an order that the store chooses.
	DeletedFactors(ctx context.Context, after FactorID, limit int) ([]DeletedFactor, error)

	// ExpiredFactors lists up to limit factors that expired before or at a time, in an order that the
	// store chooses. The cost does not grow with the number of other factors.
	ExpiredFactors(ctx context.Context, at time.Time, limit int) ([]Factor, error)

	// Sweep takes one step of removing the rows that are older than h: a transaction of at
	// most limit rows of each kind. It reports whether more steps are needed now; after the
	// last step no such row is left. The cost does not grow with the number of rows that
	// stay.
	Sweep(ctx context.Context, h Horizon, limit int) (more bool, err error)
}

// A Read names the rows that one decision needs. All are in Bucket; a zero field is not
// read. At most one of Challenge, Factor and User is set.
type Read struct {
	Bucket    Bucket
	Challenge ChallengeID // also reads its factor and the user of that factor
	Factor    FactorID    // also reads its user
	Created   ReplayKey   // the key in CreatedBy of a challenge of Factor
	User      UserKey
	Others    []FactorID // further factors of the user that Challenge or User names, all different
	Recovery  UserKey    // reads the recovery codes of a user; not locked, so only to look
	Phone     delivery.PhoneKey
	Counters  []delivery.CounterKey // all different
	Message   delivery.MessageKey
	Bypass    BypassKey
	Replay    ReplayKey
	Proof     ChallengeID // another challenge, with its factor
	Owned     Owned       // not in a View
}

// Owned asks how many factors a user has, and for the factors themselves. No other Update that asks
// for the same user decides until this one has ended, also if it runs on another node.
type Owned struct {
	User UserKey // in the bucket of the Read
	Most int     // counts no more; 0: does not count
	All  bool    // reads the factors
}

// Rows are the rows of a Read; nil means that the row is not stored. A challenge whose
// factor was deleted counts as not stored.
type Rows struct {
	Challenge *Challenge
	Factor    *Factor
	Created   *Challenge // the newest one with the key of Read.Created
	User      *User
	Others    []*Factor // in the order of the Read
	Recovery  *Factor
	Phone     *delivery.PhoneLimit
	Counters  []*delivery.Counter // in the order of the Read
	Message   *delivery.MessageRef
	Bypass    *Bypass
	Replay    *Replay

	Proof       *Challenge
	ProofFactor *Factor   // of Proof
	Owned       int       // at most Owned.Most
	AllOwned    []*Factor // if Owned.All is set, oldest first; only to look
}

// A Tx has the rows of a Read and collects the writes. The rows are copies for this
// Update: fn may change their fields, and the elements of slices of structs. fn replaces
// bytes and never changes them in place, because a store may keep the same slice.
type Tx struct {
	Rows
	Writes []Write // in the order in which the store makes them
}

// A Write is one row to store or to remove: one of the types below. A row that a write
// changes or replaces, and a factor that a write deletes, must be among the Rows if the
// row is stored.
type Write interface{ write() }

// The writes that a Store must know.
type (
	// InsertFactor stores a new factor.
	InsertFactor struct{ *Factor }
	// UpdateFactor stores a new state of a factor.
	UpdateFactor struct {
		ID FactorID
		FactorState
	}
	// SealFactor stores the sealed fields of a factor and the hash of its phone number, and
	// empties Old.
	SealFactor struct {
		ID     FactorID
		Sealed []byte
		Label  []byte
		Replay ReplayKey
		Phone  PhoneHash
	}
	// DeleteFactor removes a factor. Its challenges cannot be read afterwards.
	DeleteFactor struct{ ID FactorID }
	// InsertChallenge stores a new challenge.
	InsertChallenge struct{ *Challenge }
	// UpdateChallenge stores a new state of a challenge.
	UpdateChallenge struct {
		ID ChallengeID
		ChallengeState
	}
	// DeleteChallenge removes a challenge, if it is there.
	DeleteChallenge struct{ ID ChallengeID }
	// PutUser stores a user's row, new or changed, with at least one failure.
	PutUser struct{ *User }
	// DeleteUser removes a user's row, if it is there.
	DeleteUser struct{ Key UserKey }
	// RetireUser renames the row of a user who has no factors left to Former, if the row is
	// stored, and lets it expire.
	RetireUser struct {
		Key       UserKey
		Former    string // a keyed hash
		ExpiresAt time.Time
	}
	// RestoreUser renames the row back, if it is stored, and adds its failures to those
	// that were counted since.
	RestoreUser struct {
		Key    UserKey
		Former string
	}
	// PutPhone stores a phone number's limit, new or changed.
	PutPhone struct{ *delivery.PhoneLimit }
	// PutCounter stores a counter, new or changed.
	PutCounter struct{ *delivery.Counter }
	// DeleteCounter removes a counter, if it is there.
	DeleteCounter struct{ Key delivery.CounterKey }
	// PutMessage stores a message reference, new or changed.
	PutMessage struct{ *delivery.MessageRef }
	// PutBypass stores a bypass code, new or in place of an earlier one of the person.
	PutBypass struct{ *Bypass }
	// DeleteBypass removes a bypass code, if it is there.
	DeleteBypass struct {
		Bucket Bucket
		Key    BypassKey
	}
	// PutReplay stores a replay record, new or in place of an older one.
	PutReplay struct{ *Replay }
	// DeleteReplay removes a replay record, if it is there.
	DeleteReplay struct {
		Bucket Bucket
		Key    ReplayKey
	}
	// ForgetReplay empties the answer of the replay record that shows the secret of
	// a factor, if it is there.
	ForgetReplay struct {
		Bucket Bucket
		Key    ReplayKey
		Factor FactorID
	}
	// AppendEvent stores a new event. The store replaces its id with one of the same bucket
	// that is greater than the ids of all events that were stored when the transaction
	// began to write, and that readers have not passed.
	AppendEvent struct {
		Event
		Context *EventContext // the personal data of the event; nil without personal data
	}
	// InsertDeletedFactor stores the user of a factor that is deleted.
	InsertDeletedFactor struct{ *DeletedFactor }
	// ScheduleErasure stores that the personal data of a person is due to be erased, unless
	// User has a factor. It replaces a later time.
	ScheduleErasure struct {
		*Erasure
		User UserKey // zero for a factor without a user
	}
	// CancelErasure removes the row of ScheduleErasure, if it is there.
	CancelErasure struct {
		Bucket Bucket
		Person PersonKey
	}
	// ErasePerson removes the contexts, the deleted factors and the scheduled erasure of a
	// person.
	ErasePerson struct {
		Bucket Bucket
		Person PersonKey
	}
	// SealContext replaces the sealed value of an event's context, if it is there.
	SealContext struct {
		Event  EventID
		Sealed []byte
	}
	// SealDeletedFactor replaces the sealed value of a deleted factor, if it is there.
	SealDeletedFactor struct {
		ID     FactorID
		Sealed []byte
	}
)

func (InsertFactor) write()    {}
func (UpdateFactor) write()    {}
func (SealFactor) write()      {}
func (DeleteFactor) write()    {}
func (InsertChallenge) write() {}
func (UpdateChallenge) write() {}
func (DeleteChallenge) write() {}
func (PutUser) write()         {}
func (DeleteUser) write()      {}
func (RetireUser) write()      {}
func (RestoreUser) write()     {}
func (PutPhone) write()        {}
func (PutCounter) write()      {}
func (DeleteCounter) write()   {}
func (PutMessage) write()      {}
func (PutBypass) write()       {}
func (DeleteBypass) write()    {}
func (PutReplay) write()       {}
func (DeleteReplay) write()    {}
func (ForgetReplay) write()    {}
func (AppendEvent) write()     {}

func (InsertDeletedFactor) write() {}
func (ScheduleErasure) write()     {}
func (CancelErasure) write()       {}
func (ErasePerson) write()         {}
func (SealContext) write()         {}
func (SealDeletedFactor) write()   {}

func (tx *Tx) put(w Write) {
	if tx.Writes == nil {
		tx.Writes = make([]Write, 0, 4) // enough for most transactions
	}
	tx.Writes = append(tx.Writes, w)
}

// A FactorQuery asks for one page of a user's factors.
type FactorQuery struct {
	User      UserKey
	After     FactorID   // only ids after this one in the direction of reading; zero: from the start
	Until     FactorID   // only ids before this one in that direction; zero: to the end
	Without   FactorType // leaves out the factors of this type; "": none
	Ascending bool       // oldest first
	Limit     int
}

// A Horizon is how far back rows are kept: older rows may be swept. A store whose own
// clock is behind Now counts all times from its own clock instead: then a node whose
// clock is ahead removes nothing too early. With a zero Now, the store does not compare
// clocks.
type Horizon struct {
	Now        time.Time // when the Horizon was computed
	Challenges time.Time // by creation
	Events     time.Time // by the time in their ids; with their contexts
	Expired    time.Time // replays, phone limits, counters, message references, bypass codes and former users by their ExpiresAt
}

// Earlier returns h moved back by d.
func (h Horizon) Earlier(d time.Duration) Horizon {
	return Horizon{Now: h.Now.Add(-d), Challenges: h.Challenges.Add(-d), Events: h.Events.Add(-d), Expired: h.Expired.Add(-d)}
}

// ChallengesBefore returns the first id that stays.
func (h Horizon) ChallengesBefore() ChallengeID { return ids.FirstAt(h.Challenges) }

// EventsBefore returns the first id that stays.
func (h Horizon) EventsBefore() EventID { return FirstEventAt(h.Events) }

// FirstEventAt returns the smallest id of an event at a time.
func FirstEventAt(t time.Time) EventID { return ids.FirstAt(t) }
