package wire

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Values from a service are stored, and shown to operators, only if they match one of
// these patterns. A code is too short to be a one-time code.
var (
	codePattern = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	idPattern   = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
	wordPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)
	oneDigit    = regexp.MustCompile(`[0-9]`)
)

// IsCode reports whether s can be an error code: a number of at most five digits.
func IsCode(s string) bool { return codePattern.MatchString(s) }

// IsID reports whether s can be the id of a message: up to 64 letters, digits and
// dashes.
func IsID(s string) bool { return idPattern.MatchString(s) }

// Word returns s if it can be the reason of a receipt, and "" otherwise. Reasons are
// logged, so it accepts nothing that could be a phone number or a one-time code.
func Word(s string) string {
	if !wordPattern.MatchString(s) || len(oneDigit.FindAllString(s, 6)) > 5 {
		return ""
	}
	return s
}

// JSONText returns a JSON string without escapes, or a JSON number, as text.
func JSONText(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }

// IsRecent reports whether t, in seconds since 1970, is at most age before now and at
// most ahead after now.
func IsRecent(t string, now time.Time, age, ahead time.Duration) bool {
	seconds, err := strconv.ParseInt(t, 10, 64)
	ago := now.Sub(time.Unix(seconds, 0))
	return err == nil && ago <= age && ago >= -ahead
}
