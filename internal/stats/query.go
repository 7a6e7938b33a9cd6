package stats

import (
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Query asks for the counts of a time. Zero fields take their defaults.
type Query struct {
	Since time.Time      // default 24 hours before Until
	Until time.Time      // default now
	Step  Step           // default: hours up to 3 days, days up to 93 days, else months
	Zone  *time.Location // in which days and months begin; default UTC
}

// A Step is the length of the periods of an answer.
type Step string

// The steps.
const (
	Hour  Step = "hour"
	Day   Step = "day"
	Month Step = "month"
)

// maxPeriods bounds the size of an answer: 100 days in hours.
const maxPeriods = 2400

// A span is a checked query: periods that follow one another.
type span struct {
	query  Query
	starts []time.Time // of the periods, UTC
	end    time.Time   // of the last period
}

// spanOf returns the periods of a query. The first begins at or before Since, and the last
// ends at or after Until. The error is an *mfa.InvalidError.
func spanOf(q Query, now time.Time) (span, error) {
	if q.Until.IsZero() {
		q.Until = now
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-24 * time.Hour)
	}
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	if q.Step == "" {
		switch d := q.Until.Sub(q.Since); {
		case d <= 3*24*time.Hour:
			q.Step = Hour
		case d <= 93*24*time.Hour:
			q.Step = Day
		default:
			q.Step = Month
		}
	}
	if !q.Since.Before(q.Until) {
		return span{}, invalid("since", "not_before_until", "must be before until")
	}
	s := span{query: q, end: q.floor(q.Since)}
	switch q.Step {
	case Hour, Day, Month:
	default:
		return span{}, invalid("step", "unknown", `must be "hour", "day" or "month"`)
	}
	for s.end.Before(q.Until) {
		if len(s.starts) == maxPeriods {
			return span{}, invalid("step", "too_short", fmt.Sprintf("must be longer: an answer has at most %d steps", maxPeriods))
		}
		s.starts = append(s.starts, s.end)
		s.end = q.next(s.end)
	}
	return s, nil
}

func invalid(field, code, must string) error {
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: field, Code: code, Message: field + " " + must}}}
}

// floor returns the start of the period that has t.
func (q Query) floor(t time.Time) time.Time {
	if q.Step == Hour {
		return HourOf(t)
	}
	local := t.In(q.Zone)
	day := local.Day()
	if q.Step == Month {
		day = 1
	}
	start := q.begin(local.Year(), local.Month(), day)
	if start.After(t) { // in a zone whose offset is not in hours, t is before the first hour of its day
		before := local.AddDate(0, 0, -1)
		if q.Step == Month {
			before = local.AddDate(0, 0, -local.Day())
			before = before.AddDate(0, 0, 1-before.Day())
		}
		start = q.begin(before.Year(), before.Month(), before.Day())
	}
	return start
}

// next returns the start of the period after the one that starts at start.
func (q Query) next(start time.Time) time.Time {
	if q.Step == Hour {
		return start.Add(time.Hour)
	}
	// Half a day later it is the day that begins at start, also if the clocks change.
	local := start.Add(12 * time.Hour).In(q.Zone)
	if q.Step == Month {
		return q.begin(local.Year(), local.Month()+1, 1)
	}
	return q.begin(local.Year(), local.Month(), local.Day()+1)
}

// begin returns the first hour that begins in a day: counts are by UTC hours.
func (q Query) begin(year int, month time.Month, day int) time.Time {
	midnight := time.Date(year, month, day, 0, 0, 0, 0, q.Zone)
	if midnight.Day() != time.Date(year, month, day, 12, 0, 0, 0, q.Zone).Day() {
		midnight = midnight.Add(time.Hour) // clocks skip midnight on this day
	}
	midnight = midnight.UTC()
	if hour := HourOf(midnight); hour.Before(midnight) {
		return hour.Add(time.Hour)
	}
	return midnight
}

// period returns the index of the period that has the row of an hour, if from is the index of
// the period of an earlier row.
func (s *span) period(hour time.Time, from int) int {
	for from+1 < len(s.starts) && !hour.Before(s.starts[from+1]) {
		from++
	}
	return from
}

// endOf returns the end of a period.
func (s *span) endOf(i int) time.Time {
	if i+1 < len(s.starts) {
		return s.starts[i+1]
	}
	return s.end
}
