package storetest

import (
	"errors"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// newRecovery returns a set of recovery codes that is not stored yet.
func newRecovery(u mfa.UserKey) *mfa.Factor {
	f := NewFactor(u)
	f.Type = mfa.RecoveryCodes
	return f
}

func othersKeepOrder(t *testing.T, s mfa.Store) {
	u := NewUser()
	b := u.Bucket()
	all := storeFactors(t, s, u, 5)
	c := NewChallenge(&all[2])
	store(t, s, b, mfa.InsertChallenge{Challenge: c}, mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 3}})
	missing := newID(morning, b)
	others := []mfa.FactorID{all[4].ID, all[2].ID, missing, all[0].ID}
	for name, r := range map[string]mfa.Read{
		"of a challenge": {Bucket: b, Challenge: c.ID, Others: others},
		"of a user":      {Bucket: b, User: u, Others: others},
		"without either": {Bucket: b, Others: others},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rows := range readBoth(t, s, r) {
				if len(rows.Others) != len(others) || rows.Others[2] != nil {
					t.Fatalf("read %v; want four, the third of which is nil", rows.Others)
				}
				same(t, rows.Others[0], &all[4])
				same(t, rows.Others[1], &all[2])
				same(t, rows.Others[3], &all[0])
				if name != "without either" && (rows.User == nil || rows.User.Failures != 3) {
					t.Errorf("the user is %+v; want 3 failures", rows.User)
				}
				if r.Challenge != (mfa.ChallengeID{}) {
					same(t, rows.Challenge, c)
					same(t, rows.Factor, &all[2])
				}
			}
		})
	}
}

func recoveryIsFoundByUser(t *testing.T, s mfa.Store) {
	u, other := NewUser(), NewUser()
	storeFactors(t, s, u, 3)
	storeFactors(t, s, other, 1)
	set := newRecovery(u)
	store(t, s, u.Bucket(), mfa.InsertFactor{Factor: set})
	storeFactors(t, s, u, 2)
	for _, rows := range readBoth(t, s, mfa.Read{Bucket: u.Bucket(), Recovery: u}) {
		same(t, rows.Recovery, set)
	}
	for _, nobody := range []mfa.UserKey{other, {Environment: u.Environment + 1, ID: u.ID}} {
		for _, rows := range readBoth(t, s, mfa.Read{Bucket: nobody.Bucket(), Recovery: nobody}) {
			same(t, rows.Recovery, nil)
		}
	}
	err := s.Update(t.Context(), mfa.Read{Bucket: u.Bucket(), Factor: set.ID}, Writing(mfa.DeleteFactor{ID: set.ID}))
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range readBoth(t, s, mfa.Read{Bucket: u.Bucket(), Recovery: u}) {
		same(t, rows.Recovery, nil)
	}
}

// oneRecoverySet creates the set of one user many times at once.
func oneRecoverySet(t *testing.T, s mfa.Store) {
	u := NewUser()
	taken := errors.New("another set is stored")
	errs := together(32, func(int) error {
		set := newRecovery(u)
		return s.Update(t.Context(), mfa.Read{Bucket: u.Bucket(), User: u, Recovery: u}, func(tx *mfa.Tx) error {
			if tx.Recovery != nil {
				return taken
			}
			tx.Writes = []mfa.Write{mfa.InsertFactor{Factor: set}}
			return nil
		})
	})
	stored := 0
	for _, err := range errs {
		switch {
		case err == nil:
			stored++
		case !errors.Is(err, taken):
			t.Errorf("an Update: %v; want %v", err, taken)
		}
	}
	if found := list(t, s, mfa.FactorQuery{User: u, Limit: 10}); stored != 1 || len(found) != 1 {
		t.Errorf("%d Updates stored a set, and %d are stored; want 1", stored, len(found))
	}
}

