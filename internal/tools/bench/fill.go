package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ncruces/go-sqlite3"
)

// insertFilling writes a factor with the sizes of an enrolled one, the model.
// Nothing opens what is "sealed" in it: these rows are only in the way of others.
const insertFilling = `INSERT INTO factors (id, environment, type, user_id, issuer, account, sealed, last_step, failures, locked_until, created_at, updated_at)
	SELECT ?1, environment, type, user_id || printf('%020d', ?2), issuer, account, randomblob(length(sealed)), 0, 0, 0, created_at, updated_at
	FROM temp.model`

// fill writes n factors of a type into the file of a store, between those that are enrolled
// there: rows lie in the order of their ids, so that those that are asked for are
// then spread over all. All are written in order, as they are when they come over
// the years.
func fill(ctx context.Context, path, kind string, n int) (err error) {
	if n == 0 {
		return nil
	}
	db, err := sqlite3.OpenContext(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// A fill that is cut short is thrown away.
	err = db.Exec(`PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -65536; BEGIN;
		CREATE TEMP TABLE enrolled AS SELECT * FROM factors ORDER BY id;
		DELETE FROM factors;
		DROP INDEX factors_by_user`)
	if err != nil {
		return err
	}
	model, _, err := db.Prepare(`CREATE TEMP TABLE model AS
		SELECT environment, type, substr(user_id, 1, 11) AS user_id, issuer, account, sealed, created_at, updated_at
		FROM enrolled WHERE type = ? LIMIT 1`)
	if err != nil {
		return err
	}
	if err := errors.Join(model.BindText(1, kind), model.Exec(), model.Close()); err != nil {
		return err
	}
	ids, err := enrolledIDs(db)
	if err != nil {
		return err
	}
	if err := interleave(ctx, db, ids, n); err != nil {
		return err
	}
	// The server turns to its write-ahead log again when it opens the file.
	return db.Exec(`CREATE INDEX factors_by_user ON factors (environment, user_id, id) WHERE user_id IS NOT NULL; COMMIT`)
}

func enrolledIDs(db *sqlite3.Conn) (ids []id, err error) {
	s, _, err := db.Prepare(`SELECT id FROM temp.enrolled ORDER BY id`)
	if err != nil {
		return nil, err
	}
	for s.Step() {
		ids = append(ids, idOf(s.ColumnRawBlob(0)))
	}
	err = errors.Join(s.Err(), s.Close())
	if err == nil && len(ids) == 0 {
		err = errors.New("no factor is enrolled to fill around")
	}
	return ids, err
}

// interleave writes the enrolled factors and, before each, its share of n others.
func interleave(ctx context.Context, db *sqlite3.Conn, ids []id, n int) (err error) {
	filling, _, err := db.Prepare(insertFilling)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, filling.Close()) }()
	back, _, err := db.Prepare(`INSERT INTO factors SELECT * FROM temp.enrolled WHERE rowid = ?`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	before := ids[0].minus(id{lo: 1 << 40})
	written := 0
	for k, enrolled := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		share := n*(k+1)/len(ids) - written
		between := before
		step := enrolled.minus(before).over(uint64(share) + 1)
		if step == (id{}) {
			return fmt.Errorf("%d ids do not fit between two that were enrolled", share)
		}
		for range share {
			between = between.plus(step)
			written++
			blob := between.bytes()
			if err := errors.Join(filling.BindBlob(1, blob[:]), filling.BindInt(2, written), filling.Exec()); err != nil {
				return err
			}
		}
		if err := errors.Join(back.BindInt(1, k+1), back.Exec()); err != nil {
			return err
		}
		before = enrolled
	}
	return nil
}

// An id is the 16 bytes of an id as a number.
type id struct{ hi, lo uint64 }

func idOf(b []byte) id {
	return id{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (a id) bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return b
}

func (a id) plus(b id) id {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	return id{a.hi + b.hi + carry, lo}
}

func (a id) minus(b id) id {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	return id{a.hi - b.hi - borrow, lo}
}

func (a id) over(n uint64) id {
	lo, _ := bits.Div64(a.hi%n, a.lo, n)
	return id{a.hi / n, lo}
}
