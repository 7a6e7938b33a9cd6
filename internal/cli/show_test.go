package cli

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/operator"
)

func TestAFactorIsNamedByItsNameAndItsDetails(t *testing.T) {
	phone := delivery.NewPhone("+4915123456789")
	for _, tc := range []struct {
		factor operator.Factor
		want   string
	}{
		{operator.Factor{}, ""},
		{operator.Factor{Name: "YubiKey"}, "YubiKey"},
		{operator.Factor{Phone: phone}, "+***********89"},
		{operator.Factor{Name: "Work phone", Phone: phone}, "Work phone (+***********89)"},
		{operator.Factor{Issuer: "Acme", Account: "ada"}, "Acme: ada"},
		{operator.Factor{Account: "ada"}, "ada"},
		{operator.Factor{Name: "Phone", Issuer: "Acme", Account: "ada"}, "Phone (Acme: ada)"},
	} {
		if got := factorName(&tc.factor); got != tc.want {
			t.Errorf("the name of %+v is %q; want %q", tc.factor, got, tc.want)
		}
	}
}