// phoneLimitIsExact counts sets of recovery codes of one user many times at once. At the start neither the
// limit nor the user is stored, and each Update also reads the set.
func phoneLimitIsExact(t *testing.T, s mfa.Store) {
	const allowed = 10
	u := NewUser()
	b, set := u.Bucket(), newRecovery(u)
	store(t, s, b, mfa.InsertFactor{Factor: set})
	key := newKey()
	full := errors.New("as many as are allowed")
	errs := together(32, func(i int) error {
		r := mfa.Read{Bucket: b, Phone: key, Factor: set.ID}
		if i%2 == 0 {
			r = mfa.Read{Bucket: b, Phone: key, User: u, Recovery: u}
		}
		return s.Update(t.Context(), r, func(tx *mfa.Tx) error {
			p := tx.Phone
			if p == nil {
				p = &delivery.PhoneLimit{Bucket: b, Key: key, ExpiresAt: morning}
			}
			if len(p.Sends) == allowed {
				return full
			}
			p.Sends = append(p.Sends, delivery.Send{At: morning})
			tx.Writes = []mfa.Write{mfa.PutPhone{PhoneLimit: p}}
			return nil
		})
	})
	counted := 0
	for _, err := range errs {
		switch {
		case err == nil:
			counted++
		case !errors.Is(err, full):
			t.Errorf("an Update: %v; want %v", err, full)
		}
	}
	if p := view(t, s, mfa.Read{Bucket: b, Phone: key}).Phone; counted != allowed || p == nil || len(p.Sends) != allowed {
		t.Errorf("%d Updates counted, and the limit is %+v; want %d", counted, p, allowed)
	}
}

func listLeavesOutType(t *testing.T, s mfa.Store) {
	u := NewUser()
	want := storeFactors(t, s, u, 3)
	store(t, s, u.Bucket(), mfa.InsertFactor{Factor: newRecovery(u)})
	want = append(want, storeFactors(t, s, u, 3)...)
	for _, q := range []mfa.FactorQuery{
		{User: u, Without: mfa.RecoveryCodes, Ascending: true, Limit: 10},
		{User: u, Without: mfa.SMS, Ascending: true, Limit: 10},
		{User: u, Ascending: true, Limit: 10},
	} {
		found := list(t, s, q)
		if q.Without != mfa.RecoveryCodes {
			if len(found) != 7 {
				t.Errorf("without %q: %d factors; want 7", q.Without, len(found))
			}
			continue
		}
		sameList(t, found, want)
		q.Ascending, q.Limit, q.After = false, 4, want[5].ID
		if found = list(t, s, q); len(found) != 4 || found[3].ID != want[1].ID {
			t.Errorf("newest first after the last: %v", found)
		}
	}
}

// oneUserOfARecoveryCode uses one code in challenges of different factors of one user at
// once, half of them in challenges of the codes themselves and without a challenge.
func oneUserOfARecoveryCode(t *testing.T, s mfa.Store) {
	const callers = 64
	u := NewUser()
	b, set := u.Bucket(), newRecovery(u)
	store(t, s, b, mfa.InsertFactor{Factor: set})
	reads := make([]mfa.Read, callers)
	for i := range reads {
		f := set
		if i%2 == 0 {
			f = storeFactor(t, s, u)
		}
		c := NewChallenge(f)
		store(t, s, b, mfa.InsertChallenge{Challenge: c})
		reads[i] = mfa.Read{Bucket: b, Challenge: c.ID, Others: []mfa.FactorID{set.ID}}
		if i%4 == 3 {
			reads[i] = mfa.Read{Bucket: b, User: u, Others: []mfa.FactorID{set.ID}}
		}
	}
	found := make([]bool, callers)
	errs := together(callers, func(i int) error {
		return s.Update(t.Context(), reads[i], func(tx *mfa.Tx) error {
			codes := tx.Others[0]
			if found[i] = codes.LastStep == 0; found[i] {
				codes.LastStep = 1
				tx.Writes = []mfa.Write{codes.Update()}
				if c := tx.Challenge; c != nil {
					c.VerifiedAt = morning
					tx.Writes = append(tx.Writes, c.Update())
				}
				return nil
			}
			tx.Writes = []mfa.Write{mfa.PutUser{User: &mfa.User{UserKey: u, Failures: 1}}}
			if tx.User != nil {
				tx.User.Failures++
				tx.Writes = []mfa.Write{mfa.PutUser{User: tx.User}}
			}
			return nil
		})
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range found {
		if f {
			n++
		}
	}
	user := view(t, s, mfa.Read{Bucket: b, User: u}).User
	if n != 1 || user == nil || user.Failures != callers-1 {
		t.Errorf("%d uses found the code, and the user has %+v; want 1 and %d failures", n, user, callers-1)
	}
}
