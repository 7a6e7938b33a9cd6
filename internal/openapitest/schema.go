package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A schema is the part of JSON Schema 2020-12 that openapi.yaml uses. The reader
// refuses keywords that are not implemented here, so no rule is silently ignored.
type schema struct {
	never      bool     // the schema false
	types      []string // none: any type
	allowed    []any    // enum, or the only value of const; none: any value
	pattern    *regexp.Regexp
	format     string
	length     span // of a string, in characters
	count      span // of an array
	number     span
	items      *schema
	required   []string
	properties map[string]*schema
	others     *bool // additionalProperties
	closed     bool  // unevaluatedProperties: false
	allOf      []*schema
	oneOf      []*schema
	anyOf      []*schema
}

// A span is a range of numbers that includes its ends.
type span struct{ least, most *float64 }

// comments are the keywords that do not restrict a value.
var comments = []string{"description", "example", "examples", "default", "deprecated", "title", "discriminator"}

// schema compiles a schema, or returns the compiled one that v refers to.
func (r *reader) schema(at string, v any) *schema {
	if allow, ok := v.(bool); ok {
		return &schema{never: !allow}
	}
	object, ok := v.(map[string]any)
	if !ok {
		r.fault(at, "want a schema; found %v", v)
		return &schema{}
	}
	reference, ok := object["$ref"].(string)
	if !ok {
		s := &schema{}
		r.compile(at, object, s)
		return s
	}
	if len(object) > 1 {
		r.fault(at, "a schema has keys next to $ref")
	}
	s, ok := r.compiled[reference]
	if !ok {
		s = &schema{}
		r.compiled[reference] = s
		r.compile(reference, r.object(at, v), s)
	}
	return s
}

func (r *reader) compile(at string, object map[string]any, s *schema) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v, ok := object[key], true
		switch key {
		case "type":
			s.types, ok = texts(v)
		case "const":
			s.allowed = []any{v}
		case "enum":
			s.allowed, ok = v.([]any)
		case "pattern":
			text, _ := v.(string)
			var err error
			s.pattern, err = regexp.Compile(text)
			ok = text != "" && err == nil
		case "format":
			s.format, _ = v.(string)
			_, ok = formats[s.format]
		case "minLength":
			s.length.least, ok = number(v)
		case "maxLength":
			s.length.most, ok = number(v)
		case "minItems":
			s.count.least, ok = number(v)
		case "maxItems":
			s.count.most, ok = number(v)
		case "minimum":
			s.number.least, ok = number(v)
		case "maximum":
			s.number.most, ok = number(v)
		case "items":
			s.items = r.schema(at+".items", v)
		case "required":
			s.required, ok = texts(v)
		case "properties":
			s.properties = map[string]*schema{}
			for name, property := range r.object(at, v) {
				s.properties[name] = r.schema(at+"."+name, property)
			}
		case "additionalProperties":
			var others bool
			others, ok = v.(bool)
			s.others = &others
		case "unevaluatedProperties":
			ok = v == false
			s.closed = true
		case "allOf":
			s.allOf = r.schemas(at+".allOf", v)
		case "oneOf":
			s.oneOf = r.schemas(at+".oneOf", v)
		case "anyOf":
			s.anyOf = r.schemas(at+".anyOf", v)
		default:
			ok = slices.Contains(comments, key)
		}
		if !ok {
			r.fault(at, "this test does not understand %s: %v", key, v)
		}
	}
}

func (r *reader) schemas(at string, v any) (all []*schema) {
	list, ok := v.([]any)
	if !ok {
		r.fault(at, "want a list; found %v", v)
	}
	for _, one := range list {
		all = append(all, r.schema(at, one))
	}
	return all
}

// texts returns a string, or a list of strings, as a list.
func texts(v any) (all []string, ok bool) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			return nil, false
		}
		all = append(all, text)
	}
	return all, true
}

func number(v any) (*float64, bool) {
	n, ok := v.(float64)
	return &n, ok
}

// check returns how a value from JSON breaks the schema. at is the place of the
// value in the body.
func (s *schema) check(at string, v any) error {
	_, err := s.evaluate(at, v)
	return err
}

