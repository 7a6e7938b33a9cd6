package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// fields are what a request may say in its body. set gives the field of that name a
// string and reports whether there is one.
type fields interface{ set(name, value string) bool }

// decode reads a JSON object into v, a pointer to a struct of text, anyText and codeText fields.
// An empty body, null and [] stand for {}, since client libraries send them so.
func decode(body []byte, v fields) error {
	if !utf8.Valid(body) {
		return &bodyError{errors.New("not valid UTF-8")} // it would be repaired, and two names become one
	}
	// Some programs write a byte order mark, which RFC 8259 (section 8.1) lets a parser ignore.
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if len(body) == 0 || string(body) == "null" || isEmptyArray(body) || decodePlain(body, v) {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			// Its own text would repeat a character of what was sent.
			return &bodyError{fmt.Errorf("not valid JSON at byte %d", e.Offset)}
		}
		return &bodyError{errors.New("another kind of JSON value")}
	}
	return nil
}

// decodePlain reads an object of fields of v, all of them strings without escapes, as
// bodies nearly always are, in a tenth of the time of encoding/json. It reports
// whether that is all that body is; if not, what it has set is set again.
func decodePlain(body []byte, v fields) bool {
	s := plainScanner{body}
	if !s.skip('{') {
		return false
	}
	if s.skip('}') {
		return len(s.rest) == 0
	}
	for {
		name, ok := s.text()
		if !ok || !s.skip(':') {
			return false
		}
		value, ok := s.text()
		if !ok || !v.set(string(name), string(value)) {
			return false
		}
		if s.skip('}') {
			return len(s.rest) == 0
		}
		if !s.skip(',') {
			return false
		}
	}
}

// A plainScanner reads JSON that has nothing in it but what decodePlain reads.
type plainScanner struct{ rest []byte }

// skip reads c and the space around it, if it comes next.
func (s *plainScanner) skip(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	s.space()
	return true
}

func (s *plainScanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// text reads a string without escapes, if one comes next.
func (s *plainScanner) text() ([]byte, bool) {
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	for i, c := range s.rest[1:] {
		switch {
		case c == '"':
			text := s.rest[1 : 1+i]
			s.rest = s.rest[i+2:]
			return text, true
		case c < ' ' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// noKeys is a body of a request that has no parameters. WorkOS's own routes ignore keys
// that they do not know, since client libraries send some. Routes that only Countersign
// has name them, because such a key is a mistake.
type noKeys struct{ first string }

func (k *noKeys) set(name, _ string) bool {
	k.first = name
	return true
}

// UnmarshalJSON reads the first key.
func (k *noKeys) UnmarshalJSON(b []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return err
	}
	if len(keys) > 0 {
		k.first = slices.Min(slices.Collect(maps.Keys(keys)))
	}
	return nil
}

// takesNothing refuses a request that has a key in its body or a parameter in its
// query, and names it.
func takesNothing(r *request) error {
	var body noKeys
	if err := decode(r.body, &body); err != nil {
		return err
	}
	if body.first != "" {
		return unknownName("body", "unknown_key", body.first, "the body of this request has no keys")
	}
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	if len(query) > 0 {
		return unknownName("query", "unknown_parameter", slices.Min(slices.Collect(maps.Keys(query))), "the query of this request has no parameters")
	}
	return nil
}

func unknownName(field, code, name, message string) error {
	const most = 64 // bytes of a name that are repeated
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: field, Code: code, Message: fmt.Sprintf("%q is not known: %s", name, message)}}}
}

func isEmptyArray(body []byte) bool {
	return body[0] == '[' && body[len(body)-1] == ']' && len(bytes.TrimSpace(body[1:len(body)-1])) == 0
}

// text is a string of a request. null and "" count as absent; what is no string
// is noted, for check.
type text struct {
	string
	wrong bool
}

// UnmarshalJSON never fails: one wrong field must not hide the others.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = text{}
	if string(b) != "null" {
		t.wrong = json.Unmarshal(b, &t.string) != nil
	}
	return nil
}

// anyText is a string of a request for which any other value is taken as it is
// written, 123456 as "123456".
type anyText struct {
	string
	given bool // neither absent nor null
}

// UnmarshalJSON never fails.
func (t *anyText) UnmarshalJSON(b []byte) error {
	*t = anyText{given: string(b) != "null"}
	if t.given && json.Unmarshal(b, &t.string) != nil {
		t.string = string(b)
	}
	return nil
}

// codeText is a code of a request. A whole number stands for the code that has its
// digits; every other value that is not a string cannot be a code.
type codeText struct {
	string
	given bool // neither absent nor null
}

// UnmarshalJSON never fails.
func (t *codeText) UnmarshalJSON(b []byte) error {
	*t = codeText{given: string(b) != "null"}
	if t.given && json.Unmarshal(b, &t.string) != nil {
		t.string = mfa.NumberCode(string(b))
	}
	return nil
}

// set takes a string as UnmarshalJSON does.
func (t *codeText) set(s string) bool { *t = codeText{s, true}; return true }

// A named text is one to check, under its name on the wire.
type named struct {
	name string
	text text
}

// set takes a string as UnmarshalJSON does.
func (t *text) set(s string) bool { *t = text{string: s}; return true }

// set takes a string as UnmarshalJSON does.
func (t *anyText) set(s string) bool { *t = anyText{s, true}; return true }

// check names every field that is no string.
func check(fields ...named) error {
	var wrong []mfa.FieldError
	for _, f := range fields {
		if f.text.wrong {
			wrong = append(wrong, mfa.FieldError{Field: f.name, Code: "not_a_string", Message: f.name + " must be a string"})
		}
	}
	if wrong != nil {
		return &mfa.InvalidError{Fields: wrong}
	}
	return nil
}

func required(name string) error {
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: name, Code: "required", Message: name + " is required"}}}
}
