package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ncruces/go-sqlite3"
)

// insertFilling writes a factor with the column sizes of an enrolled one, the
// model. No request opens its sealed value or looks up its user: these rows only
// make the store larger.
const insertFilling = `INSERT INTO factors (hi, lo, environment, type, user_hash, user_id, issuer, account, sealed, last_step, failures, created, updated)
	SELECT ?1, ?2, environment, type, iif(user_hash IS NULL, NULL, random() >> 32), user_id || printf('%020d', ?3), issuer, account,
		randomblob(length(sealed)), 0, 0, created, updated
	FROM temp.model`

// fill writes n factors of a type into the file of a store, between the enrolled
// ones: rows lie in the order of their ids, so the requested factors are spread over
// the whole file. The rows are written in order, as they would be over the years,
// and their index grows with them.
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
		CREATE TEMP TABLE enrolled AS SELECT * FROM factors ORDER BY hi, lo;
		DELETE FROM factors`)
	if err != nil {
		return err
	}
	model, _, err := db.Prepare(`CREATE TEMP TABLE model AS
		SELECT environment, type, user_hash, substr(user_id, 1, 11) AS user_id, issuer, account, sealed, created, updated
		FROM enrolled WHERE type = ? LIMIT 1`)
	if err != nil {
		return err
	}
	if err := errors.Join(model.BindInt(1, kindNumbers[kind]), model.Exec(), model.Close()); err != nil {
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
	return db.Exec(`COMMIT`)
}

// kindNumbers are the types of factor as they are stored.
var kindNumbers = map[string]int{"totp": 1, "generic_otp": 3}

func enrolledIDs(db *sqlite3.Conn) (ids []id, err error) {
	s, _, err := db.Prepare(`SELECT hi, lo FROM temp.enrolled ORDER BY hi, lo`)
	if err != nil {
		return nil, err
	}
	for s.Step() {
		ids = append(ids, idOf(s.ColumnInt64(0), s.ColumnInt64(1)))
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
			hi, lo := between.stored()
			if err := errors.Join(filling.BindInt64(1, hi), filling.BindInt64(2, lo), filling.BindInt(3, written), filling.Exec()); err != nil {
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

// turned is the bit of each half that is stored turned over.
const turned = 1 << 63

// idOf returns the id of two stored numbers.
func idOf(hi, lo int64) id { return id{uint64(hi) ^ turned, uint64(lo) ^ turned} }

func (a id) stored() (hi, lo int64) { return int64(a.hi ^ turned), int64(a.lo ^ turned) }

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
