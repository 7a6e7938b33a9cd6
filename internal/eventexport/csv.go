package eventexport

import (
	"strings"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
)

var csvNames = []string{
	"time", "type", "environment", "user", "ip_address", "user_agent", "factor", "factor_type", "challenge", "resource", "reason", "caller", "request", "id",
}

// timeFormat has the form of created_at on the wire.
const timeFormat = "2006-01-02T15:04:05.000Z"

func appendCSVEvent(b []byte, env string, e *events.Event) []byte {
	_, resource, reason := eventwire.Resource(e)
	return appendCSV(b, e.At.UTC().Format(timeFormat), string(e.Type), env, e.User, e.IPAddress, e.UserAgent, factorID(e), string(e.Kind),
		challengeID(e), resource, reason, e.Caller, e.Request, e.ID.String())
}

// SpreadsheetText returns a value as CSV has it. A spreadsheet program runs a value that
// begins like a formula, and an end user chooses the user agent: such a value gets an
// apostrophe in front.
func SpreadsheetText(v string) string {
	if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
		return "'" + v
	}
	return v
}

// appendCSV appends a record.
func appendCSV(b []byte, values ...string) []byte {
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		v = SpreadsheetText(v)
		if strings.ContainsAny(v, "\",\r\n") {
			v = `"` + strings.ReplaceAll(v, `"`, `""`) + `"`
		}
		b = append(b, v...)
	}
	return append(b, "\r\n"...)
}
