package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// countsFactors checks the count of a user's factors, and that racing Updates which count
// them see one another.
func countsFactors(t *testing.T, s mfa.Store) {
	ada, grace := mfa.UserKey{Environment: 1, ID: "ada"}, mfa.UserKey{Environment: 1, ID: "grace"}
	const most = 3
	insert := func(u mfa.UserKey) error {
		f := NewFactor(u)
		return s.Update(t.Context(), mfa.Read{Bucket: u.Bucket(), User: u, Owned: mfa.Owned{User: u, Most: most}}, func(tx *mfa.Tx) error {
			if tx.Owned >= most {
				return errRefused
			}
			tx.Writes = append(tx.Writes, mfa.InsertFactor{Factor: f})
			return nil
		})
	}
	stored := map[mfa.UserKey]int{}
	users := []mfa.UserKey{ada, grace, {Environment: 2, ID: "ada"}}
	errs := together(8*len(users), func(i int) error { return insert(users[i%len(users)]) })
	for i, err := range errs {
		switch {
		case err == nil:
			stored[users[i%len(users)]]++
		case !errors.Is(err, errRefused):
			t.Fatal(err)
		}
	}
	for _, u := range users {
		found, err := s.Factors(t.Context(), mfa.FactorQuery{User: u, Limit: 100})
		if err != nil || stored[u] != most || len(found) != most {
			t.Errorf("%v: %d inserts succeeded and %d factors are stored, %v; want %d", u, stored[u], len(found), err, most)
		}
	}
	if err := s.Update(t.Context(), mfa.Read{Bucket: ada.Bucket(), Owned: mfa.Owned{User: ada, Most: 2}}, func(tx *mfa.Tx) error {
		if tx.Owned != 2 {
			t.Errorf("Owned = %d; want no more than 2", tx.Owned)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// oneChangesFirst has racing Updates, each of which reads all factors of a user and changes one of
// them, unless another one is changed already.
func oneChangesFirst(t *testing.T, s mfa.Store) {
	ada := mfa.UserKey{Environment: 1, ID: "ada"}
	b := ada.Bucket()
	for _, u := range []mfa.UserKey{{Environment: 1, ID: "grace"}, {Environment: 2, ID: "ada"}} {
		storeFactor(t, s, u)
	}
	for round := range 5 {
		var all []*mfa.Factor
		for range 8 {
			all = append(all, storeFactor(t, s, ada))
		}
		changed := 0
		for _, err := range together(len(all), func(i int) error {
			r := mfa.Read{Bucket: b, Factor: all[i].ID, Owned: mfa.Owned{User: ada, All: true}}
			return s.Update(t.Context(), r, func(tx *mfa.Tx) error {
				var found []mfa.FactorID
				for _, f := range tx.AllOwned {
					if found = append(found, f.ID); f.Sealed != nil {
						return errRefused
					}
				}
				if want := idsOf(all); !slices.Equal(found, want) {
					t.Errorf("the factors of the user are %v; want %v", found, want)
				}
				tx.Factor.Sealed = []byte("sealed")
				tx.Writes = append(tx.Writes, tx.Factor.Update())
				return nil
			})
		}) {
			switch {
			case err == nil:
				changed++
			case !errors.Is(err, errRefused):
				t.Fatal(err)
			}
		}
		if changed != 1 {
			t.Errorf("round %d: %d factors were changed; want 1", round, changed)
		}
		for _, f := range all {
			store(t, s, b, mfa.DeleteFactor{ID: f.ID})
		}
	}
	if err := s.Update(t.Context(), mfa.Read{Bucket: b, Owned: mfa.Owned{User: ada, All: true, Most: 1}}, func(tx *mfa.Tx) error {
		if tx.AllOwned != nil || tx.Owned != 0 {
			t.Errorf("a user without factors has %v", tx.AllOwned)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func idsOf(all []*mfa.Factor) (ids []mfa.FactorID) {
	for _, f := range all {
		ids = append(ids, f.ID)
	}
	return ids
}

var errRefused = errors.New("refused")

// proofBringsFactor checks that a read can bring a second challenge, and its factor.
func proofBringsFactor(t *testing.T, s mfa.Store) {
	ada := mfa.UserKey{Environment: 1, ID: "ada"}
	f, other := NewFactor(ada), NewFactor(ada)
	c := NewChallenge(other)
	b := ada.Bucket()
	store(t, s, b, mfa.InsertFactor{Factor: f}, mfa.InsertFactor{Factor: other}, mfa.InsertChallenge{Challenge: c})
	read := mfa.Read{Bucket: b, Factor: f.ID, Proof: c.ID}
	check := func(rows mfa.Rows) {
		t.Helper()
		if rows.Factor == nil || rows.Factor.ID != f.ID || rows.Challenge != nil {
			t.Errorf("the factor is %+v, the challenge %+v", rows.Factor, rows.Challenge)
		}
		if rows.Proof == nil || rows.Proof.ID != c.ID || rows.ProofFactor == nil || rows.ProofFactor.ID != other.ID {
			t.Errorf("the proof is %+v of %+v", rows.Proof, rows.ProofFactor)
		}
	}
	rows, err := s.View(t.Context(), read)
	if err != nil {
		t.Fatal(err)
	}
	check(rows)
	if err := s.Update(t.Context(), read, func(tx *mfa.Tx) error { check(tx.Rows); return nil }); err != nil {
		t.Fatal(err)
	}
	// The other factor goes, and with it the proof.
	store(t, s, b, mfa.DeleteFactor{ID: other.ID})
	if err := s.Update(t.Context(), read, func(tx *mfa.Tx) error {
		if tx.Proof != nil || tx.ProofFactor != nil {
			t.Errorf("the proof of a deleted factor is %+v", tx.Proof)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
