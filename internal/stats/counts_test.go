package stats_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/countersign-mfa/countersign/internal/stats"
)

func TestCountsAreReadAsTheyWereWritten(t *testing.T) {
	want := map[string][6]int64{
		"challenge.created totp -": {1 << 62}, "acme DE -": {1, -2, 0, 0, 5}, "- - -": {}, "other - -": {0, 0, 0, 0, 0, -1},
	}
	got, err := stats.Decoded(stats.Row{Counts: stats.Encoded(want)})
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
	newer := []byte("a b c 1 2 3 4 5 6 7\n")
	if got, err = stats.Decoded(stats.Row{Counts: newer}); err != nil || got["a b c"] != [6]int64{1, 2, 3, 4, 5, 6} {
		t.Errorf("a row with more numbers is read as %v, %v", got, err)
	}
	for _, wrong := range []string{"a b c 1", "a b\n", "a b c\n", "a b c \n", "a b c 1 x\n", "a b c -\n", "a b c 1 \n", "\n"} {
		if got, err := stats.Decoded(stats.Row{Counts: []byte(wrong)}); err == nil {
			t.Errorf("%q was read as %v", wrong, got)
		}
	}
}

func FuzzCounts(f *testing.F) {
	f.Add([]byte("challenge.created totp - 15\nacme DE - 1 -2 0 4\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := stats.Decoded(stats.Row{Counts: b})
		if err != nil {
			return
		}
		again, err := stats.Decoded(stats.Row{Counts: stats.Encoded(got)})
		if err != nil || !maps.Equal(got, again) {
			t.Errorf("%q is read as %v, written, and read as %v, %v", b, got, again, err)
		}
	})
}

// BenchmarkSum adds up the counts of a year of hours.
func BenchmarkSum(b *testing.B) {
	groups := map[string][6]int64{}
	for i := range 24 {
		groups[fmt.Sprintf("challenge.created kind%d -", i)] = [6]int64{12345}
	}
	rows := make([][]byte, 8760)
	for i := range rows {
		rows[i] = stats.Encoded(groups)
	}
	for b.Loop() {
		stats.Sum(rows)
	}
}
