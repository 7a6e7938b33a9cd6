package delivery

import (
	"bytes"
	"strconv"
	"strings"
)

// A Trace says which messages an event is about, as statistics count them. It has no
// personal data. The zero value means no message, or one of an older release.
type Trace struct {
	Provider string // that accepted the message; "" if none did
	Country  string // of the phone number, by ISO 3166-1; "ZZ" if it is unknown
	Prefix   string // the reference of the prefix of the phone number; "" in a sandbox
	Segments int    // the number of messages that carriers send and charge
	Replaced State  // the state that an event replaces, if it is Undelivered or Failed; else ""
}

// Trace returns the trace of a message.
func (r Record) Trace() Trace {
	return Trace{Provider: r.Provider, Country: r.Country, Prefix: r.Prefix, Segments: r.Segments}
}

// Replacing returns t for an event in which a message had a state before.
func (t Trace) Replacing(before State) Trace {
	if t.Replaced = ""; before == Undelivered || before == Failed {
		t.Replaced = before
	}
	return t
}

// noText is an empty part of an encoded trace.
const noText = "-"

// Encode returns t as text: its parts, separated by spaces. It returns nil for the zero value.
func (t *Trace) Encode() []byte {
	if *t == (Trace{}) {
		return nil
	}
	var b []byte
	for _, part := range [...]string{t.Provider, t.Country, t.Prefix, strconv.Itoa(t.Segments), string(t.Replaced)} {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		if part == "" {
			part = noText
		}
		b = append(b, strings.ReplaceAll(part, " ", "_")...)
	}
	return b
}

// Decode reads what Encode returned. Parts that a later release may have added are ignored.
func (t *Trace) Decode(b []byte) error {
	*t = Trace{}
	parts := bytes.Fields(b)
	for i, to := range [...]*string{&t.Provider, &t.Country, &t.Prefix, nil, (*string)(&t.Replaced)} {
		switch {
		case i >= len(parts):
			return nil
		case to == nil:
			t.Segments, _ = strconv.Atoi(string(parts[i]))
		case string(parts[i]) != noText:
			*to = string(parts[i])
		}
	}
	return nil
}
