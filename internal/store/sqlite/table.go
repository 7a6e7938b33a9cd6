package sqlite

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/rows"
)

// A table makes its statements, and binds and scans its rows, from one description.
type table[R any] struct {
	describe func(rows.Columns, *R)

	columns string // for a SELECT statement
	insert  string
	put     string // insert a row, or replace the row with the same key
	update  string // set all columns except the key
}

// The tables and the key columns of each.
var (
	factors         = newTable("factors", rows.Factor, "hi", "lo")
	factorStates    = newTable("factors", rows.UpdateFactor, "hi", "lo")
	challenges      = newTable("challenges", rows.Challenge, "hi", "lo")
	challengeStates = newTable("challenges", rows.UpdateChallenge, "hi", "lo")
	users           = newTable("users", rows.User, "environment", "id")
	phones          = newTable("phones", rows.Phone, "key")
	tallies         = newTable("tallies", rows.Counter, "environment", "name")
	messages        = newTable("messages", rows.Message, "key")
	bypasses        = newTable("bypasses", rows.Bypass, "bucket", "key")
	replays         = newTable("replays", rows.Replay, "bucket", "key")
	contexts        = newTable("event_contexts", rows.EventContext, "hi", "lo")
	deletedFactors  = newTable("deleted_factors", rows.DeletedFactor, "hi", "lo")
	erasures        = newTable("erasures", rows.Erasure, "bucket", "person")
	eventRows       = newTable("events", rows.Event, "environment", "hi", "lo")
)

func newTable[R any](name string, describe func(rows.Columns, *R), key ...string) *table[R] {
	var n names
	describe(&n, new(R))
	var marks, replace, set, where []string
	for i, column := range n.all {
		mark := fmt.Sprintf("?%d", i+1)
		marks = append(marks, mark)
		if slices.Contains(key, column) {
			where = append(where, column+" = "+mark)
			continue
		}
		set = append(set, column+" = "+mark)
		replace = append(replace, column+" = excluded."+column)
	}
	t := &table[R]{describe: describe, columns: strings.Join(n.all, ", ")}
	t.insert = "INSERT INTO " + name + " (" + t.columns + ") VALUES (" + strings.Join(marks, ", ") + ")"
	t.put = t.insert + " ON CONFLICT DO UPDATE SET " + strings.Join(replace, ", ")
	t.update = "UPDATE " + name + " SET " + strings.Join(set, ", ") + " WHERE " + strings.Join(where, " AND ")
	return t
}

// of returns the columns for a SELECT statement in which the table has the given alias.
func (t *table[R]) of(alias string) string {
	return alias + "." + strings.ReplaceAll(t.columns, ", ", ", "+alias+".")
}

// bind binds the values of a row to s.
func (t *table[R]) bind(s *statement, r *R) *statement {
	t.describe(s, r)
	return s
}

// scan reads a row of t.columns.
func (t *table[R]) scan(row *rowReader) (*R, error) {
	r := new(R)
	t.describe(row, r)
	return r, row.err
}

// one reads the row of a query, or returns nil if the query has no row.
func (t *table[R]) one(query *statement) (found *R, err error) {
	err = query.each(func(row *rowReader) (err error) {
		found, err = t.scan(row)
		return err
	})
	return found, err
}

// list appends the rows of a query to found.
func (t *table[R]) list(query *statement, found *[]R) error {
	return query.each(func(row *rowReader) error {
		r, err := t.scan(row)
		*found = append(*found, *r)
		return err
	})
}

// names collects column names. An id has two columns.
type names struct {
	all    []string
	hasKey bool
}

