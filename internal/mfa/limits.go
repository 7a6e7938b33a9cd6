package mfa

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits bound guessing and sending. A zero field takes its default; no limit can be
// switched off.
type Limits struct {
	Attempts       int             // codes tried per challenge; default 5
	FreeFailures   int             // consecutive failures of a factor without a wait; default 5
	Backoff        []time.Duration // the wait after each further failure; the last one repeats; default 30 s to 1 h
	FactorFailures int             // consecutive failures that lock a factor until an operator lifts it; default 50
	UserFailures   int             // the same over all factors of a user; default and maximum 100 (NIST SP 800-63B, 3.2.2)
	SendSpacing    time.Duration   // between two messages of one budget to a phone number; default 30 s
	Sends          []SendWindow    // messages of one budget to a phone number, twice as many of all; default 5 in 10 min, 10 in 1 h, 20 in 24 h
	Resends        int             // further messages with the code of one challenge; default 3
}

// A SendWindow allows Count messages in any span of length Span.
type SendWindow struct {
	Count int
	Span  time.Duration
}

// maxFailures is the maximum of consecutive failures that NIST SP 800-63B, section 3.2.2,
// allows for an account.
const maxFailures = 100

func (l Limits) withDefaults() (Limits, error) {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&l.Attempts, 5)
	def(&l.FreeFailures, 5)
	def(&l.FactorFailures, 50)
	def(&l.UserFailures, maxFailures)
	def(&l.Resends, 3)
	if l.Backoff == nil {
		for _, minutes := range []float64{0.5, 1, 2, 4, 8, 15, 30, 60} {
			l.Backoff = append(l.Backoff, time.Duration(minutes*float64(time.Minute)))
		}
	}
	if l.SendSpacing == 0 {
		l.SendSpacing = 30 * time.Second
	}
	if l.Sends == nil {
		l.Sends = []SendWindow{{5, 10 * time.Minute}, {10, time.Hour}, {20, 24 * time.Hour}}
	}
	return l, l.check()
}

func (l Limits) check() error {
	var errs []error
	within := func(name string, value, most int) {
		if value < 1 || value > most {
			errs = append(errs, fmt.Errorf("%s is %d; it must be from 1 to %d", name, value, most))
		}
	}
	within("attempts per challenge", l.Attempts, 10)
	within("free failures per factor", l.FreeFailures, maxFailures)
	within("failures per factor", l.FactorFailures, maxFailures)
	within("failures per user", l.UserFailures, maxFailures)
	within("messages again per challenge", l.Resends, 5)
	for _, d := range append([]time.Duration{l.SendSpacing}, l.Backoff...) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("a wait is %v; it must be positive", d))
		}
	}
	for _, w := range l.Sends {
		if w.Count < 1 || w.Span <= 0 {
			errs = append(errs, fmt.Errorf("%d messages in %v; both must be positive", w.Count, w.Span))
		}
	}
	if len(l.Backoff) == 0 || len(l.Sends) == 0 {
		errs = append(errs, errors.New("back-off and send windows must not be empty"))
	}
	return errors.Join(errs...)
}

// backoff returns the wait after the given number of consecutive failures.
func (l Limits) backoff(failures int) time.Duration {
	beyond := failures - l.FreeFailures
	if beyond <= 0 {
		return 0
	}
	return l.Backoff[min(beyond, len(l.Backoff))-1]
}

// A PhoneKey is the keyed hash of a phone number within an environment. Its first two bytes
// are the bucket of the limits of that environment. The zero value means no number.
type PhoneKey [32]byte

// Bucket returns the partition of the limit.
func (k PhoneKey) Bucket() Bucket { return Bucket(binary.BigEndian.Uint16(k[:])) % Buckets }

// A PhoneLimit records when messages were sent to a phone number. It prevents floods of
// messages to a number, and keeps one factor from using up the budget of another.
type PhoneLimit struct {
	Bucket    Bucket
	Key       PhoneKey
	Sends     []Send // oldest first
	ExpiresAt time.Time
}

// A Send is one message that was allowed.
type Send struct {
	At  time.Time
	Ref SendRef
}

// A SendRef names the request of a message: a repeated request is not counted again, and a
// failed message can be given back. It has the source in two bytes, and then a hash of the
// request.
type SendRef [8]byte

