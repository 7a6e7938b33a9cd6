package postgres

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

// A table makes its statements, and binds and scans its rows, from one description.
// A statement for one row has a parameter for each column. A statement for many rows has
// an array for each column, in the same order.
type table[R any] struct {
	describe func(rows.Columns, *R)
	columns  []column

	insert, insertMany string
	update, updateMany string // set all columns except the key
}

// The tables. The number counts the columns of the key, which come first.
var (
	factors         = newTable("factors", 2, rows.Factor)
	factorStates    = newTable("factors", 2, rows.UpdateFactor)
	challenges      = newTable("challenges", 2, rows.Challenge)
	challengeStates = newTable("challenges", 2, rows.UpdateChallenge)
	users           = newTable("users", 3, rows.User)
	phones          = newTable("phones", 2, rows.Phone)
	tallies         = newTable("tallies", 3, rows.Counter)
	messages        = newTable("messages", 2, rows.Message)
	bypasses        = newTable("bypasses", 2, rows.Bypass)
	replays         = newTable("replays", 2, rows.Replay)
	contexts        = newTable("event_contexts", 2, rows.EventContext)
	deletedFactors  = newTable("deleted_factors", 2, rows.DeletedFactor)
	erasures        = newTable("erasures", 2, rows.Erasure)
	eventRows       = newTable("events", 2, rows.Event)
)

func newTable[R any](name string, key int, describe func(rows.Columns, *R)) *table[R] {
	var found columns
	describe(&found, new(R))
	t := &table[R]{describe: describe, columns: found}
	list := func(separator string, form func(i int, c column) string) string {
		parts := make([]string, len(found))
		for i, c := range found {
			parts[i] = form(i+1, c)
		}
		return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), separator)
	}
	part := func(ofKey bool, form func(i int, c column) string) func(int, column) string {
		return func(i int, c column) string {
			if (i <= key) != ofKey {
				return ""
			}
			return form(i, c)
		}
	}
	names := list(", ", func(_ int, c column) string { return c.name })
	arrays := list(", ", func(i int, c column) string { return fmt.Sprintf("$%d::%s[]", i, c.kind) })
	one := func(i int, c column) string { return fmt.Sprintf("%s = $%d", c.name, i) }
	t.insert = "INSERT INTO " + name + " (" + names + ") VALUES (" + list(", ", func(i int, _ column) string { return fmt.Sprintf("$%d", i) }) + ")"
	t.insertMany = "INSERT INTO " + name + " (" + names + ") SELECT * FROM unnest(" + arrays + ")"
	t.update = "UPDATE " + name + " SET " + list(", ", part(false, one)) + " WHERE " + list(" AND ", part(true, one))
	t.updateMany = "UPDATE " + name + " t SET " + list(", ", part(false, func(_ int, c column) string { return c.name + " = v." + c.name })) +
		" FROM unnest(" + arrays + ") AS v (" + names + ")" +
		" WHERE " + list(" AND ", part(true, func(_ int, c column) string { return "t." + c.name + " = v." + c.name }))
	return t
}

// list returns the columns for a SELECT in which the table has the given alias.
func (t *table[R]) list(alias string) string {
	parts := make([]string, len(t.columns))
	for i, c := range t.columns {
		parts[i] = alias + "." + c.name
	}
	return strings.Join(parts, ", ")
}

// values returns the parameters for one row.
func (t *table[R]) values(r *R) []any {
	v := make(values, 0, len(t.columns))
	t.describe(&v, r)
	return v
}

// scan reads the columns of t.list.
func (t *table[R]) scan(row *rowReader) *R {
	r := new(R)
	t.describe(row, r)
	return r
}

// scanner returns a function that passes rows to add; see the function each.
func (t *table[R]) scanner(add func(*R)) func(*rowReader) error {
	return func(row *rowReader) error {
		r := t.scan(row)
		add(r)
		return row.err
	}
}

// collected scans a row for the function collect.
func (t *table[R]) collected(row *rowReader) (R, error) {
	r := t.scan(row)
	return *r, row.err
}

// queueMany adds a statement over all of these rows, if there are any.
func (t *table[R]) queueMany(b *pgx.Batch, sql string, all []*R) {
	if len(all) == 0 {
		return
	}
	w := arrayWriter{arrays: make([]array, 0, len(t.columns))}
	for _, r := range all {
		t.describe(w.row(), r)
	}
	b.Queue(sql, w.parameters()...)
}

// A column is the name of a column and its type.
type column struct{ name, kind string }

// columns collects the columns of a description. A key takes two columns.
type columns []column

// Column makes columns a rows.Columns.
func (c *columns) Column(name string, field any) {
	kind := ""
	switch field.(type) {
	case *rows.Key:
		*c = append(*c, column{"bucket", "smallint"})
		kind = "uuid"
	case *rows.Ref:
		kind = "uuid"
		if name == "about" {
			name = "factor" // the name in an early release
		}
	case *mfa.Bucket, *rows.KeyBucket, *rows.UserBucket, *rows.TallyBucket:
		kind = "smallint"
	case *int, rows.Number:
		kind = "integer"
	case *int64:
		kind = "bigint"
	case *string, *rows.Name, *rows.Word, *rows.Owner:
		kind = "text"
	case *rows.CreatedBy:
		*c = append(*c, column{rows.CreatedKey, "bigint"})
		kind = "bytea"
	case *[]byte, rows.Bytes:
		kind = "bytea"
	case *time.Time, *rows.OptionalTime, *rows.Expiry:
		kind = "timestamptz"
	default:
		panic(fmt.Sprintf("postgres: column %s has a field of type %T", name, field))
	}
	*c = append(*c, column{name, kind})
}