// Column implements rows.Columns.
func (n *names) Column(name string, field any) {
	switch field.(type) {
	case *rows.Key:
		n.hasKey = true
		n.all = append(n.all, "hi", "lo")
	case *rows.Ref:
		n.all = append(n.all, name+"_hi", name+"_lo")
	case *rows.Owner:
		n.all = append(n.all, "user_hash", name)
	case *rows.CreatedBy:
		n.all = append(n.all, rows.CreatedKey, name)
	case *rows.KeyBucket, *rows.TallyBucket:
	case *time.Time, *rows.OptionalTime:
		if n.hasKey { // times are relative to the time in the key
			name = strings.TrimSuffix(name, "_at")
		}
		n.all = append(n.all, name)
	case *mfa.Bucket, *rows.UserBucket, *int, *int64, *string, *rows.Name, *rows.Word, *[]byte, *rows.Expiry, rows.Number, rows.Bytes:
		n.all = append(n.all, name)
	default:
		panic(fmt.Sprintf("sqlite: column %s has a field of type %T", name, field))
	}
}

// Column binds a field. It implements rows.Columns.
func (s *statement) Column(_ string, field any) {
	switch v := field.(type) {
	case *rows.Key:
		s.key = *v
		s.id(*v)
	case *rows.Ref:
		s.idOrNull(*v)
	case *rows.Owner:
		if v.User == "" {
			s.null().null()
			return
		}
		s.int(userHash(int64(v.Environment), v.User)).string(v.User)
	case *rows.KeyBucket, *rows.TallyBucket:
	case *rows.CreatedBy:
		if b := v.Encode(); b != nil {
			s.int(v.Number()).blob(b)
			return
		}
		s.null().null()
	case *rows.UserBucket:
		if v.ExpiresAt.IsZero() {
			s.null()
			return
		}
		s.int(int64(v.At))
	case *mfa.Bucket:
		s.int(int64(*v))
	case *int:
		s.int(int64(*v))
	case *int64:
		s.int(*v)
	case *string:
		s.text(*v)
	case *rows.Name:
		s.string(string(*v))
	case *rows.Word:
		s.word(string(*v))
	case *[]byte:
		s.blob(*v)
	case *time.Time:
		s.instant(*v)
	case *rows.OptionalTime:
		s.instant(time.Time(*v))
	case *rows.Expiry:
		if time.Time(*v).IsZero() {
			s.null()
			return
		}
		s.time(time.Time(*v))
	case rows.Number:
		s.int(int64(v.Number()))
	case rows.Bytes:
		s.blob(v.Encode())
	}
}

// instant binds a time of a row: relative to the time in its key, or since 1970 if it
// has no key.
func (s *statement) instant(t time.Time) {
	if s.key == (rows.Key{}) {
		s.time(t)
		return
	}
	s.since(s.key, t)
}

// Column scans a field. It implements rows.Columns.
func (c *rowReader) Column(_ string, field any) {
	switch v := field.(type) {
	case *rows.Key:
		*v = c.id()
		c.key = *v
	case *rows.Ref:
		*v = c.id()
	case *rows.Owner:
		c.next() // skips the hash
		v.User = c.text()
	case *rows.CreatedBy:
		c.next() // skips the number
		c.decode(v)
	case *rows.KeyBucket, *rows.TallyBucket:
	case *rows.UserBucket:
		v.At = mfa.Bucket(c.int())
	case *mfa.Bucket:
		*v = mfa.Bucket(c.int())
	case *int:
		*v = int(c.int())
	case *int64:
		*v = c.int()
	case *string:
		*v = c.text()
	case *rows.Name:
		*v = rows.Name(c.text())
	case *rows.Word:
		*v = rows.Word(c.word())
	case *[]byte:
		*v = c.blob()
	case *time.Time:
		*v = c.instant()
	case *rows.OptionalTime:
		*v = rows.OptionalTime(c.instant())
	case *rows.Expiry:
		*v = rows.Expiry(c.time())
	case rows.Number:
		v.SetNumber(int(c.int()))
	case rows.Bytes:
		c.decode(v)
	}
}

func (c *rowReader) decode(v rows.Bytes) {
	if err := v.Decode(c.ColumnRawBlob(c.next())); err != nil && c.err == nil {
		c.err = err
	}
}

// instant reads a value that statement.instant bound.
func (c *rowReader) instant() time.Time {
	if c.key == (rows.Key{}) {
		return c.time()
	}
	return c.since(c.key)
}