func newSendRef(request ...[]byte) (ref SendRef) {
	sum := sha256.Sum256(slices.Concat(request...))
	copy(ref[2:], sum[:])
	return ref
}

// from returns the ref of the same request with its source.
func (r SendRef) from(s SendSource) SendRef {
	copy(r[:2], s[:])
	return r
}

func (r SendRef) source() SendSource { return SendSource(r[:2]) }

func (r SendRef) request() [6]byte { return [6]byte(r[2:]) }

// A SendSource identifies the budget of a message: 15 bits of a hash of its factor, and
// whether the factor is proven. A proven factor has its own budget, which a stranger who
// enrolls the same number cannot use up. All other factors of the number share one budget.
type SendSource [2]byte

const provenSource = 0x80

func (s SendSource) proven() bool { return s[0]&provenSource != 0 }

// shares reports whether a message from s has the same budget as an earlier one: if s is
// proven, a message of the same factor; otherwise one of any factor that was not proven.
func (s SendSource) shares(earlier SendSource) bool {
	if !s.proven() {
		return !earlier.proven()
	}
	earlier[0] |= provenSource
	return s == earlier
}

// totalBudget bounds the messages of all factors to a phone number: together they get at
// most this number of budgets.
const totalBudget = 2

// reserve counts a message for ref, or returns a *LimitError and counts nothing.
// A ref that was counted less than keep ago is not counted again: then at is the time of
// that count, and counted is false.
func (p *PhoneLimit) reserve(ref SendRef, keep time.Duration, l Limits, now time.Time) (at time.Time, counted bool, err error) {
	longest := l.SendSpacing
	for _, w := range l.Sends {
		longest = max(longest, w.Span)
	}
	kept := p.Sends[:0]
	for _, s := range p.Sends {
		if now.Sub(s.At) < longest {
			kept = append(kept, s)
		}
	}
	p.Sends = kept
	var own []Send
	for _, s := range p.Sends {
		if s.Ref.request() == ref.request() && now.Sub(s.At) < keep {
			return s.At, false, nil
		}
		if ref.source().shares(s.Ref.source()) {
			own = append(own, s)
		}
	}
	wait := time.Duration(0)
	until := func(t time.Time) { wait = max(wait, t.Sub(now)) }
	most := func(sends []Send, count int, span time.Duration) {
		if n := len(sends) - count; n >= 0 {
			until(sends[n].At.Add(span))
		}
	}
	most(own, 1, l.SendSpacing)
	for _, w := range l.Sends {
		most(own, w.Count, w.Span)
		most(p.Sends, totalBudget*w.Count, w.Span)
	}
	if wait > 0 {
		return at, false, &LimitError{Kind: ErrSendLimit, After: wait}
	}
	p.Sends = append(p.Sends, Send{now, ref})
	p.ExpiresAt = now.Add(longest)
	return now, true, nil
}

// giveBack removes the message that was counted for ref at a time, and reports whether it
// was still counted. Another request may have used the same ref since.
func (p *PhoneLimit) giveBack(ref SendRef, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends = slices.Delete(p.Sends, i, i+1)
	}
	return i >= 0
}

// keepFor detaches the message that was counted for ref at a time from ref but keeps
// counting it: the next message for ref is counted again. It reports whether the message
// was still counted.
func (p *PhoneLimit) keepFor(ref SendRef, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends[i].Ref = SendRef{}.from(p.Sends[i].Ref.source())
	}
	return i >= 0
}

// keepEarlier is keepFor for the messages that were counted for ref before a time, but less
// than keep before it.
func (p *PhoneLimit) keepEarlier(ref SendRef, at time.Time, keep time.Duration) {
	for i := range p.Sends {
		s := &p.Sends[i]
		if s.Ref.request() == ref.request() && !s.At.After(at) && at.Sub(s.At) < keep {
			s.Ref = SendRef{}.from(s.Ref.source())
		}
	}
}

func (p *PhoneLimit) find(ref SendRef, at time.Time) int {
	return slices.IndexFunc(p.Sends, func(s Send) bool { return s.Ref.request() == ref.request() && s.At.Equal(at) })
}
