package stats_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/stats"
)

const priceList = `provider,country,price,currency,since
# prices of the contract
acme,US,0.0079,USD,
acme,DE,0.0935,EUR,2026-01-01
acme,DE,0.11,EUR,2026-03-27
acme,*,0.2,USD,
`

func TestPrices(t *testing.T) {
	p, err := stats.ReadPrices(strings.NewReader("\ufeff" + priceList))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 26, 23, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		provider, country string
		segments          int64
		at                time.Time
		want              string
	}{
		{"acme", "US", 1, at, "USD 0.0079"},
		{"acme", "US", 1000, at, "USD 7.90"},
		{"acme", "DE", 2, at, "EUR 0.187"},
		{"acme", "DE", 2, at.Add(time.Hour), "EUR 0.22"},
		{"acme", "DE", 1, at.AddDate(-1, 0, 0), "USD 0.20"},
		{"acme", "FR", 3, at, "USD 0.60"},
		{"acme", "", 1, at, "USD 0.20"},
		{"other", "US", 1, at, "unknown"},
		{"", "US", 1, at, "unknown"},
	} {
		if got := p.Of(tc.provider, tc.country, tc.segments, tc.at); got != tc.want {
			t.Errorf("%d segments of %s to %s cost %s; want %s", tc.segments, tc.provider, tc.country, got, tc.want)
		}
	}
	if got := (stats.Prices{}).Of("acme", "US", 1, at); got != "unknown" {
		t.Errorf("without a list, a segment costs %s; want unknown", got)
	}
}

func TestWrongPricesNameTheLine(t *testing.T) {
	const head = "provider,country,price,currency\n"
	for _, tc := range []struct{ list, want string }{
		{"", "line 1"},
		{"acme,US,0.1,USD\n", "line 1"},
		{head + "acme,USA,0.1,USD\n", `line 2: "USA"`},
		{head + "acme,US,0.1,USD\nacme,US,,USD\n", "line 3"},
		{head + "acme,US,-1,USD\n", `"-1"`},
		{head + "acme,US,\"0,1\",USD\n", `"0,1"`},
		{head + "acme,US,0.1,$\n", `"$"`},
		{head + ",US,0.1,USD\n", "provider"},
		{head + "acme,US,0.1,USD\nacme,us,0.2,USD\n", "second price"},
		{head + "acme,US,0.1\n", "wrong number of fields"},
		{"provider,country,price,currency,since\nacme,US,0.1,USD,1.2.2026\n", `"1.2.2026"`},
	} {
		if _, err := stats.ReadPrices(strings.NewReader(tc.list)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("the list %q: %v; want an error with %q", tc.list, err, tc.want)
		}
	}
}

func FuzzReadPrices(f *testing.F) {
	f.Add(priceList)
	f.Fuzz(func(_ *testing.T, list string) {
		if p, err := stats.ReadPrices(strings.NewReader(list)); err == nil {
			p.Of("acme", "US", 1<<40, time.Now())
		}
	})
}
