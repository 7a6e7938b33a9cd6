package mfa_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// A meeting is a Store whose second Update of each verification waits for that of the other node:
// then both nodes know that they need the factors of the user.
type meeting struct {
	mfa.Store
	updates atomic.Int32
	both    *sync.WaitGroup
}

func (m *meeting) Update(ctx context.Context, r mfa.Read, fn func(*mfa.Tx) error) error {
	if r.Challenge != (mfa.ChallengeID{}) && m.updates.Add(1) == 2 {
		m.both.Done()
		m.both.Wait()
	}
	return m.Store.Update(ctx, r, fn)
}

// TestCredentialIsRegisteredOnce registers one credential for two factors of a user, on two nodes at
// the same time. A browser does not do this, because it gets the list of excluded credentials.
func TestCredentialIsRegisteredOnce(t *testing.T) {
	for name, open := range map[string]func(t *testing.T, w *fixture) (a, b mfa.Store){
		"sqlite": func(t *testing.T, w *fixture) (a, b mfa.Store) {
			other, err := sqlite.Open(w.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := other.Close(); err != nil {
					t.Error(err)
				}
			})
			return w.store, other
		},
		"postgres": func(t *testing.T, _ *fixture) (a, b mfa.Store) {
			url := pgtest.Start(t).Database(t)
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Fatal(err)
			}
			node := func() mfa.Store {
				s, err := postgres.Open(t.Context(), url, postgres.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return s
			}
			return node(), node()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{})
			a, b := open(t, w)
			for range 10 {
				var both sync.WaitGroup
				both.Add(2)
				nodes := []*mfa.Service{w.serviceOver(&meeting{Store: a, both: &both}, mfa.Options{}), w.serviceOver(&meeting{Store: b, both: &both}, mfa.Options{})}
				var key *passkeytest.Passkey
				var factors [2]mfa.FactorID
				var challenges [2]mfa.ChallengeID
				var responses [2]string
				for i, node := range nodes {
					e, err := node.Enroll(t.Context(), sandbox, mfa.EnrollParams{Type: mfa.WebAuthn, User: "ada"}, nil)
					if err != nil {
						t.Fatal(err)
					}
					c, err := node.Challenge(t.Context(), sandbox, e.ID, mfa.ChallengeParams{}, nil)
					if err != nil {
						t.Fatal(err)
					}
					factors[i], challenges[i] = e.ID, c.ID
					if key == nil {
						var response []byte
						key, response = passkeytest.Create(t, []byte(c.Code.Reveal()), page)
						responses[i] = string(response)
					} else {
						responses[i] = string(key.CreateAgain(t, []byte(c.Code.Reveal()), page))
					}
				}
				var valid [2]bool
				var errs [2]error
				var racers sync.WaitGroup
				for i, node := range nodes {
					racers.Go(func() {
						var v mfa.Verification
						v, errs[i] = node.Verify(t.Context(), sandbox, challenges[i], mfa.VerifyParams{Code: responses[i]}, nil)
						valid[i] = v.Valid
					})
				}
				racers.Wait()
				if errs[0] != nil || errs[1] != nil {
					t.Fatal(errs)
				}
				if valid[0] == valid[1] {
					t.Fatalf("the two registrations of one credential have the results %v; want one valid", valid)
				}
				for i, node := range nodes {
					f, err := node.Factor(t.Context(), sandbox, factors[i])
					if err != nil || (f.Passkey.Credential != nil) != valid[i] {
						t.Fatalf("after the result %v, the credential is %v, %v", valid[i], f.Passkey.Credential, err)
					}
					if err := node.DeleteFactor(t.Context(), sandbox, factors[i]); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