// evaluate also returns the keys of an object that the schema names. In the terms
// of JSON Schema, these properties are evaluated.
func (s *schema) evaluate(at string, v any) (named map[string]bool, err error) {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
	}
	if s.never {
		fault("no value is allowed here")
	}
	if len(s.types) > 0 && !slices.ContainsFunc(s.types, func(name string) bool { return isA(name, v) }) {
		fault("%v is not of type %s", v, strings.Join(s.types, " or "))
	}
	if len(s.allowed) > 0 && !slices.ContainsFunc(s.allowed, func(a any) bool { return reflect.DeepEqual(a, v) }) {
		fault("%v is not one of %v", v, s.allowed)
	}
	named = map[string]bool{}
	switch v := v.(type) {
	case string:
		if s.pattern != nil && !s.pattern.MatchString(v) {
			fault("%q does not match the pattern %s", v, s.pattern)
		}
		if known := formats[s.format]; known != nil && !known(v) {
			fault("%q does not have the format %s", v, s.format)
		}
		faults = append(faults, s.length.check(at, "length", float64(utf8.RuneCountInString(v))))
	case float64:
		faults = append(faults, s.number.check(at, "number", v))
	case []any:
		faults = append(faults, s.count.check(at, "number of items", float64(len(v))))
		for i, item := range v {
			if s.items != nil {
				faults = append(faults, s.items.check(fmt.Sprintf("%s[%d]", at, i), item))
			}
		}
	case map[string]any:
		faults = append(faults, s.checkKeys(at, v, named))
	}
	for _, part := range s.allOf {
		more, err := part.evaluate(at, v)
		maps.Copy(named, more)
		faults = append(faults, err)
	}
	faults = append(faults, checkAlternatives(at, "oneOf", s.oneOf, 1, v, named), checkAlternatives(at, "anyOf", s.anyOf, len(s.anyOf), v, named))
	if object, ok := v.(map[string]any); ok && s.closed {
		for key := range object {
			if !named[key] {
				fault("the key %s is not documented", key)
			}
		}
	}
	return named, errors.Join(faults...)
}

// checkKeys checks the keys of an object, and adds the keys of properties to named.
func (s *schema) checkKeys(at string, object map[string]any, named map[string]bool) error {
	var faults []error
	for _, key := range s.required {
		if _, ok := object[key]; !ok {
			faults = append(faults, fmt.Errorf("%s: the key %s is missing", at, key))
		}
	}
	for key, value := range object {
		switch property := s.properties[key]; {
		case property != nil:
			named[key] = true
			faults = append(faults, property.check(at+"."+key, value))
		case s.others != nil && *s.others:
			named[key] = true
		case s.others != nil:
			faults = append(faults, fmt.Errorf("%s: the key %s is not allowed", at, key))
		}
	}
	return errors.Join(faults...)
}

// checkAlternatives checks that from one to most of the alternatives hold, and adds the keys
// that they name. Without alternatives it returns nil.
func checkAlternatives(at, keyword string, alternatives []*schema, most int, v any, named map[string]bool) error {
	if len(alternatives) == 0 {
		return nil
	}
	var faults []error
	valid := 0
	for _, alternative := range alternatives {
		more, err := alternative.evaluate(at, v)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		valid++
		maps.Copy(named, more)
	}
	if 1 <= valid && valid <= most {
		return nil
	}
	return fmt.Errorf("%s: %d alternatives of %s hold; want 1 to %d: %w", at, valid, keyword, most, errors.Join(faults...))
}

func (s span) check(at, what string, n float64) error {
	switch {
	case s.least != nil && n < *s.least:
		return fmt.Errorf("%s: the %s is %v; the minimum is %v", at, what, n, *s.least)
	case s.most != nil && n > *s.most:
		return fmt.Errorf("%s: the %s is %v; the maximum is %v", at, what, n, *s.most)
	}
	return nil
}

// isA reports whether a value from JSON has a type of JSON Schema.
func isA(name string, v any) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	}
	return false
}

// formats has the formats that the document uses.
var formats = map[string]func(string) bool{
	"date-time": func(s string) bool {
		_, err := time.Parse(time.RFC3339, s)
		return err == nil
	},
	"uuid": regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`).MatchString,
}
