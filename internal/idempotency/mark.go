package idempotency

import (
	"errors"
	"time"
)

// A Mark names the request that wrote a row. A row with a Mark replaces the Record of the
// request, if the answer can be made again from the row. The zero Mark names no request.
type Mark struct {
	Key     Key
	Request [16]byte // the first bytes of the keyed hash of the request
}

// MarkSize is the number of bytes of an encoded Mark.
const MarkSize = len(Mark{}.Key) + len(Mark{}.Request)

// Encode returns the bytes of m, and nil for the zero Mark.
func (m *Mark) Encode() []byte {
	if *m == (Mark{}) {
		return nil
	}
	return append(m.Key[:], m.Request[:]...)
}

// Decode sets m to the result of an Encode.
func (m *Mark) Decode(b []byte) error {
	*m = Mark{}
	if len(b) == 0 {
		return nil
	}
	if len(b) != MarkSize {
		return errors.New("the mark of a request does not have 32 bytes")
	}
	copy(m.Request[:], b[copy(m.Key[:], b):])
	return nil
}

// Mark returns the mark of the request; the zero Mark for a nil Operation.
func (o *Operation[T]) Mark() Mark {
	if o == nil {
		return Mark{}
	}
	return Mark{o.Key, [16]byte(o.fingerprint[:])}
}

// Wrote reports whether the request wrote the row that has the mark m since the time at.
// about is the id of the factor or challenge that the request created, or zero. Wrote
// returns ErrKeyReused if the key of m came with another request.
func (o *Operation[T]) Wrote(m Mark, at time.Time, about [16]byte, now time.Time) (bool, error) {
	switch {
	case o == nil || m.Key != o.Key || !now.Before(at.Add(o.Keep)) || o.past != [16]byte{} && about == o.past:
		return false, nil
	case m != o.Mark():
		return false, ErrKeyReused
	}
	return true, nil
}

// Again returns the answer to a request that Wrote has found, from the result that the row
// gives.
func (o *Operation[T]) Again(result T, about [16]byte) *Answer {
	return &Answer{o.answer(result, nil), about}
}
