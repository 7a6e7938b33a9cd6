package operator

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A User is what operators see of a user.
type User struct {
	Environment mfa.Environment
	ID          string
	Failures    int  // consecutive wrong codes over all factors
	MaxFailures int  // at this number the user is locked
	Locked      bool // until an operator unlocks the user

	Bypass *Bypass // the bypass code that can be used now, or nil

	Factors     []Factor    // newest first, without their timelines
	MoreFactors bool        // the user has more than the maximum of Factors
	Challenges  []Challenge // the newest ones, newest first, without their timelines
	Timeline    []Entry     // the newest events, oldest first
	MoreEvents  bool        // there are older events
	Explanation []string    // sentences

	// Sealed is why personal data stays sealed: the keyset cannot be opened. Nil if it was
	// opened.
	Sealed error
}

// FactorGone is the state of a deleted factor. The state of a stored one is mfa.Factor.Status.
const FactorGone mfa.FactorStatus = "deleted"

// A Factor is what operators see of a factor. Of a deleted factor, it has only the facts that
// its events tell.
type Factor struct {
	ID          mfa.FactorID
	Environment mfa.Environment
	Type        mfa.FactorType
	User        string // "" without a user, or if the user is not known any more
	State       mfa.FactorStatus
	Failures    int       // consecutive wrong codes
	MaxFailures int       // at this number the factor is locked
	LockedUntil time.Time // of a locked factor that unlocks by itself; otherwise zero
	SuspendedAt time.Time // of a suspended factor; otherwise zero
	Suspension  Suspension
	Bypass      *Bypass   // the bypass code of its user that can be used now, in a view of the factor; or nil
	LastUsed    time.Time // when the last right code was entered, see mfa.Factor.LastUse; zero if never
	CreatedAt   time.Time

	Name    string         // that the application gave it; "" without one, and if Sealed is set
	Phone   delivery.Phone // sms: prints masked; zero if Sealed is set
	Issuer  string         // totp: the service, as the app shows it; "" if Sealed is set
	Account string         // totp: the name of the account, as the app shows it; "" if Sealed is set

	Recovery *RecoveryCodes // a set of recovery codes; otherwise nil

	Timeline    []Entry // the newest events, oldest first
	MoreEvents  bool    // there are older events
	Explanation []string
	Sealed      error // see User.Sealed

	userLocked bool // the user of the factor is locked
}

// RecoveryCodes describe a set of recovery codes. No operator sees the codes.
type RecoveryCodes struct {
	Total     int
	Remaining int       // codes that were not used
	CreatedAt time.Time // when the codes were created, in place of all earlier ones; zero if Factor.Sealed is set
}

// RecoveryCodes returns the recovery codes among the factors of the user, or nil.
func (u *User) RecoveryCodes() *Factor {
	for i := range u.Factors {
		if f := &u.Factors[i]; f.Recovery != nil {
			return f
		}
	}
	return nil
}

// A Suspension says who suspended a factor. It is zero if the factor is not suspended, and if
// the event is not among the events of the view.
type Suspension struct {
	By     string // an operator's name or the id of a key
	Reason string
}

// A ChallengeState is the outcome of a challenge so far.
type ChallengeState string

// The states of a challenge.
const (
	ChallengeOpen      ChallengeState = "open"      // a right code would verify it
	ChallengeBlocked   ChallengeState = "blocked"   // its factor is locked or suspended, or its user is locked
	ChallengeVerified  ChallengeState = "verified"  // by a right code
	ChallengeExhausted ChallengeState = "exhausted" // too many codes were tried
	ChallengeExpired   ChallengeState = "expired"   // before a right code arrived
	ChallengeNotSent   ChallengeState = "not_sent"  // its first message could not be sent
)

// A Challenge is what operators see of a challenge.
type Challenge struct {
	ID          mfa.ChallengeID
	Environment mfa.Environment
	Factor      mfa.FactorID
	Type        mfa.FactorType
	User        string // "" without a user, or if the user is not known any more
	State       ChallengeState
	Stored      bool // false if the challenge was removed, and only its events are kept
	Attempts    int  // codes that were checked
	MaxAttempts int
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero unless Stored
	VerifiedAt  time.Time // zero if no right code arrived
	Messages    []Message // sms: oldest first; none unless Stored

	Timeline    []Entry // all events, oldest first
	MoreEvents  bool    // there are older events: a challenge rarely has as many
	Explanation []string
	Sealed      error // see User.Sealed
}

// A Message is a text message of a challenge.
type Message struct {
	Provider  string // that accepted it; "" if none has
	State     delivery.State
	Reason    string // the provider's own code for a failure; or ""
	Meaning   string // of Reason, in a few words; "" if it is not known
	Segments  int    // the number of messages that carriers send and charge
	SentAt    time.Time
	UpdatedAt time.Time // when State changed
}

// An Entry is an event on a timeline.
type Entry struct {
	ID        mfa.EventID
	At        time.Time
	Type      mfa.EventType
	Text      string // in words, with the reason
	Factor    mfa.FactorID
	Challenge mfa.ChallengeID
	Kind      mfa.FactorType
	Reason    string
	Offset    time.Duration // totp: by how much the clock of the app was ahead, as the code shows; 0 if it was not, or not known
	Caller    string        // "key_…", "operator:NAME", or "" for Countersign itself
	Request   string        // the id of the request; or ""
	IPAddress string        // of the end user; or ""
	UserAgent string        // of the end user; or ""
}
