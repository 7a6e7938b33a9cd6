package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// decode reads a JSON object into v, a struct of text and anyText fields. An
// empty body, null and [] stand for {}, since client libraries send them so.
func decode(body []byte, v any) error {
	if !utf8.Valid(body) {
		return &bodyError{errors.New("not valid UTF-8")} // it would be repaired, and two names become one
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "null" || isEmptyArray(body) {
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

// A named text is one to check, under its name on the wire.
type named struct {
	name string
	text text
}

// check names every field that is no string.
func check(fields ...named) error {
	var e mfa.InvalidError
	for _, f := range fields {
		if f.text.wrong {
			e.Fields = append(e.Fields, mfa.FieldError{Field: f.name, Code: "not_a_string", Message: f.name + " must be a string"})
		}
	}
	if e.Fields != nil {
		return &e
	}
	return nil
}

func required(name string) error {
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: name, Code: "required", Message: name + " is required"}}}
}
