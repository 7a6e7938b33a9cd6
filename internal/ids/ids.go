// Package ids names environments, factors, challenges and events. Each id carries the
// partition of its rows: see Bucket.
package ids

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"time"
)

// Buckets is the number of partitions of the rows. Every stored id depends on it, so it can
// never change.
const Buckets = 1024

// A Bucket is the partition of a row, 0 to 1023.
type Bucket uint16

// UserBucket returns the bucket of all factors of a user.
func UserBucket(env EnvironmentID, user string) Bucket {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, uint64(env)), user...))
	return Bucket(binary.BigEndian.Uint16(sum[:])) % Buckets
}

// An EnvironmentID is the number of an environment; 0 means no environment.
type EnvironmentID int64

// An Environment is a tenant. No row of one environment is visible in another.
type Environment struct {
	ID         EnvironmentID
	Name       string
	Production bool // otherwise a sandbox
}

// FactorID, ChallengeID and EventID are ULIDs: 48 bits of Unix milliseconds and 80 other
// bits, whose last 10 are the bucket of the row. For a factor or a challenge the rest is
// random; for an event it is its place in the order, see Position. The zero value is not an
// id.
type (
	FactorID    [16]byte
	ChallengeID [16]byte
	EventID     [16]byte
)

const (
	factorPrefix    = "auth_factor_"
	challengePrefix = "auth_challenge_"
	eventPrefix     = "event_"
)

// String returns the id as the wire has it, auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M.
func (id FactorID) String() string { return format(factorPrefix, id) }

// String returns the id as the wire has it, auth_challenge_01FZ4WRNQ7S9GT4BJBMN9KQKVC.
func (id ChallengeID) String() string { return format(challengePrefix, id) }

// String returns the id as the wire has it, event_01FZ4WRNQ7S9GT4BJBMN9KQKVC.
func (id EventID) String() string { return format(eventPrefix, id) }

// Append appends the id as String writes it.
func (id FactorID) Append(b []byte) []byte { return appendID(b, factorPrefix, id) }

// Append appends the id as String writes it.
func (id ChallengeID) Append(b []byte) []byte { return appendID(b, challengePrefix, id) }

// Bucket returns the partition of the factor and of its challenges and events.
func (id FactorID) Bucket() Bucket { return bucketIn(id) }

// Bucket returns the partition of the challenge, which is that of its factor.
func (id ChallengeID) Bucket() Bucket { return bucketIn(id) }

// Bucket returns the partition of the event, which is that of its factor.
func (id EventID) Bucket() Bucket { return bucketIn(id) }

// ParseFactorID reads an id as String writes it; ok is false for any other text.
func ParseFactorID(s string) (id FactorID, ok bool) { return parse(factorPrefix, s) }

// ParseChallengeID reads an id as String writes it; ok is false for any other text.
func ParseChallengeID(s string) (id ChallengeID, ok bool) { return parse(challengePrefix, s) }

// ParseEventID reads an id as String writes it; ok is false for any other text.
func ParseEventID(s string) (id EventID, ok bool) { return parse(eventPrefix, s) }

// Compare compares the positions of two events.
func (id EventID) Compare(other EventID) int { return bytes.Compare(id[:], other[:]) }

// The parts of an EventID, from the first bit to the last, before the bucket.
const (
	epochBits   = 48 // Unix milliseconds
	counterBits = 40
	ordinalBits = 30
	bucketBits  = 10
)

// MaxCounter is the largest Counter of a Position.
const MaxCounter = 1<<counterBits - 1

// A Position is the place of an event in the order. An EventID has, from the first bit to
// the last, the epoch, the counter, the ordinal and the bucket, so ids sort in this order.
type Position struct {
	Epoch   int64 // Unix milliseconds
	Counter int64 // 0 to MaxCounter
	Ordinal int   // of the event in its transaction, 0 to 2^30-1
}

// ID returns the id of an event in bucket b.
func (p Position) ID(b Bucket) (id EventID) {
	binary.BigEndian.PutUint64(id[8:], uint64(p.Counter)<<(ordinalBits+bucketBits)|uint64(p.Ordinal)<<bucketBits|uint64(b))
	binary.BigEndian.PutUint16(id[6:8], uint16(uint64(p.Counter)>>(64-ordinalBits-bucketBits)))
	putMillis((*[16]byte)(&id), p.Epoch)
	return id
}

// PositionOf returns the position in an id.
func PositionOf(id EventID) Position {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	return Position{
		Epoch:   int64(hi >> (64 - epochBits)),
		Counter: int64(hi&0xffff<<(64-ordinalBits-bucketBits) | lo>>(ordinalBits+bucketBits)),
		Ordinal: int(lo >> bucketBits & (1<<ordinalBits - 1)),
	}
}

