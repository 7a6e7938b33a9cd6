package mfa

import (
	"math/bits"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Challenge asks the holder of a factor to prove possession of it, once.
type Challenge struct {
	ID        ChallengeID
	Factor    FactorID
	Type      FactorType // of the factor when the challenge was created; "" in a row of an older release
	CodeMAC   []byte     // of the code, bound to ID; nil for totp
	CreatedAt time.Time  // UTC, whole milliseconds, as all times here
	ExpiresAt time.Time
	CreatedBy idempotency.Mark // of the request, if its answer can be made again from the row
	Receipt   []byte           // the receipt.Request that the challenge was created with, sealed; nil without one
	ChallengeState
}

// A ChallengeState is the part of a challenge that changes.
type ChallengeState struct {
	SealedCode    []byte           // generic_otp: the code, which replies repeat while it can be used; see Attempt; webauthn: the ceremony
	Messages      delivery.Records // sms: the messages that carried the code, oldest first
	Attempts      int              // codes tried so far, right or wrong
	RefusalEvents int              // the number of events that its refused codes have left; see leavesEvent
	UpdatedAt     time.Time
	VerifiedAt    time.Time        // zero until a right code arrives
	VerifiedBy    idempotency.Mark // of the request with the right code, if its answer can be made again from the row

	// AcceptsRecovery says that a recovery code of the owner can verify the challenge. It never
	// changes; it is here because the stores keep it in the same column as Attempts.
	AcceptsRecovery bool
}

// Update returns the write that stores the state of c.
func (c *Challenge) Update() UpdateChallenge { return UpdateChallenge{c.ID, c.ChallengeState} }

// Delivery returns the message that represents an sms challenge at now; see
// delivery.Records. ok is false for other challenges.
func (c *Challenge) Delivery(now time.Time) (r delivery.Record, ok bool) {
	return c.Messages.Latest(now)
}

// NeedsKeys reports whether values of c may still have to be opened at now: a code can be
// right, or the answer to the request that created c can be given again with its code.
func (c *Challenge) NeedsKeys(now time.Time) bool {
	repeats := c.SealedCode != nil && c.CreatedBy != idempotency.Mark{}
	return now.Before(c.ExpiresAt) || repeats && now.Before(c.CreatedAt.Add(idempotency.KeepAnswer))
}

// Attempt records one submitted code, right or wrong, at now; limit is the number of codes
// that may be tried. A wrong code is an outcome, not an error. An error means that no
// code could have succeeded, and changes nothing: ErrAlreadyVerified, ErrExpired
// or ErrTooManyAttempts.
//
// After the last code Attempt forgets SealedCode, unless c has a CreatedBy: the answer to
// that request shows the code.
func (c *Challenge) Attempt(right bool, limit int, now time.Time) error {
	if err := c.refuse(limit, now); err != nil {
		return err
	}
	c.Attempts++
	c.UpdatedAt = now
	if right {
		c.VerifiedAt = now
	}
	if right || c.Attempts >= limit { // no code can succeed any more
		if c.CreatedBy == (idempotency.Mark{}) {
			c.SealedCode = nil
		}
		for i := range c.Messages {
			c.Messages[i].Sealed = nil
		}
	}
	return nil
}

// refuse returns the error that Attempt would return, before a code is checked.
func (c *Challenge) refuse(limit int, now time.Time) error {
	switch {
	case !c.VerifiedAt.IsZero():
		return &ChallengeError{ID: c.ID, Kind: ErrAlreadyVerified}
	case !now.Before(c.ExpiresAt):
		return &ChallengeError{ID: c.ID, Kind: ErrExpired}
	case c.Attempts >= limit:
		return &LimitError{Kind: ErrTooManyAttempts}
	}
	return nil
}

// leavesEvent counts one refused code, and reports whether it leaves an event. The first
// refused code does. Later ones do by chance, each time half as likely: n events mean
// about 2^(n-1) refused codes. So endless refusals neither fill the store nor cost a write
// each. chance is a random number.
func (c *Challenge) leavesEvent(chance uint64) bool {
	if c.RefusalEvents > bits.LeadingZeros64(chance)+1 {
		return false
	}
	c.RefusalEvents++
	return true
}

func (c *Challenge) associated() []byte { return associate("challenges.code", c.ID) }

func (c *Challenge) associatedMessage() []byte { return associate("challenges.messages", c.ID) }

// codeMessage returns the input of CodeMAC: the code, bound to its challenge.
func (c *Challenge) codeMessage(code string) []byte {
	return append(c.associated(), code...)
}

// matches reports whether code is the code of the challenge.
func (c *Challenge) matches(keys *secret.Keyset, code string) bool {
	return keys.VerifyMAC(c.CodeMAC, c.codeMessage(code))
}
