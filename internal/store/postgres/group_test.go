package postgres_test

import (
	"bytes"
	"cmp"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// stored stores a factor of a user with failures, and a challenge of the factor.
func stored(t *testing.T, s *postgres.Store) (*mfa.Factor, *mfa.Challenge, *mfa.User) {
	t.Helper()
	u := &mfa.User{UserKey: storetest.NewUser(), Failures: 1}
	f := storetest.NewFactor(u.UserKey)
	c := storetest.NewChallenge(f)
	err := s.Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(
		mfa.InsertFactor{Factor: f}, mfa.InsertChallenge{Challenge: c}, mfa.PutUser{User: u}))
	if err != nil {
		t.Fatal(err)
	}
	return f, c, u
}

// TestGroupsLockRowsInOneOrder makes a transaction lock the middle one of three rows. A
// group that needs all three must have locked the first row by then, but not the last.
func TestGroupsLockRowsInOneOrder(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	s := openAt(t, url, postgres.Options{Writers: 1})
	s.Patience(4 * time.Second)
	type row struct {
		factor    *mfa.Factor
		challenge *mfa.Challenge
		user      *mfa.User
	}
	var rows [3]row
	for i := range rows {
		rows[i].factor, rows[i].challenge, rows[i].user = stored(t, s)
	}
	byKey := func(key func(row) []byte) func(a, b row) int {
		return func(a, b row) int {
			return cmp.Or(cmp.Compare(a.factor.ID.Bucket(), b.factor.ID.Bucket()), bytes.Compare(key(a), key(b)))
		}
	}
	for _, tc := range []struct {
		name, lock string
		key        func(row) []byte
		arg        func(row) any
		read       func(row) mfa.Read
	}{
		{
			"challenges", `SELECT id FROM challenges WHERE bucket = $1 AND id = $2 FOR UPDATE`,
			func(r row) []byte { return r.challenge.ID[:] }, func(r row) any { return r.challenge.ID },
			func(r row) mfa.Read { return mfa.Read{Challenge: r.challenge.ID} },
		},
		{
			"factors", `SELECT id FROM factors WHERE bucket = $1 AND id = $2 FOR UPDATE`,
			func(r row) []byte { return r.factor.ID[:] }, func(r row) any { return r.factor.ID },
			func(r row) mfa.Read { return mfa.Read{Factor: r.factor.ID} },
		},
		{
			"factors of challenges", `SELECT id FROM factors WHERE bucket = $1 AND id = $2 FOR UPDATE`,
			func(r row) []byte { return r.factor.ID[:] }, func(r row) any { return r.factor.ID },
			func(r row) mfa.Read { return mfa.Read{Challenge: r.challenge.ID} },
		},
		{
			"users of factors", `SELECT id FROM users WHERE bucket = $1 AND id = $2 FOR UPDATE`,
			func(r row) []byte { return []byte(r.user.ID) }, func(r row) any { return r.user.ID },
			func(r row) mfa.Read { return mfa.Read{Factor: r.factor.ID} },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inOrder := slices.SortedFunc(slices.Values(rows[:]), byKey(tc.key))
			holder, other := connect(t, url), connect(t, url)
			bucket := func(r row) int16 { return int16(r.factor.ID.Bucket()) }
			exec(t, holder, `BEGIN`)
			exec(t, holder, tc.lock, bucket(inOrder[1]), tc.arg(inOrder[1]))
			locked := func(r row) bool {
				_, err := other.Exec(t.Context(), tc.lock+" NOWAIT", bucket(r), tc.arg(r))
				pgErr, ok := errors.AsType[*pgconn.PgError](err)
				if err != nil && (!ok || pgErr.Code != "55P03") {
					t.Error(err)
				}
				return err != nil
			}
			var work sync.WaitGroup
			work.Go(func() {
				defer exec(t, holder, `COMMIT`)
				awaitBlocked(t, url, 1)
				if !locked(inOrder[0]) || locked(inOrder[2]) {
					t.Error("want the one before it locked, and the one behind it not")
				}
			})
			errs := grouped(s, len(rows), func() {}, func(i int) error {
				r := tc.read(inOrder[2-i])
				r.Bucket = inOrder[2-i].factor.ID.Bucket()
				return s.Update(t.Context(), r, storetest.Writing())
			})
			work.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Errorf("Updates = %v", err)
			}
		})
	}
}

