package trace

import (
	"encoding/hex"
	"net/http"
	"strings"
)

// A SpanContext identifies a span in all processes: the W3C trace context.
type SpanContext struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool
	State   string // the header tracestate; valid and at most maxState bytes, or ""
}

// The headers of the W3C trace context. The recommendation asks senders for lower case.
const (
	parentHeader = "traceparent"
	stateHeader  = "tracestate"
)

const (
	parentLength = 55  // of a traceparent of version 00
	maxMembers   = 32  // of a tracestate
	maxState     = 512 // bytes of a tracestate
	sampledFlag  = 0x01
)

// Extract returns the trace context of the headers of a request. As the recommendation asks, an
// invalid traceparent is ignored as a whole, and ok is false. An invalid or too long tracestate
// is left out.
func Extract(h http.Header) (c SpanContext, ok bool) {
	values := h["Traceparent"]
	if len(values) != 1 {
		return SpanContext{}, false
	}
	if c, ok = parseParent(values[0]); ok {
		c.State = parseState(h["Tracestate"])
	}
	return c, ok
}

// parseParent reads a traceparent. It reads the fields of version 00 from later versions, which may
// have more fields.
func parseParent(text string) (c SpanContext, ok bool) {
	if len(text) < parentLength || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return SpanContext{}, false
	}
	var version, flags [1]byte
	if !unhex(version[:], text[:2]) || !unhex(c.Trace[:], text[3:35]) || !unhex(c.Span[:], text[36:52]) || !unhex(flags[:], text[53:55]) {
		return SpanContext{}, false
	}
	switch {
	case version[0] == 0xff, c.Trace == [16]byte{}, c.Span == [8]byte{}:
		return SpanContext{}, false
	case len(text) > parentLength && (version[0] == 0 || text[parentLength] != '-'):
		return SpanContext{}, false
	}
	c.Sampled = flags[0]&sampledFlag != 0
	return c, true
}

// unhex decodes lower-case hexadecimal digits.
func unhex(to []byte, text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(text))
	return err == nil
}

// parseState joins the values of tracestate. It returns "" unless all members are valid.
func parseState(values []string) string {
	state := strings.Trim(strings.Join(values, ","), " \t")
	if state == "" || len(state) > maxState {
		return ""
	}
	members, keys := 0, make(map[string]bool)
	for member := range strings.SplitSeq(state, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue // the recommendation allows empty members
		}
		key, value, ok := strings.Cut(member, "=")
		if members++; !ok || members > maxMembers || keys[key] || !isKey(key) || !isValue(value) {
			return ""
		}
		keys[key] = true
	}
	return state
}

// isKey reports whether text can be the key of a member: a name, or tenant@system.
func isKey(text string) bool {
	tenant, system, multi := strings.Cut(text, "@")
	if multi {
		return isName(tenant, 241, true) && isName(system, 14, false)
	}
	return isName(text, 256, false)
}

func isName(text string, most int, digitFirst bool) bool {
	if text == "" || len(text) > most {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z':
		case '0' <= c && c <= '9':
			if i == 0 && !digitFirst {
				return false
			}
		case c == '_' || c == '-' || c == '*' || c == '/':
			if i == 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func isValue(text string) bool {
	if text == "" || len(text) > 256 || text[len(text)-1] == ' ' {
		return false
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == ',' || c == '=' {
			return false
		}
	}
	return true
}

// Traceparent returns c as the value of the header traceparent.
func (c SpanContext) Traceparent() string {
	b := make([]byte, 0, parentLength)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, c.Trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, c.Span[:])
	if c.Sampled {
		return string(append(b, "-01"...))
	}
	return string(append(b, "-00"...))
}
