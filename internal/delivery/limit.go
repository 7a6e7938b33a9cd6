package delivery

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Limits bound the messages to a phone number. A zero field takes its default; no limit can
// be switched off.
type Limits struct {
	Spacing time.Duration // between two messages of one budget; default 30 s
	Windows []Window      // messages of one budget, twice as many of all; default 5 in 10 min, 10 in 1 h, 20 in 24 h
}

// A Window allows Count messages in any span of length Span.
type Window struct {
	Count int
	Span  time.Duration
}

// WithDefaults returns l with defaults for its zero fields. The command line has the same ones:
// a test in package server compares them.
func (l Limits) WithDefaults() (Limits, error) {
	if l.Spacing == 0 {
		l.Spacing = 30 * time.Second
	}
	if l.Windows == nil {
		l.Windows = []Window{{5, 10 * time.Minute}, {10, time.Hour}, {20, 24 * time.Hour}}
	}
	var errs []error
	if l.Spacing < 0 {
		errs = append(errs, fmt.Errorf("the time between two messages is %v; it must be positive", l.Spacing))
	}
	for _, w := range l.Windows {
		if w.Count < 1 || w.Span <= 0 {
			errs = append(errs, fmt.Errorf("%d messages in %v; both must be positive", w.Count, w.Span))
		}
	}
	if len(l.Windows) == 0 {
		errs = append(errs, errors.New("windows of messages must not be empty"))
	}
	return l, errors.Join(errs...)
}

// A PhoneKey is the keyed hash of a phone number within an environment. Its first two bytes
// are the bucket of the limits of that environment. The zero value means no number.
type PhoneKey [32]byte

// Bucket returns the partition of the limit.
func (k PhoneKey) Bucket() ids.Bucket {
	return ids.Bucket(binary.BigEndian.Uint16(k[:])) % ids.Buckets
}

func newPhoneKey(keys *secret.Keyset, env ids.EnvironmentID, phone Phone) PhoneKey {
	key := PhoneKey(keys.Index(fmt.Appendf(nil, "phone/%d/%s", env, phone.E164())))
	binary.BigEndian.PutUint16(key[:], uint16(bucketOf(env)))
	return key
}

// bucketOf returns the bucket of all limits on the messages of an environment. One
// transaction reads them together.
func bucketOf(env ids.EnvironmentID) ids.Bucket { return ids.UserBucket(env, "") }

// A PhoneLimit records when messages were sent to a phone number. It prevents floods of
// messages to a number, and keeps one factor from using up the budget of another. Package mfa
// also records in such a row when recovery codes of a user were created.
type PhoneLimit struct {
	Bucket    ids.Bucket
	Key       PhoneKey
	Sends     []Send // oldest first
	ExpiresAt time.Time
}

// A Send is one message that was allowed.
type Send struct {
	At  time.Time
	Ref Ref
}

// A Ref names the request of a message: a repeated request is not counted again, and a
// failed message can be given back. It has the source in two bytes, and then a hash of the
// request.
type Ref [8]byte

// NewRef returns the name of a request. From adds its source.
func NewRef(request ...[]byte) (ref Ref) {
	sum := sha256.Sum256(slices.Concat(request...))
	copy(ref[2:], sum[:])
	return ref
}

// From returns the ref of the same request with its source.
func (r Ref) From(s Source) Ref {
	copy(r[:2], s[:])
	return r
}

// Source returns the source of the request.
func (r Ref) Source() Source { return Source(r[:2]) }

func (r Ref) request() [6]byte { return [6]byte(r[2:]) }

// A Source identifies the budget of a message: 15 bits of a hash of its factor, and
// whether the factor is proven. A proven factor has its own budget, which a stranger who
// enrolls the same number cannot use up. All other factors of the number share one budget.
type Source [2]byte

const provenSource = 0x80

