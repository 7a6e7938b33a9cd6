package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// A rowReader reads the values of a row from left to right, in PostgreSQL's binary format,
// which pgx requests for every type that the store uses. It reads NULL as the zero value.
// err reports the first value of a wrong length.
type rowReader struct {
	values [][]byte
	at     int
	err    error
}

func readRow(row interface{ RawValues() [][]byte }) *rowReader {
	return &rowReader{values: row.RawValues()}
}

// next returns the next value, or nil for NULL. The value is valid until the next row.
func (r *rowReader) next() []byte {
	if r.at == len(r.values) {
		r.fail(r.at + 1)
		return nil
	}
	r.at++
	return r.values[r.at-1]
}

// fixed returns the next value, which must have size bytes, or nil for NULL.
func (r *rowReader) fixed(size int) []byte {
	v := r.next()
	if v != nil && len(v) != size {
		r.fail(r.at)
		return nil
	}
	return v
}

func (r *rowReader) fail(column int) {
	if r.err == nil {
		r.err = fmt.Errorf("column %d is not of the expected type", column)
	}
}

func (r *rowReader) integer() int {
	if v := r.fixed(4); v != nil {
		return int(int32(binary.BigEndian.Uint32(v)))
	}
	return 0
}

func (r *rowReader) smallint() int16 {
	if v := r.fixed(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (r *rowReader) bool() bool {
	v := r.fixed(1)
	return v != nil && v[0] != 0
}

func (r *rowReader) bigint() int64 {
	if v := r.fixed(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (r *rowReader) uuid() (id [16]byte) {
	copy(id[:], r.fixed(len(id)))
	return id
}

func (r *rowReader) text() string { return string(r.next()) }

// bytea returns a copy of the next value. It is nil only for NULL.
func (r *rowReader) bytea() []byte { return bytes.Clone(r.next()) }

func (r *rowReader) time() time.Time {
	v := r.fixed(8)
	if v == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + epoch).UTC()
}
