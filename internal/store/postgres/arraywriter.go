package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// An arrayWriter collects rows as the parameters of a statement over unnest: one array per
// column, in PostgreSQL's binary format. pgx would convert each value to an interface first
// and look up how to encode it; that took a tenth of this process's time for a flow.
// Callers begin each row with row and then pass its values in order.
type arrayWriter struct {
	arrays []array
	at     int
}

// An array is one column: a parameter that pgx sends unchanged.
type array struct {
	element uint32 // OID of the element type
	n       int
	null    bool   // whether a value is NULL
	values  []byte // each value follows its length; a length of -1 means NULL
}

// row begins a row.
func (w *arrayWriter) row() *arrayWriter { w.at = 0; return w }

// column returns the array for the next value, which must have size bytes.
func (w *arrayWriter) column(element uint32, size int) *array {
	if w.at == len(w.arrays) {
		w.arrays = append(w.arrays, array{element: element})
	}
	a := &w.arrays[w.at]
	w.at++
	a.n++
	a.values = binary.BigEndian.AppendUint32(a.values, uint32(size))
	return a
}

func (w *arrayWriter) null(element uint32) *arrayWriter {
	w.column(element, -1).null = true
	return w
}

func (w *arrayWriter) smallint(v int16) *arrayWriter {
	a := w.column(pgtype.Int2OID, 2)
	a.values = binary.BigEndian.AppendUint16(a.values, uint16(v))
	return w
}

func (w *arrayWriter) integer(v int) *arrayWriter {
	a := w.column(pgtype.Int4OID, 4)
	a.values = binary.BigEndian.AppendUint32(a.values, uint32(int32(v)))
	return w
}

func (w *arrayWriter) bigint(v int64) *arrayWriter {
	a := w.column(pgtype.Int8OID, 8)
	a.values = binary.BigEndian.AppendUint64(a.values, uint64(v))
	return w
}

func (w *arrayWriter) uuid(v [16]byte) *arrayWriter {
	a := w.column(pgtype.UUIDOID, len(v))
	a.values = append(a.values, v[:]...)
	return w
}

// uuidOrNull writes the zero id as NULL.
func (w *arrayWriter) uuidOrNull(v [16]byte) *arrayWriter {
	if v == ([16]byte{}) {
		return w.null(pgtype.UUIDOID)
	}
	return w.uuid(v)
}

// name is like text, for a column that cannot be NULL.
func (w *arrayWriter) name(v string) *arrayWriter {
	a := w.column(pgtype.TextOID, len(v))
	a.values = append(a.values, v...)
	return w
}

// text writes an empty string as NULL.
func (w *arrayWriter) text(v string) *arrayWriter {
	if v == "" {
		return w.null(pgtype.TextOID)
	}
	a := w.column(pgtype.TextOID, len(v))
	a.values = append(a.values, v...)
	return w
}

// bytea writes nil as NULL.
func (w *arrayWriter) bytea(v []byte) *arrayWriter {
	if v == nil {
		return w.null(pgtype.ByteaOID)
	}
	a := w.column(pgtype.ByteaOID, len(v))
	a.values = append(a.values, v...)
	return w
}

// time writes the zero time as NULL.
func (w *arrayWriter) time(v time.Time) *arrayWriter {
	if v.IsZero() {
		return w.null(pgtype.TimestamptzOID)
	}
	return w.instant(v)
}

// instant is like time, for a column that cannot be NULL.
func (w *arrayWriter) instant(v time.Time) *arrayWriter {
	a := w.column(pgtype.TimestamptzOID, 8)
	a.values = binary.BigEndian.AppendUint64(a.values, uint64(v.UnixMicro()-epoch))
	return w
}

// epoch is PostgreSQL's epoch, 2000-01-01, in microseconds since 1970.
const epoch = 946_684_800_000_000

// parameters returns the arrays in the form that pgx accepts.
func (w *arrayWriter) parameters() []any {
	all := make([]any, len(w.arrays))
	for i := range w.arrays {
		all[i] = &w.arrays[i]
	}
	return all
}

// Encode makes array its own encode plan; see arrayCodec.
func (*array) Encode(value any, b []byte) ([]byte, error) {
	a := value.(*array)
	null := uint32(0)
	if a.null {
		null = 1
	}
	// The array has one dimension, and its lower bound is 1.
	for _, field := range []uint32{1, null, a.element, uint32(a.n), 1} {
		b = binary.BigEndian.AppendUint32(b, field)
	}
	return append(b, a.values...), nil
}

// An arrayCodec writes arrays unchanged and passes all other values to the codec of pgx.
type arrayCodec struct{ pgtype.Codec }

// PlanEncode returns the encode plan for value.
func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if a, ok := value.(*array); ok && format == pgtype.BinaryFormatCode {
		return a
	}
	return c.Codec.PlanEncode(m, oid, format, value)
}

// registerArrays registers arrayCodec on a new connection.
func registerArrays(_ context.Context, conn *pgx.Conn) error {
	m := conn.TypeMap()
	for _, oid := range []uint32{
		pgtype.Int2ArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.UUIDArrayOID, pgtype.TextArrayOID,
		pgtype.ByteaArrayOID, pgtype.TimestamptzArrayOID,
	} {
		if t, ok := m.TypeForOID(oid); ok {
			m.RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: arrayCodec{t.Codec}})
		}
	}
	return nil
}
