package operatorapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// A body is the JSON object of a request. Its methods read keys and remember the mistakes;
// err returns them, and names each key that no method has read.
type body struct {
	values map[string]json.RawMessage
	read   map[string]bool
	wrong  *mfa.InvalidError
}

// readBody reads a JSON object. An empty body counts as {}.
func readBody(content []byte) (body, error) {
	b := body{values: map[string]json.RawMessage{}, read: map[string]bool{}, wrong: &mfa.InvalidError{}}
	if !utf8.Valid(content) {
		return b, &web.BodyError{Cause: errors.New("not valid UTF-8")}
	}
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff")))
	if len(content) == 0 {
		return b, nil
	}
	err := json.Unmarshal(content, &b.values)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return b, &web.BodyError{Cause: fmt.Errorf("not valid JSON at byte %d", e.Offset)}
	}
	if err != nil || b.values == nil {
		return b, &web.BodyError{Cause: errors.New("another kind of JSON value")}
	}
	return b, nil
}

func (b body) fail(field, code, message string) {
	b.wrong.Fields = append(b.wrong.Fields, mfa.FieldError{Field: field, Code: code, Message: message})
}

// value reads a key into to. It reports whether the key has a value: null counts as absent.
func (b body) value(name, want string, to any) bool {
	again := b.read[name]
	b.read[name] = true
	text, given := b.values[name]
	if !given || string(text) == "null" {
		return false
	}
	if json.Unmarshal(text, to) != nil {
		if again {
			return false // the mistake is remembered
		}
		b.fail(name, "not_"+strings.ReplaceAll(want, " ", "_"), name+" must be "+want)
		return false
	}
	return true
}

// text reads a string; "" if it is absent.
func (b body) text(name string) (text string) {
	b.value(name, "a string", &text)
	return text
}

// required reads a string that must not be empty.
func (b body) required(name string) string {
	before := len(b.wrong.Fields)
	text := b.text(name)
	if text == "" && len(b.wrong.Fields) == before {
		b.fail(name, "required", name+" is required")
	}
	return text
}

func (b body) boolean(name string) (value bool) {
	b.value(name, "true or false", &value)
	return value
}

// texts reads a list of strings; nil if it is absent.
func (b body) texts(name string) []string {
	var list []*string
	if !b.value(name, "a list of strings", &list) {
		return nil
	}
	all := make([]string, len(list))
	for i, text := range list {
		if text == nil {
			b.fail(name, "not_a_list_of_strings", name+" must be a list of strings")
			return nil
		}
		all[i] = *text
	}
	return all
}

// time reads a time in the form of RFC 3339; zero if it is absent.
func (b body) time(name string) time.Time {
	text := b.text(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		b.fail(name, "not_a_time", name+" must be a time, such as 2027-03-27T12:00:00Z")
	}
	return at.UTC()
}

// seconds reads a whole number of seconds.
func (b body) seconds(name string, otherwise time.Duration) time.Duration {
	var n int32
	if !b.value(name, "a whole number", &n) {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// err returns all mistakes, among them keys that no method has read.
func (b body) err() error {
	for _, name := range slices.Sorted(maps.Keys(b.values)) {
		if !b.read[name] {
			b.fail("body", "unknown_key", fmt.Sprintf("%q is not known: the keys of this request are %s", shortened(name), strings.Join(slices.Sorted(maps.Keys(b.read)), ", ")))
			b.read[name] = true
		}
	}
	if len(b.wrong.Fields) == 0 {
		return nil
	}
	return b.wrong
}

// shortened returns the beginning of a caller's text, for a message that repeats it.
func shortened(text string) string {
	const longest = 64 // bytes
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

func invalid(field, code, message string) error {
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: field, Code: code, Message: message}}}
}