// values are the parameters for one row.
type values []any

// Column adds a field to the parameters. It makes values a rows.Columns.
func (p *values) Column(_ string, field any) {
	var value any
	switch v := field.(type) {
	case *rows.Key:
		*p = append(*p, bucket(mfa.FactorID(*v)))
		value = [16]byte(*v)
	case *rows.Ref:
		if *v != (rows.Ref{}) {
			value = [16]byte(*v)
		}
	case *mfa.Bucket:
		value = int16(*v)
	case *rows.KeyBucket:
		value = int16(*v)
	case *rows.UserBucket:
		value = int16(v.Place())
	case *rows.TallyBucket:
		value = int16(v.Bucket())
	case *int:
		value = *v
	case *int64:
		value = *v
	case *string:
		value = text(*v)
	case *rows.Name:
		value = string(*v)
	case *rows.Word:
		value = text(string(*v))
	case *rows.Owner:
		value = text(v.User)
	case *[]byte:
		value = *v
	case *time.Time:
		value = *v
	case *rows.OptionalTime:
		value = instant(time.Time(*v))
	case *rows.Expiry:
		value = instant(time.Time(*v))
	case *rows.CreatedBy:
		b := v.Encode()
		if b == nil {
			*p = append(*p, nil)
		} else {
			*p = append(*p, v.Number())
		}
		value = b
	case rows.Number:
		value = v.Number()
	case rows.Bytes:
		value = v.Encode()
	}
	*p = append(*p, value)
}

// Column adds a field to the arrays. It makes arrayWriter a rows.Columns.
func (w *arrayWriter) Column(_ string, field any) {
	switch v := field.(type) {
	case *rows.Key:
		w.smallint(bucket(mfa.FactorID(*v))).uuid(*v)
	case *rows.Ref:
		w.uuidOrNull(*v)
	case *mfa.Bucket:
		w.smallint(int16(*v))
	case *rows.KeyBucket:
		w.smallint(int16(*v))
	case *rows.UserBucket:
		w.smallint(int16(v.Place()))
	case *rows.TallyBucket:
		w.smallint(int16(v.Bucket()))
	case *int:
		w.integer(*v)
	case *int64:
		w.bigint(*v)
	case *string:
		w.text(*v)
	case *rows.Name:
		w.name(string(*v))
	case *rows.Word:
		w.text(string(*v))
	case *rows.Owner:
		w.text(v.User)
	case *[]byte:
		w.bytea(*v)
	case *time.Time:
		w.instant(*v)
	case *rows.OptionalTime:
		w.time(time.Time(*v))
	case *rows.Expiry:
		w.time(time.Time(*v))
	case *rows.CreatedBy:
		b := v.Encode()
		if b == nil {
			w.null(pgtype.Int8OID)
		} else {
			w.bigint(v.Number())
		}
		w.bytea(b)
	case rows.Number:
		w.integer(v.Number())
	case rows.Bytes:
		w.bytea(v.Encode())
	}
}

// Column scans a field. It makes rowReader a rows.Columns.
func (r *rowReader) Column(_ string, field any) {
	switch v := field.(type) {
	case *rows.Key:
		r.next() // skips the bucket, which the id contains
		*v = r.uuid()
	case *rows.Ref:
		*v = r.uuid()
	case *mfa.Bucket:
		*v = mfa.Bucket(r.smallint())
	case *rows.KeyBucket:
		*v = rows.KeyBucket(r.smallint())
	case *rows.UserBucket:
		v.At = mfa.Bucket(r.smallint())
	case *rows.TallyBucket:
		r.next()
	case *int:
		*v = r.integer()
	case *int64:
		*v = r.bigint()
	case *string:
		*v = r.text()
	case *rows.Name:
		*v = rows.Name(r.text())
	case *rows.Word:
		*v = rows.Word(r.text())
	case *rows.Owner:
		v.User = r.text()
	case *[]byte:
		*v = r.bytea()
	case *time.Time:
		*v = r.time()
	case *rows.OptionalTime:
		*v = rows.OptionalTime(r.time())
	case *rows.Expiry:
		*v = rows.Expiry(r.time())
	case rows.Number:
		v.SetNumber(r.integer())
	case *rows.CreatedBy:
		r.next() // skips the number
		r.decode(v)
	case rows.Bytes:
		r.decode(v)
	}
}

func (r *rowReader) decode(v rows.Bytes) {
	if err := v.Decode(r.next()); err != nil && r.err == nil {
		r.err = err
	}
}

// bucket returns the column value of an id's bucket.
func bucket(id interface{ Bucket() mfa.Bucket }) int16 { return int16(id.Bucket()) }

// text returns NULL for an empty string.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// instant returns NULL for the zero time.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
