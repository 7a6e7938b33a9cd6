package mfa

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits bound guessing and sending. A zero field takes its default; none can be
// switched off.
type Limits struct {
	Attempts       int             // codes tried per challenge; default 5
	FreeFailures   int             // consecutive failures of a factor without a wait; default 5
	Backoff        []time.Duration // the wait after each failure beyond; the last repeats; default 30 s to 1 h
	FactorFailures int             // consecutive failures that lock a factor until an operator lifts it; default 50
	UserFailures   int             // the same over all factors of a user; default 100, also the most (NIST SP 800-63B, 3.2.2)
	SendSpacing    time.Duration   // between two messages to one phone number; default 30 s
	Sends          []SendWindow    // messages to one phone number; default 5 in 10 min, 10 in 1 h, 20 in 24 h
	Resends        int             // further messages with the code of one challenge; default 3
}

// A SendWindow allows Count messages in any span of length Span.
type SendWindow struct {
	Count int
	Span  time.Duration
}

// maxFailures is the most consecutive failures that NIST SP 800-63B, section
// 3.2.2, allows for an account.
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

// backoff returns the wait that the given count of consecutive failures brings.
func (l Limits) backoff(failures int) time.Duration {
	beyond := failures - l.FreeFailures
	if beyond <= 0 {
		return 0
	}
	return l.Backoff[min(beyond, len(l.Backoff))-1]
}

// A PhoneKey is the keyed hash of a phone number within an environment, whose first
// two bytes tell the bucket of that environment's limits; zero is none.
type PhoneKey [32]byte

// Bucket returns the partition in which the limit lives.
func (k PhoneKey) Bucket() Bucket { return Bucket(binary.BigEndian.Uint16(k[:])) % Buckets }

// A PhoneLimit remembers when messages went to a phone number, so that no number
// is flooded whatever factors and challenges they belong to.
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

// A SendRef names the request that a message is for, so that its repetition is
// not counted again and its failure can be given back.
type SendRef [8]byte

// reserve counts a message for ref, or returns a *LimitError and counts nothing.
// A ref that was counted less than keep ago is not counted again: then at is when
// it was, and counted is false.
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
	for _, s := range p.Sends {
		if s.Ref == ref && now.Sub(s.At) < keep {
			return s.At, false, nil
		}
	}
	wait := time.Duration(0)
	until := func(t time.Time) { wait = max(wait, t.Sub(now)) }
	if n := len(p.Sends); n > 0 {
		until(p.Sends[n-1].At.Add(l.SendSpacing))
	}
	for _, w := range l.Sends {
		if n := len(p.Sends) - w.Count; n >= 0 {
			until(p.Sends[n].At.Add(w.Span))
		}
	}
	if wait > 0 {
		return at, false, &LimitError{Kind: ErrSendLimit, After: wait}
	}
	p.Sends = append(p.Sends, Send{now, ref})
	p.ExpiresAt = now.Add(longest)
	return now, true, nil
}

// giveBack takes back the message that was counted for ref at a time, and reports
// whether it was still counted. Another request may have had the same ref since.
func (p *PhoneLimit) giveBack(ref SendRef, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends = slices.Delete(p.Sends, i, i+1)
	}
	return i >= 0
}

// keepFor lets the message that was counted for ref at a time stay counted without
// a ref, so that another one for ref is counted again. It reports whether the
// message was still counted.
func (p *PhoneLimit) keepFor(ref SendRef, at time.Time) bool {
	i := p.find(ref, at)
	if i >= 0 {
		p.Sends[i].Ref = SendRef{}
	}
	return i >= 0
}

func (p *PhoneLimit) find(ref SendRef, at time.Time) int {
	return slices.IndexFunc(p.Sends, func(s Send) bool { return s.Ref == ref && s.At.Equal(at) })
}

// EncodeSends writes sends as stores keep them: 16 bytes each, the time in
// milliseconds and the reference.
func EncodeSends(sends []Send) []byte {
	b := make([]byte, 0, 16*len(sends))
	for _, s := range sends {
		b = binary.BigEndian.AppendUint64(b, uint64(s.At.UnixMilli()))
		b = append(b, s.Ref[:]...)
	}
	return b
}

// DecodeSends reads what EncodeSends wrote.
func DecodeSends(b []byte) ([]Send, error) {
	if len(b)%16 != 0 {
		return nil, fmt.Errorf("sends: %d bytes are no whole number of records", len(b))
	}
	sends := make([]Send, 0, len(b)/16)
	for ; len(b) > 0; b = b[16:] {
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
		sends = append(sends, Send{at, SendRef(b[8:16])})
	}
	return sends, nil
}
