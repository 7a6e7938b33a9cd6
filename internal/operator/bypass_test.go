package operator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestCreateBypass(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	f := w.enroll("ada", 0)
	p := operator.BypassParams{Environment: w.env, User: "ada"}
	for _, tc := range []struct {
		name string
		by   operator.By
		p    operator.BypassParams
		want error
	}{
		{"no reason", operator.By{Operator: "ada"}, p, operator.ErrNoReason},
		{"an unknown user", ada, operator.BypassParams{Environment: w.env, User: "grace"}, mfa.ErrNotFound},
		{"an unknown factor", ada, operator.BypassParams{Environment: w.env, Factor: mfa.FactorID{0: 1}}, mfa.ErrNotFound},
		{"a factor of another environment", ada, operator.BypassParams{Factor: f}, mfa.ErrNotFound},
		{"too long", ada, operator.BypassParams{Environment: w.env, User: "ada", TTL: time.Hour + 1}, operator.ErrBypassTTL},
		{"too short", ada, operator.BypassParams{Environment: w.env, User: "ada", TTL: time.Second}, operator.ErrBypassTTL},
	} {
		if _, _, err := o.CreateBypass(t.Context(), tc.by, tc.p); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v; want %v", tc.name, err, tc.want)
		}
	}
	code, b, err := o.CreateBypass(t.Context(), ada, p)
	if err != nil || len(code.Reveal()) != 10 || b.Operator != "ada" || b.Reason != ada.Reason || b.ExpiresAt.Sub(b.CreatedAt) != 15*time.Minute {
		t.Errorf("CreateBypass = %+v, %v", b, err)
	}
	shown, err := o.BypassOf(t.Context(), p)
	if err != nil || shown != b {
		t.Errorf("Bypass = %+v, %v; want %+v", shown, err, b)
	}
	all := storetest.Events(t, w.store)
	last := all[len(all)-1]
	if last.Type != mfa.BypassCreated || last.Factor != f || last.Reason != ada.Reason || last.Caller != "operator:ada" {
		t.Errorf("the event is %+v", last)
	}
	w.clock.Advance(15 * time.Minute)
	if _, err := o.Bypass(t.Context(), w.env, "ada"); !errors.Is(err, operator.ErrNoBypass) {
		t.Errorf("Bypass after its time = %v; want %v", err, operator.ErrNoBypass)
	}
	without := w.operator(operator.Options{})
	if _, _, err := without.CreateBypass(t.Context(), ada, p); err == nil {
		t.Error("CreateBypass without a keyset succeeded")
	}
}

func TestDeleteFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Remover: func(context.Context) (operator.Remover, error) { return w.server, nil }})
	f := w.enroll("ada", 0)
	if err := o.DeleteFactor(t.Context(), operator.By{Operator: "ada"}, f); !errors.Is(err, operator.ErrNoReason) {
		t.Errorf("DeleteFactor without a reason = %v; want %v", err, operator.ErrNoReason)
	}
	if err := o.DeleteFactor(t.Context(), ada, f); err != nil {
		t.Fatalf("DeleteFactor = %v", err)
	}
	if err := w.solve(f); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("Challenge of a deleted factor = %v; want %v", err, mfa.ErrNotFound)
	}
	if err := o.DeleteFactor(t.Context(), ada, f); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("DeleteFactor again = %v; want %v", err, mfa.ErrNotFound)
	}
	all := storetest.Events(t, w.store)
	if last := all[len(all)-1]; last.Type != mfa.FactorDeleted || last.Reason != ada.Reason || last.Caller != "operator:ada" {
		t.Errorf("the event is %+v", last)
	}
	broken := errors.New("the keyset does not open")
	o = w.operator(operator.Options{Remover: func(context.Context) (operator.Remover, error) { return nil, broken }})
	if err := o.DeleteFactor(t.Context(), ada, w.enroll("ada", 0)); !errors.Is(err, broken) {
		t.Errorf("DeleteFactor without a keyset = %v; want %v", err, broken)
	}
}
