// Package operatorwire has the JSON of the views of package operator, which the commands and
// the operator API share. Times are in UTC with milliseconds; a key without a value is null.
package operatorwire

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A User is the JSON of an operator.User.
type User struct {
	Object      string      `json:"object"` // "user"
	ID          string      `json:"id"`
	Environment string      `json:"environment"`
	Failures    int         `json:"failures"`
	MaxFailures int         `json:"max_failures"`
	Locked      bool        `json:"locked"`
	Bypass      *Bypass     `json:"bypass_code"`
	Factors     []Factor    `json:"factors"`
	MoreFactors bool        `json:"more_factors"`
	Challenges  []Challenge `json:"challenges"`
	Explanation []string    `json:"explanation"`
	Timeline    []Entry     `json:"timeline"`
	MoreEvents  bool        `json:"more_events"`
	Sealed      *string     `json:"sealed"` // why personal data is missing
}

// A Factor is the JSON of an operator.Factor.
type Factor struct {
	Object       string           `json:"object"` // "authentication_factor"
	ID           string           `json:"id"`
	Environment  string           `json:"environment"`
	Type         mfa.FactorType   `json:"type"`
	UserID       *string          `json:"user_id"`
	State        mfa.FactorStatus `json:"state"`
	Failures     int              `json:"failures"`
	MaxFailures  int              `json:"max_failures"`
	LockedUntil  *Time            `json:"locked_until"`
	SuspendedAt  *Time            `json:"suspended_at"`
	SuspendedBy  *string          `json:"suspended_by"` // an operator's name or the id of a key
	SuspendedFor *string          `json:"suspension_reason"`
	Bypass       *Bypass          `json:"bypass_code"`
	LastUsedAt   *Time            `json:"last_used_at"`
	CreatedAt    Time             `json:"created_at"`
	PhoneNumber  *string          `json:"phone_number"` // all but its last two digits are hidden
	Issuer       *string          `json:"issuer"`
	Account      *string          `json:"account"`
	Name         *string          `json:"name"` // that the application gave it
	Recovery     *RecoveryCodes   `json:"recovery_codes"`
	Explanation  []string         `json:"explanation"`
	Timeline     []Entry          `json:"timeline,omitempty"`
	MoreEvents   bool             `json:"more_events"`
	Sealed       *string          `json:"sealed"`
}

// RecoveryCodes are the JSON of operator.RecoveryCodes. There are never codes in it.
type RecoveryCodes struct {
	Total     int   `json:"total"`
	Remaining int   `json:"remaining"`
	CreatedAt *Time `json:"created_at"` // null if it stays sealed
}

// A Bypass is the JSON of an operator.Bypass.
type Bypass struct {
	Object    string `json:"object"` // "bypass_code"
	CreatedAt Time   `json:"created_at"`
	ExpiresAt Time   `json:"expires_at"`
	Guesses   int    `json:"wrong_codes"`
	CreatedBy string `json:"created_by"` // an operator's name or the id of a key
	Reason    string `json:"reason"`
	Code      string `json:"code,omitempty"` // only when it is created
}

// A FactorPage is the JSON of an operator.FactorPage.
type FactorPage struct {
	Object       string       `json:"object"` // "list"
	Data         []Factor     `json:"data"`
	ListMetadata ListMetadata `json:"list_metadata"`
}

