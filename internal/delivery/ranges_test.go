package delivery_test

import (
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

func TestRangesAreChecked(t *testing.T) {
	for _, tc := range []struct {
		ranges map[string]string
		want   string
	}{
		{map[string]string{"+1 942": "CANADA"}, `"CANADA" is not a country code`},
		{map[string]string{"+1 942": ""}, `"" is not a country code`},
		{map[string]string{"942": "CA"}, `"942" is not a prefix`},
		{map[string]string{"+1 94x": "CA"}, `"+1 94x" is not a prefix`},
		{map[string]string{"+49 15": "CA"}, `"+49 15" is not in CA, whose numbers begin with +1`},
		{map[string]string{"+49": "DE"}, `"+49" is the code of a whole country`},
		{map[string]string{"+1 942": "CA", "+1-942": "CA"}, `is listed twice`},
	} {
		err := delivery.CheckRules(delivery.Rules{AllowNumbers: tc.ranges}, nil)
		if err == nil || !strings.Contains(err.Error(), "allow_numbers: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v; want %s", tc.ranges, err, tc.want)
		}
	}
	if err := delivery.CheckRules(delivery.Rules{AllowNumbers: map[string]string{"+1 942": "CA", "+1 (942) 3": "CA", "+7 9": "kz"}}, nil); err != nil {
		t.Error(err)
	}
}
