package postgres_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestCopiesOfARequestUnderAnyIsolation sends copies of requests with an idempotency key to
// two nodes at once. Whatever the database sets for its sessions, each request creates one
// challenge. The lock of the factor, which no copy changes, must keep the copies apart.
func TestCopiesOfARequestUnderAnyIsolation(t *testing.T) {
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			url := isolated(migrated(t), isolation)
			nodes := []*postgres.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
			f := storetest.NewFactor(storetest.NewUser())
			if err := nodes[0].Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.InsertFactor{Factor: f})); err != nil {
				t.Fatal(err)
			}
			errExists := errors.New("the challenge exists")
			const requests, copies = 12, 6
			var created [requests]atomic.Int32
			var work sync.WaitGroup
			for i := range requests * copies {
				work.Go(func() {
					c := storetest.NewChallenge(f)
					c.CreatedBy.Key = mfa.ReplayKey{0: 1, 1: byte(i % requests)}
					err := nodes[i%len(nodes)].Update(t.Context(), mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID, Created: c.CreatedBy.Key}, func(tx *mfa.Tx) error {
						if tx.Created != nil {
							return errExists
						}
						tx.Writes = []mfa.Write{mfa.InsertChallenge{Challenge: c}}
						return nil
					})
					switch {
					case err == nil:
						created[i%requests].Add(1)
					case !errors.Is(err, errExists):
						t.Errorf("Update = %v", err)
					}
				})
			}
			work.Wait()
			for i := range created {
				if n := created[i].Load(); n != 1 {
					t.Errorf("request %d created %d challenges; want 1", i, n)
				}
			}
		})
	}
}
