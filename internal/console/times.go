package console

import (
	"time"
)

// localTime is the form of times that browsers send for a datetime-local input. The console
// labels these inputs as UTC.
const localTime = "2006-01-02T15:04"

// parseLocalTime reads a time of a form, which is in UTC. what names it at the start of a
// sentence.
func parseLocalTime(text, what string) (time.Time, error) {
	for _, form := range []string{localTime, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault(what + " must be a date and a time, such as 2026-03-27T12:00.")
}
