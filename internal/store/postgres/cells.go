package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// cells read the values of a row from left to right, in PostgreSQL's binary form,
// which pgx asks for where it knows the type: for all that the store keeps. NULL is
// the zero value. The first value of another length is err.
type cells struct {
	values [][]byte
	at     int
	err    error
}

func cellsOf(row interface{ RawValues() [][]byte }) *cells { return &cells{values: row.RawValues()} }

// next returns the next value, nil for NULL. It is good until the next row.
func (c *cells) next() []byte {
	if c.at == len(c.values) {
		c.fail(c.at + 1)
		return nil
	}
	c.at++
	return c.values[c.at-1]
}

// fixed returns the next value, which has size bytes, nil for NULL.
func (c *cells) fixed(size int) []byte {
	v := c.next()
	if v != nil && len(v) != size {
		c.fail(c.at)
		return nil
	}
	return v
}

func (c *cells) fail(column int) {
	if c.err == nil {
		c.err = fmt.Errorf("column %d is none of the expected type", column)
	}
}

func (c *cells) integer() int {
	if v := c.fixed(4); v != nil {
		return int(int32(binary.BigEndian.Uint32(v)))
	}
	return 0
}

func (c *cells) bigint() int64 {
	if v := c.fixed(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (c *cells) uuid() (id [16]byte) {
	copy(id[:], c.fixed(len(id)))
	return id
}

func (c *cells) text() string { return string(c.next()) }

// bytea returns a copy, nil for NULL alone.
func (c *cells) bytea() []byte { return bytes.Clone(c.next()) }

func (c *cells) time() time.Time {
	v := c.fixed(8)
	if v == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + epoch).UTC()
}
