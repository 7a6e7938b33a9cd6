package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// sends are encoded in 16 bytes each: the time in milliseconds and the reference.
type sends []delivery.Send

func (s *sends) Encode() []byte {
	b := make([]byte, 0, 16*len(*s))
	for _, send := range *s {
		b = binary.BigEndian.AppendUint64(b, uint64(send.At.UnixMilli()))
		b = append(b, send.Ref[:]...)
	}
	return b
}

func (s *sends) Decode(b []byte) error {
	if len(b)%16 != 0 {
		return fmt.Errorf("sends: %d bytes are not a whole number of records", len(b))
	}
	*s = make([]delivery.Send, 0, len(b)/16)
	for ; len(b) > 0; b = b[16:] {
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC()
		*s = append(*s, delivery.Send{At: at, Ref: delivery.Ref(b[8:16])})
	}
	return nil
}

// counts are encoded in 16 bytes each: the time in milliseconds and two numbers.
type counts []delivery.Count

func (c *counts) Encode() []byte {
	b := make([]byte, 0, 16*len(*c))
	for _, count := range *c {
		b = binary.BigEndian.AppendUint64(b, uint64(count.At.UnixMilli()))
		b = binary.BigEndian.AppendUint32(b, uint32(count.Sent))
		b = binary.BigEndian.AppendUint32(b, uint32(count.Verified))
	}
	return b
}

func (c *counts) Decode(b []byte) error {
	if len(b)%16 != 0 {
		return fmt.Errorf("counts: %d bytes are not a whole number of records", len(b))
	}
	*c = make([]delivery.Count, 0, len(b)/16)
	for ; len(b) > 0; b = b[16:] {
		*c = append(*c, delivery.Count{
			At:       time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(),
			Sent:     int(binary.BigEndian.Uint32(b[8:])),
			Verified: int(binary.BigEndian.Uint32(b[12:])),
		})
	}
	return nil
}

// deliveries are encoded one after another: five texts, each after its length, the
// number of segments, and two times in milliseconds. All numbers are varints. An empty
// list is encoded as nil. The first text has the provider and, since a later release, the
// country and the prefix: nodes of an older release can still read it.
type deliveries []delivery.Record

// nul separates the parts of the first text.
const nul = "\x00"

func (d *deliveries) Encode() (b []byte) {
	for i := range *d {
		one := &(*d)[i]
		first := one.Provider
		if one.Country != "" || one.Prefix != "" {
			first += nul + one.Country + nul + one.Prefix
		}
		for _, text := range [...]string{first, one.ID, string(one.State), one.Reason, string(one.Sealed)} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
		b = binary.AppendUvarint(b, uint64(one.Segments))
		b = binary.AppendVarint(b, one.At.UnixMilli())
		b = binary.AppendVarint(b, one.UpdatedAt.UnixMilli())
	}
	return b
}

func (d *deliveries) Decode(b []byte) error {
	*d = nil
	for r := bytes.NewReader(b); r.Len() > 0; {
		var texts [5]string
		for i := range texts {
			n, err := binary.ReadUvarint(r)
			if err != nil || n > uint64(r.Len()) {
				return errDeliveries
			}
			text := make([]byte, n)
			r.Read(text) // r has at least n bytes
			texts[i] = string(text)
		}
		segments, err1 := binary.ReadUvarint(r)
		at, err2 := binary.ReadVarint(r)
		updated, err3 := binary.ReadVarint(r)
		if err1 != nil || err2 != nil || err3 != nil {
			return errDeliveries
		}
		provider, place, _ := strings.Cut(texts[0], nul)
		country, prefix, _ := strings.Cut(place, nul)
		one := delivery.Record{
			Provider: provider, Country: country, Prefix: prefix, ID: texts[1], State: delivery.State(texts[2]), Reason: texts[3], Segments: int(segments),
			At: time.UnixMilli(at).UTC(), UpdatedAt: time.UnixMilli(updated).UTC(),
		}
		if texts[4] != "" {
			one.Sealed = []byte(texts[4])
		}
		*d = append(*d, one)
	}
	return nil
}

