package mfa

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// bypassDigits is the length of a bypass code. No other kind of code has it, so only a code
// of this length is looked for among the bypass codes.
const bypassDigits = 10

// maxBypassGuesses is the number of wrong codes after which a bypass code ends: it is tried
// even while its person is locked, and must not give more guesses than that.
const maxBypassGuesses = 5

// The lifetime of a bypass code.
const (
	DefaultBypassTTL = 15 * time.Minute
	MaxBypassTTL     = time.Hour
)

// A BypassKey names the person whom a bypass code is for.
type BypassKey [32]byte

// BypassKey returns the key of the bypass code of the owner of f.
func (f *Factor) BypassKey() BypassKey {
	if f.User != "" {
		return f.UserKey().BypassKey()
	}
	return sha256.Sum256(fmt.Appendf(nil, "bypass/factor/%s", f.ID))
}

// BypassKey returns the key of the bypass code of a user.
func (k UserKey) BypassKey() BypassKey {
	return sha256.Sum256(fmt.Appendf(nil, "bypass/user/%d/%s", k.Environment, k.ID))
}

// A Bypass is a code that an operator issues to a person who cannot use any factor now. It
// verifies one challenge of any factor of the person, also while the factor or the person
// is locked, and then ends. A person has at most one.
type Bypass struct {
	Bucket    Bucket // of the person's factors
	Key       BypassKey
	CodeMAC   []byte // of the code, bound to Key
	Guesses   int    // wrong codes so far
	CreatedAt time.Time
	ExpiresAt time.Time
	Operator  string // who issued it
	Reason    string // why
}

// NewBypass returns a bypass code for the owner of f, and its row.
func NewBypass(keys *secret.Keyset, rand io.Reader, f *Factor, ttl time.Duration, now time.Time) (secret.String, *Bypass, error) {
	code, err := newBypassCode(rand)
	if err != nil {
		return secret.String{}, nil, err
	}
	b := &Bypass{Bucket: f.ID.Bucket(), Key: f.BypassKey(), CreatedAt: now, ExpiresAt: now.Add(ttl)}
	b.CodeMAC = keys.MAC(b.codeMessage(code.Reveal()))
	return code, b, nil
}

// newBypassCode draws a code, uniform from 0000000000 to 9999999999.
func newBypassCode(rand io.Reader) (secret.String, error) {
	const codes = 10_000_000_000
	// Draws beyond the last whole multiple would favor small codes.
	const fair = (1<<64 - 1) / codes * codes
	for {
		var b [8]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return secret.String{}, fmt.Errorf("draw a bypass code: %w", err)
		}
		if n := binary.BigEndian.Uint64(b[:]); n < fair {
			return secret.NewString(fmt.Sprintf("%0*d", bypassDigits, n%codes)), nil
		}
	}
}

// isBypassForm reports whether a typed code has the form of a bypass code.
func isBypassForm(code string) bool {
	if len(code) != bypassDigits {
		return false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return false
		}
	}
	return true
}

// codeMessage returns the input of CodeMAC: the code, bound to its person.
func (b *Bypass) codeMessage(code string) []byte {
	return append(append([]byte("bypasses.code"), b.Key[:]...), code...)
}

// matches reports whether code is the code of b.
func (b *Bypass) matches(keys *secret.Keyset, code string) bool {
	return keys.VerifyMAC(b.CodeMAC, b.codeMessage(code))
}

// IsOpen reports whether the code of b can be used at now. A nil b has no code.
func (b *Bypass) IsOpen(now time.Time) bool {
	return b != nil && now.Before(b.ExpiresAt) && b.Guesses < maxBypassGuesses
}

// bypassKey returns the key of the bypass code of the owner of a challenge's factor, or zero
// for an unknown challenge. The owner of a challenge never changes.
func (s *Service) bypassKey(ctx context.Context, id ChallengeID) (BypassKey, error) {
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil || rows.Factor == nil {
		return BypassKey{}, err
	}
	return rows.Factor.BypassKey(), nil
}

// tryBypass checks a code against the bypass code of tx. A right one verifies the challenge
// and leaves factor and user as they are: it proves neither possession of the factor nor
// that the person entered the wrong codes before. A wrong one counts as any wrong
// code does, and also against the bypass code.
func (s *Service) tryBypass(tx *Tx, events journal, code string, now time.Time) (v Verification, err error) {
	b, c, f := tx.Bypass, tx.Challenge, tx.Factor
	if !b.matches(s.keys.Load(), code) {
		before := f.FactorState
		if v, err = s.count(tx, events, &before, result{wrong: reasonWrongCode}, now); err == nil {
			s.countBypassGuess(tx, events, Event{Factor: f.ID, Challenge: c.ID, Kind: f.Type})
		}
		return v, err
	}
	c.Type = f.Type
	v.Challenge.Challenge = *c
	if err := s.show(&v.Challenge); err != nil {
		return v, err
	}
	if err := c.Attempt(true, s.opts.Limits.Attempts, now); err != nil {
		return v, err
	}
	v.Valid, v.Bypass, v.Challenge.Challenge = true, true, *c
	tx.put(c.Update())
	tx.put(DeleteBypass{b.Bucket, b.Key})
	events.append(tx, Event{Type: ChallengeSucceeded, Factor: f.ID, Challenge: c.ID, Kind: f.Type, Reason: reasonBypass})
	events.append(tx, Event{Type: BypassUsed, Factor: f.ID, Challenge: c.ID, Kind: f.Type, Reason: b.Reason})
	return v, nil
}

// countBypassGuess counts a wrong code against the bypass code of tx, and ends it after
// maxBypassGuesses. about has the subject of the events.
func (s *Service) countBypassGuess(tx *Tx, events journal, about Event) {
	b := tx.Bypass
	if b.Guesses++; b.Guesses < maxBypassGuesses {
		tx.put(PutBypass{b})
		return
	}
	tx.put(DeleteBypass{b.Bucket, b.Key})
	about.Type, about.Reason = BypassRevoked, reasonTooManyAttempts
	events.append(tx, about)
}

// A lockedError is the refusal of a challenge that no code of the factor can verify. A bypass
// code or a recovery code may be able to verify it.
type lockedError struct {
	refusal error
	bypass  BypassKey
	user    UserKey // of the factor, or zero
}

func (e *lockedError) Error() string { return e.refusal.Error() }
