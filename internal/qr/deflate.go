package qr

import (
	"encoding/binary"
	"math/bits"
)

// A prefixCode is the code of a symbol of deflate: n bits, the first one lowest.
type prefixCode struct {
	bits uint64
	n    int
}

// prefix reads a prefixCode written with its first bit first.
func prefix(digits string) prefixCode {
	c := prefixCode{n: len(digits)}
	for i, digit := range digits {
		c.bits |= uint64(digit-'0') << i
	}
	return c
}

// A deflate block may define its codes. The rows of a QR code need few symbols,
// the same in all sizes, so these codes never change. The comments give the
// symbols by their numbers in RFC 1951, section 3.2.5.
var (
	whiteCode = prefix("0")     // 255
	blackCode = prefix("10")    // 0, the filter byte as well
	endCode   = prefix("11110") // 256

	copyCodes = [...]prefixCode{ // 32 lengths each, from minCopy
		prefix("1100"),  // 281
		prefix("1101"),  // 282
		prefix("1110"),  // 283
		prefix("11111"), // 284
	}
	distanceCodes = [...]prefixCode{ // enough for the shortest and the longest row
		prefix("100"), // 9, from 25
		prefix("00"),  // 10, from 33
		prefix("01"),  // 11, from 49
		prefix("101"), // 12, from 65
		prefix("110"), // 13, from 97
		prefix("111"), // 14, from 129 to 192
	}
)

const (
	minCopy = 131
	maxCopy = 257

	firstDistance = 9 // the symbol of distanceCodes[0]
)

// A rowWriter compresses the rows of a picture into a zlib stream (RFC 1950).
type rowWriter struct {
	out     []byte
	pending uint64 // bits not yet in out, the first of them lowest
	n       int    // how many: fewer than 32 between calls

	sum, sums uint64 // the Adler-32: of the bytes so far, and of each sum so far
}

// newRowWriter returns a rowWriter for a square of side modules.
func newRowWriter(side int) *rowWriter {
	w := &rowWriter{out: make([]byte, 0, 64+side*side/3), sum: 1}
	w.out = append(w.out, 0x78, 0x01) // deflate, fastest level
	w.writeCodes()
	return w
}

// writeCodes begins the only block by telling its codes: for each symbol the
// length of its code, from which follows the code (RFC 1951, section 3.2.7).
func (w *rowWriter) writeCodes() {
	w.number(1, 1)       // last block
	w.number(2, 2)       // dynamic codes
	w.number(285-257, 5) // literal and length symbols told
	w.number(15-1, 5)    // distance symbols told
	w.number(18-4, 4)    // length code symbols told

	// The lengths are in a code as well, and its lengths come first, in this order:
	// 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1.
	for _, length := range []uint64{0, 3, 3, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 2, 0, 3, 0, 3} {
		w.number(length, 3)
	}
	var (
		one       = prefix("010")
		two       = prefix("011")
		three     = prefix("00")
		four      = prefix("100")
		five      = prefix("101")
		fewUnused = prefix("110") // 3 to 10 symbols
		unused    = prefix("111") // 11 to 138 symbols
	)
	w.code(two) // 0
	w.code(unused)
	w.number(138-11, 7)
	w.code(unused)
	w.number(254-138-11, 7)
	w.code(one)  // 255
	w.code(five) // 256
	w.code(unused)
	w.number(24-11, 7)
	w.code(four) // 281
	w.code(four)
	w.code(four)
	w.code(five) // 284

	w.code(fewUnused)
	w.number(9-3, 3)
	w.code(three) // 9
	w.code(two)
	w.code(two)
	w.code(three)
	w.code(three)
	w.code(three) // 14
}

// write adds row so many times over, at least moduleSize times.
func (w *rowWriter) write(row []byte, times int) {
	var sum, sums uint64
	for _, b := range row {
		if b == white {
			w.code(whiteCode)
		} else {
			w.code(blackCode)
		}
		sum += uint64(b)
		sums += sum
	}
	w.copy((times-1)*len(row), len(row))

	for range times {
		w.sums += uint64(len(row))*w.sum + sums
		w.sum += sum
	}
	w.sum %= 65521
	w.sums %= 65521
}

// copy repeats the n bytes that begin distance bytes back, in parts of nearly
// equal length, each within minCopy and maxCopy.
func (w *rowWriter) copy(n, distance int) {
	for parts := (n + maxCopy - 1) / maxCopy; parts > 0; parts-- {
		length := n / parts
		n -= length
		w.code(copyCodes[(length-minCopy)/32])
		w.number(uint64(length-minCopy)%32, 5)

		// Of the distance less one, the code tells the place of the highest bit and
		// the value of the next; the rest follows.
		d := uint64(distance - 1)
		rest := bits.Len64(d) - 2
		w.code(distanceCodes[2*rest+int(d>>rest)-firstDistance])
		w.number(d&(1<<rest-1), rest)
	}
}

// finish returns the whole stream.
func (w *rowWriter) finish() []byte {
	w.code(endCode)
	for ; w.n > 0; w.n -= 8 {
		w.out = append(w.out, byte(w.pending))
		w.pending >>= 8
	}
	return binary.BigEndian.AppendUint32(w.out, uint32(w.sums<<16|w.sum))
}

func (w *rowWriter) code(c prefixCode) { w.number(c.bits, c.n) }

// number adds a value of n bits, at most 32.
func (w *rowWriter) number(value uint64, n int) {
	w.pending |= value << w.n
	w.n += n
	if w.n >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.pending))
		w.pending >>= 32
		w.n -= 32
	}
}