// TestGroupsStoreTheSameAsSingleUpdates writes rows with and without their optional
// fields, all in one transaction, and then changes them in another one.
func TestGroupsStoreTheSameAsSingleUpdates(t *testing.T) {
	t.Parallel()
	s := openAt(t, migrated(t), postgres.Options{Writers: 1})
	const n = 6
	var factors [n]*mfa.Factor
	var challenges [n]*mfa.Challenge
	for i := range n {
		user := storetest.NewUser()
		factors[i] = storetest.NewFactor(user)
		challenges[i] = storetest.NewChallenge(factors[i])
		switch i % 3 {
		case 0: // all optional fields
			challenges[i].Messages = []delivery.Record{{Provider: "p", ID: "1", State: delivery.Sent, Sealed: []byte("text"), At: factors[i].CreatedAt, UpdatedAt: factors[i].CreatedAt}}
		case 1: // no optional fields
			f, c := factors[i], challenges[i]
			f.User, f.Sealed, f.Label, f.Replay, f.LockedUntil = "", nil, nil, mfa.ReplayKey{}, time.Time{}
			c.CodeMAC, c.SealedCode, c.Messages, c.VerifiedAt = nil, nil, nil, time.Time{}
		}
	}
	check := func(errs []error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			id := challenges[i].ID
			got := view(t, s, mfa.Read{Bucket: id.Bucket(), Challenge: id})
			if !reflect.DeepEqual(got.Factor, factors[i]) || !reflect.DeepEqual(got.Challenge, challenges[i]) {
				t.Errorf("%d is\n%+v\n%+v\nwant\n%+v\n%+v", i, got.Factor, got.Challenge, factors[i], challenges[i])
			}
		}
	}
	check(grouped(s, n, func() {}, func(i int) error {
		return s.Update(t.Context(), mfa.Read{Bucket: factors[i].ID.Bucket()}, storetest.Writing(
			mfa.InsertFactor{Factor: factors[i]}, mfa.InsertChallenge{Challenge: challenges[i]}, mfa.AppendEvent{Event: storetest.NewEvent(factors[i])}))
	}))
	later := factors[0].CreatedAt.Add(time.Minute)
	check(grouped(s, n, func() {}, func(i int) error {
		id := challenges[i].ID
		return s.Update(t.Context(), mfa.Read{Bucket: id.Bucket(), Challenge: id}, func(tx *mfa.Tx) error {
			f, c := tx.Factor, tx.Challenge
			// The factor changes twice, and the last change must be stored. Another row
			// is inserted and deleted.
			f.Failures = 1000
			first := *f
			f.Failures, f.LastStep, f.UpdatedAt = i+1, int64(i), later
			c.Attempts, c.UpdatedAt = i, later
			if i%2 == 0 {
				f.LockedUntil, f.LastUsedAt, c.VerifiedAt, c.SealedCode = later, later, later, nil
			} else {
				f.LockedUntil, f.SuspendedAt, f.Sealed, c.SealedCode = time.Time{}, later, []byte("again"), []byte("again")
			}
			passing := storetest.NewChallenge(f)
			tx.Writes = []mfa.Write{
				first.Update(), mfa.InsertChallenge{Challenge: passing}, f.Update(),
				c.Update(), mfa.DeleteChallenge{ID: passing.ID},
			}
			factors[i], challenges[i] = f, c
			return nil
		})
	}))
}