var errDeliveries = errors.New("deliveries: cut short")

// counters are Attempts, RefusalEvents and AcceptsRecovery in one integer: most challenges then
// need no further column. Attempts has the low 8 bits, RefusalEvents the next 22.
type counters mfa.ChallengeState

// acceptsRecovery is the bit of AcceptsRecovery.
const acceptsRecovery = 1 << 30

func (c *counters) Number() int {
	n := c.RefusalEvents<<8 | c.Attempts
	if c.AcceptsRecovery {
		n |= acceptsRecovery
	}
	return n
}

func (c *counters) SetNumber(n int) {
	c.AcceptsRecovery = n&acceptsRecovery != 0
	c.RefusalEvents, c.Attempts = n>>8&(1<<22-1), n&0xff
}

// An app is the Params of a totp.App in the low four bits, and Ahead in the others. The
// default is 0.
type app totp.App

func (a *app) Number() int {
	n := a.Ahead<<4 | int(a.Hash)&3
	if a.Eight {
		n |= 4
	}
	if a.Minute {
		n |= 8
	}
	return n
}

func (a *app) SetNumber(n int) {
	a.Ahead = n >> 4
	a.Params = totp.Params{Hash: totp.Hash(n & 3), Eight: n&4 != 0, Minute: n&8 != 0}
}

// A factorReplay is the replay key of a factor. An older release stored a hash with a
// different length and without a key.
type factorReplay mfa.Factor

func (f *factorReplay) Encode() []byte {
	switch {
	case f.Old.Replay != nil:
		return f.Old.Replay
	case f.Replay == mfa.ReplayKey{}:
		return nil
	}
	return f.Replay[:]
}

func (f *factorReplay) Decode(b []byte) error {
	if len(b) == len(f.Replay) {
		copy(f.Replay[:], b)
		return nil
	}
	f.Old.Replay = bytes.Clone(b)
	return nil
}

// A hash has 32 bytes. A shorter value is a hash without its trailing zeros.
type hash [32]byte

func (h *hash) Encode() []byte { return h[:] }

func (h *hash) Decode(b []byte) error {
	*h = hash{}
	copy(h[:], b)
	return nil
}

// A replayKey has 16 bytes.
type replayKey mfa.ReplayKey

func (k *replayKey) Encode() []byte { return k[:] }

func (k *replayKey) Decode(b []byte) error {
	*k = replayKey{}
	copy(k[:], b)
	return nil
}

// A flag is 0 or 1.
type flag bool

func (f *flag) Number() int {
	if *f {
		return 1
	}
	return 0
}

func (f *flag) SetNumber(n int) { *f = n != 0 }

// millis is a length of time in whole milliseconds.
type millis time.Duration

func (m *millis) Number() int     { return int(time.Duration(*m).Milliseconds()) }
func (m *millis) SetNumber(n int) { *m = millis(time.Duration(n) * time.Millisecond) }

// A personKey has 16 bytes.
type personKey mfa.PersonKey

func (k *personKey) Encode() []byte { return k[:] }

func (k *personKey) Decode(b []byte) error {
	*k = personKey{}
	copy(k[:], b)
	return nil
}

// A phoneHash has 16 bytes, or is NULL if it is not known.
type phoneHash mfa.PhoneHash

// Encode implements Bytes.
func (h *phoneHash) Encode() []byte {
	if *h == (phoneHash{}) {
		return nil
	}
	return h[:]
}

// Decode implements Bytes.
func (h *phoneHash) Decode(b []byte) error {
	*h = phoneHash{}
	copy(h[:], b)
	return nil
}

// EncodePhone returns the stored form of a hash, nil for a zero one.
func EncodePhone(h mfa.PhoneHash) []byte { return (*phoneHash)(&h).Encode() }
