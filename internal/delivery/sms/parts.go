package sms

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errReceipt means that a signed callback cannot be read. It shows nothing of it.
var errReceipt = errors.New("the callback is malformed")

// isRecent reports whether t, in seconds since 1970, is no older than age, and no
// further ahead of now than ahead.
func isRecent(t string, now time.Time, age, ahead time.Duration) bool {
	seconds, err := strconv.ParseInt(t, 10, 64)
	ago := now.Sub(time.Unix(seconds, 0))
	return err == nil && ago <= age && ago >= -ahead
}

// plain returns a JSON string without escapes, or a number, as text.
func plain(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }

var (
	wordPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)
	oneDigit    = regexp.MustCompile(`[0-9]`)
)

// word returns s if it can be a reason, and "" if it may be more: it goes to logs,
// where neither a phone number nor a one-time code may be.
func word(s string) string {
	if !wordPattern.MatchString(s) || len(oneDigit.FindAllString(s, 6)) > 5 {
		return ""
	}
	return s
}

var (
	senderNumber = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[0-9]{3,8})$`)
	senderName   = regexp.MustCompile(`^[A-Za-z0-9 ]{0,10}[A-Za-z][A-Za-z0-9 ]{0,10}$`)
)

// isName reports whether s names a sender by letters: up to 11, with digits and spaces.
func isName(s string) bool { return len(s) <= 11 && senderName.MatchString(s) }

// isSender reports whether s is a name, a number in E.164 or a short code.
func isSender(s string) bool { return senderNumber.MatchString(s) || isName(s) }
