// Package eventwire writes events as JSON, in the form that GET /events, webhooks and
// exports share.
//
// Append prints exactly the bytes that JavaScript's JSON.stringify prints for the event.
// Some client libraries verify a webhook by parsing its body, printing it again with
// JSON.stringify and computing the signature of the result.
package eventwire

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// ParseType returns the type of event with a name, and reports whether there is one.
func ParseType(name string) (mfa.EventType, bool) {
	typ := mfa.EventType(name)
	return typ, typ.IsKnown()
}

// Append appends the JSON of an event to b.
func Append(b []byte, e events.Event) []byte {
	b = append(b, `{"object":"event","id":"`...)
	b = append(b, e.ID.String()...)
	b = append(b, `","event":`...)
	b = appendString(b, string(e.Type))
	b = append(b, `,"data":{`...)
	switch e.Type {
	case mfa.ChallengeSucceeded:
		b = appendSucceeded(b, &e)
	case mfa.ChallengeFailed:
		b = appendFailed(b, &e)
	default:
		b = appendData(b, &e)
	}
	b = append(b, `},"created_at":`...)
	b = appendTime(b, e.At)
	return append(b, '}')
}

// appendSucceeded appends the data of authentication.mfa_succeeded. WorkOS has the first
// six keys too. Client libraries require all six, and require user_id and email to be
// strings.
func appendSucceeded(b []byte, e *events.Event) []byte {
	b = append(b, `"type":"mfa","status":"succeeded"`...)
	b = appendContext(b, e, appendOrNull)
	b = append(b, `,"user_id":`...)
	b = appendString(b, e.User)
	b = append(b, `,"email":""`...) // Countersign stores no addresses
	b = appendSubject(b, e)
	return appendOrigin(b, e)
}

// appendFailed appends the data of authentication.mfa_failed. WorkOS has the first seven
// keys too, and the same code and message of the error.
func appendFailed(b []byte, e *events.Event) []byte {
	b = append(b, `"type":"mfa","status":"failed"`...)
	b = appendContext(b, e, appendOrNull)
	b = append(b, `,"user_id":`...)
	b = appendOrNull(b, e.User)
	b = append(b, `,"email":null,"error":{"code":"mfa_challenge_failed","message":"The MFA challenge has failed."}`...)
	b = appendSubject(b, e)
	return appendOrigin(b, e)
}

// appendData appends the data of the types that only Countersign has. A key without a
// value is absent.
func appendData(b []byte, e *events.Event) []byte {
	start := len(b)
	b = appendSubject(b, e)
	b = appendKey(b, "user_id", e.User)
	b = appendKey(b, "ip_address", e.IPAddress)
	b = appendKey(b, "user_agent", e.UserAgent)
	b = appendOrigin(b, e)
	return slices.Delete(b, start, start+1) // the first comma; the caller is always there
}

func appendContext(b []byte, e *events.Event, value func([]byte, string) []byte) []byte {
	b = append(b, `,"ip_address":`...)
	b = value(b, e.IPAddress)
	b = append(b, `,"user_agent":`...)
	return value(b, e.UserAgent)
}

// appendSubject appends what the event is about.
func appendSubject(b []byte, e *events.Event) []byte {
	if e.Factor != (mfa.FactorID{}) {
		b = appendKey(b, "factor_id", e.Factor.String())
	}
	b = appendKey(b, "factor_type", string(e.Kind))
	if e.Challenge != (mfa.ChallengeID{}) {
		b = appendKey(b, "challenge_id", e.Challenge.String())
	}
	return b
}

// Resource returns the id of the API key or webhook endpoint that the event is about, or the
// kind of the view that an operator opened, with the key that it has in data, and the reason of
// the event. The log stores both as one text, such as "we_…:failing".
func Resource(e *events.Event) (key, id, reason string) {
	switch group, _, _ := strings.Cut(string(e.Type), "."); group {
	case "api_key":
		id, reason, _ = strings.Cut(e.Reason, ":")
		return "api_key_id", id, reason
	case "webhook_endpoint":
		id, reason, _ = strings.Cut(e.Reason, ":")
		return "webhook_endpoint_id", id, reason
	}
	if e.Type == mfa.Viewed {
		id, reason, _ = strings.Cut(e.Reason, ":")
		return "viewed", id, reason
	}
	return "", "", e.Reason
}

// appendOrigin appends why the event happened and who caused it.
func appendOrigin(b []byte, e *events.Event) []byte {
	key, id, reason := Resource(e)
	b = appendKey(b, key, id)
	b = appendKey(b, "reason", reason)
	if e.ClockOffset != 0 {
		b = append(b, `,"clock_offset":`...)
		b = strconv.AppendInt(b, int64(e.ClockOffset)*int64(totp.Period/time.Second), 10)
	}
	b = append(b, `,"caller":`...)
	b = appendCaller(b, e.Caller)
	return appendKey(b, "request_id", e.Request)
}

// The types of caller.
const (
	callerAPIKey   = "api_key"
	callerOperator = "operator"
	callerSystem   = "system" // Countersign itself, such as its maintenance
)

func appendCaller(b []byte, caller string) []byte {
	typ, id := callerAPIKey, caller
	if name, ok := strings.CutPrefix(caller, "operator:"); ok {
		typ, id = callerOperator, name
	} else if caller == "" {
		typ = callerSystem
	}
	b = append(b, `{"type":"`...)
	b = append(b, typ...)
	b = append(b, `","id":`...)
	b = appendOrNull(b, id)
	return append(b, '}')
}

// appendKey appends a comma, a key and its value, or nothing if the value is "".
func appendKey(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return appendString(b, value)
}

// appendOrNull appends a string, or null for "".
func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, `null`...)
	}
	return appendString(b, s)
}

// appendTime appends a time in the form of the wire, "2026-03-27T12:00:00.432Z".
func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, `"2006-01-02T15:04:05.000Z"`)
}

// appendString appends a string as JSON.stringify does (ECMA-262, QuoteJSONString): only
// quotes, backslashes and control characters below U+0020 are escaped. encoding/json also
// escapes U+2028 and U+2029. Bytes that are not UTF-8 become U+FFFD, as in encoding/json.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // a byte that is not UTF-8 is U+FFFD
		switch {
		case r == '"', r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < ' ':
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