// NewSource returns the source of a factor that is not proven.
func NewSource(factor ids.FactorID) Source {
	sum := sha256.Sum256(factor[:])
	s := Source(sum[:2])
	s[0] &^= provenSource
	return s
}

// Proven returns the source of the same factor once it is proven.
func (s Source) Proven() Source {
	s[0] |= provenSource
	return s
}

// IsProven reports whether the factor of s is proven.
func (s Source) IsProven() bool { return s[0]&provenSource != 0 }

// shares reports whether a message from s has the same budget as an earlier one: if s is
// proven, a message of the same factor; otherwise one of any factor that was not proven.
func (s Source) shares(earlier Source) bool {
	if !s.IsProven() {
		return !earlier.IsProven()
	}
	return s == earlier.Proven()
}

// totalBudget bounds the messages of all factors to a phone number: together they get at
// most this number of budgets.
const totalBudget = 2

// reserve counts a message for ref, or returns a *LimitError and counts nothing.
// A ref that was counted less than keep ago is not counted again: then at is the time of
// that count, and counted is false.
func (p *PhoneLimit) reserve(ref Ref, keep time.Duration, l Limits, now time.Time) (at time.Time, counted bool, err error) {
	longest := l.Spacing
	for _, w := range l.Windows {
		longest = max(longest, w.Span)
	}
	kept := p.Sends[:0]
	for _, s := range p.Sends {
		if now.Sub(s.At) < longest {
			kept = append(kept, s)
		}
	}
	p.Sends = kept
	for _, s := range p.Sends {
		if s.Ref.request() == ref.request() && now.Sub(s.At) < keep {
			return s.At, false, nil
		}
	}
	if wait := p.wait(ref.Source(), l, now); wait > 0 {
		return at, false, &LimitError{Kind: ErrSendLimit, After: wait}
	}
	p.Sends = append(p.Sends, Send{now, ref})
	p.ExpiresAt = now.Add(longest)
	return now, true, nil
}

// wait returns the time until another message from a source may be sent, 0 if it may be sent
// at now.
func (p *PhoneLimit) wait(from Source, l Limits, now time.Time) (wait time.Duration) {
	var own []Send
	for _, s := range p.Sends {
		if from.shares(s.Ref.Source()) {
			own = append(own, s)
		}
	}
	until := func(t time.Time) { wait = max(wait, t.Sub(now)) }
	most := func(sends []Send, count int, span time.Duration) {
		if n := len(sends) - count; n >= 0 {
			until(sends[n].At.Add(span))
		}
	}
	most(own, 1, l.Spacing)
	for _, w := range l.Windows {
		most(own, w.Count, w.Span)
		most(p.Sends, totalBudget*w.Count, w.Span)
	}
	return wait
}

// giveBack removes the message that was counted for ref at a time, and reports whether it
// was still counted. Another request may have used the same ref since.
func (p *PhoneLimit) giveBack(ref Ref, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends = slices.Delete(p.Sends, i, i+1)
	}
	return i >= 0
}

// keepFor detaches the message that was counted for ref at a time from ref but keeps
// counting it: the next message for ref is counted again. It reports whether the message
// was still counted.
func (p *PhoneLimit) keepFor(ref Ref, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends[i].Ref = Ref{}.From(p.Sends[i].Ref.Source())
	}
	return i >= 0
}

// keepEarlier is keepFor for the messages that were counted for ref before a time, but less
// than keep before it.
func (p *PhoneLimit) keepEarlier(ref Ref, at time.Time, keep time.Duration) {
	for i := range p.Sends {
		s := &p.Sends[i]
		if s.Ref.request() == ref.request() && !s.At.After(at) && at.Sub(s.At) < keep {
			s.Ref = Ref{}.From(s.Ref.Source())
		}
	}
}

func (p *PhoneLimit) find(ref Ref, at time.Time) int {
	return slices.IndexFunc(p.Sends, func(s Send) bool { return s.Ref.request() == ref.request() && s.At.Equal(at) })
}
