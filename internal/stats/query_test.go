package stats_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestPeriodsFollowTheZone checks the periods of queries on the days on which clocks change,
// and in zones whose offset is not in hours.
func TestPeriodsFollowTheZone(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, tc := range []struct {
		name         string
		since, until string
		step         stats.Step
		zone         string
		want         string // the starts, and the end
	}{
		{"hours", "2026-03-27 10:20", "2026-03-27 12:00", stats.Hour, "UTC", "03-27 10:00, 03-27 11:00, 03-27 12:00"},
		{"an unfinished hour", "2026-03-27 11:00", "2026-03-27 11:01", stats.Hour, "UTC", "03-27 11:00, 03-27 12:00"},
		{"days", "2026-03-27 10:20", "2026-03-28 00:01", stats.Day, "UTC", "03-27 00:00, 03-28 00:00, 03-29 00:00"},
		{"a day of 23 hours", "2026-03-28 23:00", "2026-03-30 10:00", stats.Day, "Europe/Berlin", "03-28 23:00, 03-29 22:00, 03-30 22:00"},
		{"a day of 25 hours", "2026-10-24 22:00", "2026-10-25 23:00", stats.Day, "Europe/Berlin", "10-24 22:00, 10-25 23:00"},
		{"days of India begin at the next hour", "2026-03-27 18:45", "2026-03-27 19:10", stats.Day, "Asia/Kolkata", "03-26 19:00, 03-27 19:00, 03-28 19:00"},
		{"days of Nepal", "2026-03-27 18:30", "2026-03-27 18:40", stats.Day, "Asia/Kathmandu", "03-26 19:00, 03-27 19:00"},
		{"months", "2026-01-31 10:00", "2026-03-01 00:00", stats.Month, "UTC", "01-01 00:00, 02-01 00:00, 03-01 00:00"},
		{"months of India before their first hour", "2026-02-28 18:45", "2026-02-28 18:50", stats.Month, "Asia/Kolkata", "01-31 19:00, 02-28 19:00"},
		{"months of New York", "2026-03-05 00:00", "2026-04-01 05:00", stats.Month, "America/New_York", "03-01 05:00, 04-01 04:00, 05-01 04:00"},
		{"a midnight that does not exist", "2018-11-03 12:00", "2018-11-05 12:00", stats.Day, "America/Sao_Paulo", "11-03 03:00, 11-04 03:00, 11-05 02:00, 11-06 02:00"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := stats.Query{Since: at(tc.since), Until: at(tc.until), Step: tc.step, Zone: zone(t, tc.zone)}
			starts, end, err := stats.Periods(q, at("2030-01-01 00:00"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range append(starts, end) {
				got = append(got, s.UTC().Format("01-02 15:04"))
			}
			if strings.Join(got, ", ") != tc.want {
				t.Errorf("the periods are %s\nwant %s", strings.Join(got, ", "), tc.want)
			}
		})
	}
}

func TestWrongQueriesNameTheField(t *testing.T) {
	now := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name  string
		q     stats.Query
		field string
	}{
		{"an unknown step", stats.Query{Step: "week"}, "step"},
		{"since after until", stats.Query{Since: now, Until: now.Add(-time.Hour)}, "since"},
		{"since in the future", stats.Query{Since: now.Add(time.Hour)}, "since"},
		{"too many hours", stats.Query{Since: now.AddDate(-1, 0, 0), Step: stats.Hour}, "step"},
		{"a distant past", stats.Query{Since: time.Unix(-1e11, 0), Step: stats.Day}, "step"},
	} {
		_, _, err := stats.Periods(tc.q, now)
		wrong, ok := errors.AsType[*mfa.InvalidError](err)
		if !ok || len(wrong.Fields) != 1 || wrong.Fields[0].Field != tc.field {
			t.Errorf("%s: %v; want an error about %s", tc.name, err, tc.field)
		}
	}
	for d, want := range map[time.Duration]int{time.Hour: 2, 72 * time.Hour: 73, 30 * 24 * time.Hour: 31, 365 * 24 * time.Hour: 13} {
		q := stats.Query{Since: now.Add(-d).Add(time.Minute), Until: now.Add(time.Minute)}
		starts, _, err := stats.Periods(q, now)
		if err != nil || len(starts) != want {
			t.Errorf("%d periods in %v, %v; want %d", len(starts), d, err, want)
		}
	}
}