func bucketIn(id [16]byte) Bucket { return Bucket(binary.BigEndian.Uint16(id[14:])) % Buckets }

// crockford is the alphabet of a ULID: base 32 without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const ulidLen = 26

var crockfordValue = func() (v [256]byte) {
	for i := range v {
		v[i] = 0xff
	}
	for i := range len(crockford) {
		v[crockford[i]] = byte(i)
	}
	return v
}()

func format(prefix string, id [16]byte) string {
	var buf [len(challengePrefix) + ulidLen]byte
	return string(appendID(buf[:0], prefix, id))
}

// appendID appends 128 bits as 26 characters of 5 bits, the first two bits zero.
func appendID(b []byte, prefix string, id [16]byte) []byte {
	b = append(b, prefix...)
	n := len(b)
	b = append(b, "00000000000000000000000000"[:ulidLen]...)
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	for i := n + ulidLen - 1; i >= n; i-- {
		b[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return b
}

// parse accepts only the canonical, upper-case form: one row has one name.
func parse(prefix, s string) (id [16]byte, ok bool) {
	if len(s) != len(prefix)+ulidLen || s[:len(prefix)] != prefix {
		return id, false
	}
	s = s[len(prefix):]
	if s[0] > '7' {
		return id, false // more than 128 bits
	}
	var hi, lo uint64
	for i := range ulidLen {
		v := crockfordValue[s[i]]
		if v == 0xff {
			return id, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, hi|lo != 0 // the zero value is not an id
}

// FirstAt returns the smallest id of an instant, for ranges of ids by time. No id is
// older than 1970.
func FirstAt(t time.Time) (id [16]byte) {
	putMillis(&id, max(0, t.UnixMilli()))
	return id
}

// TimeOf returns the creation time of an id, in whole milliseconds.
func TimeOf(id [16]byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
}

func putMillis(id *[16]byte, ms int64) {
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16|uint64(binary.BigEndian.Uint16(id[6:8])))
}

// A Source creates ids. It is safe for concurrent use. Within a millisecond, each id is greater than the previous one by a
// fresh random number of more than 50 bits. So the ids of one process sort in the order of
// their creation, unless its clock is set back, and no id predicts the next one.
type Source struct {
	rand io.Reader

	mu     sync.Mutex
	ms     int64
	hi, lo uint64 // the 70 random bits of the last id: 6 and 64 of them
	drawn  [16 * drawSize]byte
	left   int // unused bytes, at the end of drawn
}

// NewSource returns a Source that draws from rand.
func NewSource(rand io.Reader) *Source { return &Source{rand: rand} }

const (
	// drawSize is the number of random bytes per id.
	drawSize = 9
	// stepBits bounds the step between two ids of a millisecond. The first id of a
	// millisecond uses at most half of the 70 bits, so at least 8,192 steps fit.
	stepBits = 56
)

// Next returns a new id of time now in bucket b.
func (s *Source) Next(now time.Time, b Bucket) ([16]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.draw()
	if err != nil {
		return [16]byte{}, fmt.Errorf("draw an id: %w", err)
	}
	if ms := now.UnixMilli(); ms != s.ms {
		s.begin(ms, r)
	} else {
		// The lowest bit stays zero, for the mark. A step is never zero.
		step := binary.BigEndian.Uint64(r)&(1<<stepBits-1)&^1 + 2
		var carry uint64
		s.lo, carry = bits.Add64(s.lo, step, 0)
		if s.hi += carry; s.hi >= 1<<6 {
			s.begin(ms, r) // no room for more ids in order: 8 million a second
		}
	}
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], s.lo<<10|uint64(b))
	binary.BigEndian.PutUint16(id[6:8], uint16(s.hi<<10|s.lo>>54))
	putMillis(&id, s.ms)
	return id, nil
}

// begin sets the first id of a millisecond from a draw.
func (s *Source) begin(ms int64, r []byte) {
	// The top bit stays zero: it leaves room for steps.
	s.ms, s.hi, s.lo = ms, uint64(r[8]&0x1f), binary.BigEndian.Uint64(r)&^1
}

// Random returns a random number.
func (s *Source) Random() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.draw()
	if err != nil {
		return 0, fmt.Errorf("draw a number: %w", err)
	}
	return binary.BigEndian.Uint64(r), nil
}

// draw returns random bytes for one id. It reads the bytes of several ids at once, because
// each read is a system call.
func (s *Source) draw() ([]byte, error) {
	if s.left == 0 {
		if _, err := io.ReadFull(s.rand, s.drawn[:]); err != nil {
			return nil, err
		}
		s.left = len(s.drawn)
	}
	at := len(s.drawn) - s.left
	s.left -= drawSize
	return s.drawn[at : at+drawSize], nil
}
