package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestFlights counts how often a store waits for its server after its statements are
// prepared.
func TestFlights(t *testing.T) {
	s, p := openProxied(t, migrated(t), postgres.Options{Writers: 1})
	f := storeFactor(t, s)
	c, err := insertChallenge(t.Context(), s, f)
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused by fn")
	for _, tc := range []struct {
		name string
		do   func() error
		want [][2]string // first and last statement of each flight
	}{
		{"an Update", func() error {
			return s.Update(t.Context(), readChallenge(c.ID), func(tx *mfa.Tx) error {
				tx.Writes = []mfa.Write{
					tx.Challenge.Update(), tx.Factor.Update(),
					mfa.AppendEvent{Event: storetest.NewEvent(f)},
				}
				return nil
			})
		}, [][2]string{{"BEGIN", "SELECT"}, {"UPDATE", "COMMIT"}}},
		{"an Update that writes nothing", func() error {
			return s.Update(t.Context(), readChallenge(c.ID), func(*mfa.Tx) error { return nil })
		}, [][2]string{{"BEGIN", "SELECT"}, {"ROLLBACK", "ROLLBACK"}}},
		{"an Update that is refused", func() error {
			err := s.Update(t.Context(), readChallenge(c.ID), func(*mfa.Tx) error { return refused })
			if !errors.Is(err, refused) {
				return err
			}
			return nil
		}, [][2]string{{"BEGIN", "SELECT"}, {"ROLLBACK", "ROLLBACK"}}},
		{"a View", func() error {
			_, err := s.View(t.Context(), readChallenge(c.ID))
			return err
		}, [][2]string{{"SELECT", "SELECT"}}},
		{"a View of two kinds of rows", func() error {
			r := readFactor(f.ID)
			r.Replay = storetest.NewReplay(r.Bucket).Key
			_, err := s.View(t.Context(), r)
			return err
		}, [][2]string{{"BEGIN", "COMMIT"}}},
		{"a list", func() error {
			_, err := s.Factors(t.Context(), mfa.FactorQuery{User: mfa.UserKey{Environment: 1, ID: f.User}, Limit: 10})
			return err
		}, [][2]string{{"SELECT", "SELECT"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.do(); err != nil { // prepares the statements
				t.Fatal(err)
			}
			p.take()
			if err := tc.do(); err != nil {
				t.Fatal(err)
			}
			flights := p.take()
			if len(flights) != len(tc.want) {
				t.Fatalf("%d flights: %q; want %d", len(flights), flights, len(tc.want))
			}
			for i, flight := range flights {
				first, _, _ := strings.Cut(flight[0], " ")
				last, _, _ := strings.Cut(flight[len(flight)-1], " ")
				if got := [2]string{first, last}; got != tc.want[i] {
					t.Errorf("flight %q goes from %s to %s; want %v", flight, first, last, tc.want[i])
				}
			}
		})
	}
}

// TestGroupFlights checks that eight Updates take as many round trips as one.
func TestGroupFlights(t *testing.T) {
	s, p := openProxied(t, migrated(t), postgres.Options{Writers: 1})
	f := storeFactor(t, s)
	prepare(t, s, f)
	errs := grouped(s, 8, func() { p.take() }, func(int) error {
		_, err := insertChallenge(t.Context(), s, f)
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	flights := p.take()[1:] // the first is the ROLLBACK of the transaction that they waited for
	if len(flights) != 2 {
		t.Errorf("%d flights: %q; want 2", len(flights), flights)
	}
}
