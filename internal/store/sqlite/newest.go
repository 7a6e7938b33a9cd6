package sqlite

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Every other row is written together with one of these rows.
const (
	newestFactor    = `SELECT hi, lo FROM factors ORDER BY hi DESC, lo DESC LIMIT 1`
	newestChallenge = `SELECT hi, lo FROM challenges ORDER BY hi DESC, lo DESC LIMIT 1`
)

// Newest returns the creation time of the newest factor, challenge or event, or the
// zero time for a store without any.
func (s *Store) Newest(ctx context.Context) (at time.Time, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		at, err = newest(c)
		return err
	})
	return at, err
}

func newest(c *conn) (at time.Time, err error) {
	for _, sql := range []string{newestFactor, newestChallenge} {
		err := c.prepare(sql).each(func(row *rowReader) error {
			if made := mfa.TimeOf(row.id()); made.After(at) {
				at = made
			}
			return nil
		})
		if err != nil {
			return at, err
		}
	}
	last, err := lastEvent(c)
	if made := mfa.TimeOf(last); last != (mfa.EventID{}) && made.After(at) {
		at = made
	}
	return at, err
}