// A ListMetadata has the cursors of a list.
type ListMetadata struct {
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// A Found is the JSON of an operator.Found. One key has a value.
type Found struct {
	Object    string     `json:"object"` // "found"
	User      *User      `json:"user"`
	Factor    *Factor    `json:"authentication_factor"`
	Challenge *Challenge `json:"authentication_challenge"`
	Event     *Entry     `json:"event"`
	Factors   []Factor   `json:"authentication_factors"` // with a phone number
}

// A Challenge is the JSON of an operator.Challenge.
type Challenge struct {
	Object      string                  `json:"object"` // "authentication_challenge"
	ID          string                  `json:"id"`
	Environment string                  `json:"environment"`
	FactorID    *string                 `json:"authentication_factor_id"`
	Type        mfa.FactorType          `json:"type"`
	UserID      *string                 `json:"user_id"`
	State       operator.ChallengeState `json:"state"`
	Stored      bool                    `json:"stored"`
	Attempts    int                     `json:"attempts"`
	MaxAttempts int                     `json:"max_attempts"`
	CreatedAt   Time                    `json:"created_at"`
	ExpiresAt   *Time                   `json:"expires_at"`
	VerifiedAt  *Time                   `json:"verified_at"`
	Messages    []Message               `json:"messages"`
	Explanation []string                `json:"explanation"`
	Timeline    []Entry                 `json:"timeline,omitempty"`
	MoreEvents  bool                    `json:"more_events"`
	Sealed      *string                 `json:"sealed"`
}

// A Message is the JSON of an operator.Message.
type Message struct {
	Provider  *string `json:"provider"`
	State     string  `json:"state"`
	Reason    *string `json:"reason"`
	Meaning   *string `json:"meaning"`
	Segments  int     `json:"segments"`
	SentAt    Time    `json:"sent_at"`
	UpdatedAt Time    `json:"updated_at"`
}

// An Entry is the JSON of an operator.Entry.
type Entry struct {
	ID          string        `json:"id"`
	At          Time          `json:"at"`
	Event       mfa.EventType `json:"event"`
	Text        string        `json:"text"`
	Reason      *string       `json:"reason"`
	FactorID    *string       `json:"authentication_factor_id"`
	ChallengeID *string       `json:"authentication_challenge_id"`
	Caller      *string       `json:"caller"` // null: Countersign itself
	RequestID   *string       `json:"request_id"`
	IPAddress   *string       `json:"ip_address"`
	UserAgent   *string       `json:"user_agent"`
	ClockOffset *int          `json:"clock_offset"` // seconds
}

// A Time is a time as the wire writes it.
type Time time.Time

// MarshalJSON writes "2026-03-27T12:00:00.432Z".
func (t Time) MarshalJSON() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

func optionalTime(t time.Time) *Time {
	if t.IsZero() {
		return nil
	}
	return (*Time)(&t)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func reason(err error) *string {
	if err == nil {
		return nil
	}
	return optional(err.Error())
}

// NewUser returns the JSON of a user.
func NewUser(u operator.User) User {
	return User{
		Object: "user", ID: u.ID, Environment: u.Environment.Name, Failures: u.Failures, MaxFailures: u.MaxFailures, Locked: u.Locked, Bypass: optionalBypass(u.Bypass),
		Factors: list(u.Factors, NewFactor), MoreFactors: u.MoreFactors, Challenges: list(u.Challenges, NewChallenge),
		Explanation: texts(u.Explanation), Timeline: list(u.Timeline, newEntry), MoreEvents: u.MoreEvents, Sealed: reason(u.Sealed),
	}
}

// NewFactor returns the JSON of a factor.
func NewFactor(f operator.Factor) Factor {
	v := Factor{
		Object: "authentication_factor", ID: f.ID.String(), Environment: f.Environment.Name, Type: f.Type, UserID: optional(f.User),
		State: f.State, Failures: f.Failures, MaxFailures: f.MaxFailures,
		LockedUntil: optionalTime(f.LockedUntil), SuspendedAt: optionalTime(f.SuspendedAt),
		SuspendedBy: optional(f.Suspension.By), SuspendedFor: optional(f.Suspension.Reason), Bypass: optionalBypass(f.Bypass),
		LastUsedAt: optionalTime(f.LastUsed), CreatedAt: Time(f.CreatedAt),
		Issuer: optional(f.Issuer), Account: optional(f.Account), Name: optional(f.Name),
		Explanation: texts(f.Explanation), Timeline: list(f.Timeline, newEntry), MoreEvents: f.MoreEvents, Sealed: reason(f.Sealed),
	}
	if f.Phone.E164() != "" {
		v.PhoneNumber = optional(f.Phone.String())
	}
	if c := f.Recovery; c != nil {
		v.Recovery = &RecoveryCodes{c.Total, c.Remaining, optionalTime(c.CreatedAt)}
	}
	return v
}

// NewBypass returns the JSON of a bypass code. code is "" except when it is created.
func NewBypass(b operator.Bypass, code string) Bypass {
	return Bypass{"bypass_code", Time(b.CreatedAt), Time(b.ExpiresAt), b.Guesses, b.Operator, b.Reason, code}
}

func optionalBypass(b *operator.Bypass) *Bypass {
	if b == nil {
		return nil
	}
	v := NewBypass(*b, "")
	return &v
}

// NewFactorPage returns the JSON of a page of factors.
func NewFactorPage(p operator.FactorPage) FactorPage {
	return FactorPage{Object: "list", Data: list(p.Factors, NewFactor), ListMetadata: ListMetadata{After: optional(p.After)}}
}

// NewChallenge returns the JSON of a challenge.
func NewChallenge(c operator.Challenge) Challenge {
	v := Challenge{
		Object: "authentication_challenge", ID: c.ID.String(), Environment: c.Environment.Name, Type: c.Type, UserID: optional(c.User),
		State: c.State, Stored: c.Stored, Attempts: c.Attempts, MaxAttempts: c.MaxAttempts,
		CreatedAt: Time(c.CreatedAt), ExpiresAt: optionalTime(c.ExpiresAt), VerifiedAt: optionalTime(c.VerifiedAt),
		Messages: list(c.Messages, newMessage), Explanation: texts(c.Explanation), Timeline: list(c.Timeline, newEntry), MoreEvents: c.MoreEvents,
		Sealed: reason(c.Sealed),
	}
	if (c.Factor != mfa.FactorID{}) {
		v.FactorID = optional(c.Factor.String())
	}
	return v
}

// NewFound returns the JSON of what Find has found.
func NewFound(f operator.Found) Found {
	v := Found{Object: "found", Factors: list(f.Phone, NewFactor)}
	if f.User != nil {
		user := NewUser(*f.User)
		v.User = &user
	}
	if f.Factor != nil {
		factor := NewFactor(*f.Factor)
		v.Factor = &factor
	}
	if f.Challenge != nil {
		challenge := NewChallenge(*f.Challenge)
		v.Challenge = &challenge
	}
	if f.Event != nil {
		event := newEntry(*f.Event)
		v.Event = &event
	}
	return v
}

func newMessage(m operator.Message) Message {
	return Message{
		Provider: optional(m.Provider), State: string(m.State), Reason: optional(m.Reason), Meaning: optional(m.Meaning),
		Segments: m.Segments, SentAt: Time(m.SentAt), UpdatedAt: Time(m.UpdatedAt),
	}
}

func newEntry(e operator.Entry) Entry {
	v := Entry{
		ID: e.ID.String(), At: Time(e.At), Event: e.Type, Text: e.Text, Reason: optional(e.Reason), Caller: optional(e.Caller), RequestID: optional(e.Request),
		IPAddress: optional(e.IPAddress), UserAgent: optional(e.UserAgent),
	}
	if (e.Factor != mfa.FactorID{}) {
		v.FactorID = optional(e.Factor.String())
	}
	if (e.Challenge != mfa.ChallengeID{}) {
		v.ChallengeID = optional(e.Challenge.String())
	}
	if e.Offset != 0 {
		seconds := int(e.Offset / time.Second)
		v.ClockOffset = &seconds
	}
	return v
}

// list converts the elements of a list. The result is never nil.
func list[From, To any](all []From, convert func(From) To) []To {
	converted := make([]To, len(all))
	for i := range all {
		converted[i] = convert(all[i])
	}
	return converted
}

func texts(all []string) []string { return list(all, func(s string) string { return s }) }
