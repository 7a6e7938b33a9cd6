package operatorapi

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A query has the parameters of a request. Like body, it remembers mistakes.
type query struct {
	values url.Values
	read   map[string]bool
	wrong  *mfa.InvalidError
}

func readQuery(r *request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, invalid("query", "unreadable", "the query cannot be read: a % must be followed by two hexadecimal digits, and parameters are separated by &")
	}
	return query{values, map[string]bool{}, &mfa.InvalidError{}}, nil
}

func (q query) fail(field, code, message string) {
	q.wrong.Fields = append(q.wrong.Fields, mfa.FieldError{Field: field, Code: code, Message: message})
}

func (q query) text(name string) string {
	q.read[name] = true
	return q.values.Get(name)
}

func (q query) limit() int {
	text := q.text("limit")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 100 {
		q.fail("limit", "out_of_range", "limit must be from 1 to 100")
	}
	return n
}

// isAscending reads order. Without it, the newest comes first.
func (q query) isAscending() bool {
	order := q.text("order")
	if order != "" && order != "asc" && order != "desc" {
		q.fail("order", "unsupported", "order must be asc or desc")
	}
	return order == "asc"
}

func (q query) time(name string) time.Time {
	text := q.text(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, strings.ToUpper(strings.Replace(text, " ", "+", 1)))
	if err != nil {
		q.fail(name, "invalid", name+" must be a time such as 2026-03-27T12:00:00Z")
	}
	return at.UTC()
}

// queryID reads a parameter that is an id of the named thing.
func queryID[ID any](q query, name, of string, parse func(string) (ID, error)) (id ID) {
	text := q.text(name)
	if text == "" {
		return id
	}
	id, err := parse(text)
	if err != nil {
		q.fail(name, "invalid", name+" must be the id of "+of)
	}
	return id
}

// err returns all mistakes, among them parameters that no method has read.
func (q query) err() error {
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if !q.read[name] {
			q.fail("query", "unknown_parameter", fmt.Sprintf("%q is not known: the parameters of this request are %s", shortened(name), strings.Join(slices.Sorted(maps.Keys(q.read)), ", ")))
			q.read[name] = true
		}
	}
	if len(q.wrong.Fields) == 0 {
		return nil
	}
	return q.wrong
}

// takesNoQuery refuses a request with parameters.
func takesNoQuery(r *request) error {
	q, err := readQuery(r)
	if err == nil && len(q.values) > 0 {
		err = invalid("query", "unknown_parameter", fmt.Sprintf("%q is not known: the query of this request has no parameters", shortened(slices.Min(slices.Collect(maps.Keys(q.values))))))
	}
	return err
}

// A list is one page. A cursor is the id of the last element on this side, or null if no
// element follows.
type list struct {
	Object   string       `json:"object"`
	Data     []any        `json:"data"`
	Metadata listMetadata `json:"list_metadata"`
}

type listMetadata struct {
	Before *string `json:"before"`
	After  *string `json:"after"`
}

func newList(data []any, before, after string) list {
	cursor := func(id string) *string {
		if id == "" {
			return nil
		}
		return &id
	}
	if data == nil {
		data = []any{}
	}
	return list{"list", data, listMetadata{cursor(before), cursor(after)}}
}

// page returns the page of all, which is sorted oldest first, that q asks for.
func page[T any](q query, all []T, id func(T) string, show func(T) any) (list, error) {
	limit, ascending := q.limit(), q.isAscending()
	if !ascending {
		all = slices.Clone(all)
		slices.Reverse(all)
	}
	find := func(name string, otherwise int) int {
		text := q.text(name)
		if text == "" {
			return otherwise
		}
		i := slices.IndexFunc(all, func(v T) bool { return id(v) == text })
		if i < 0 {
			q.fail(name, "invalid_cursor", name+" must be the id of an element of this list")
		}
		return i
	}
	first, end := find("after", -1)+1, find("before", len(all))
	if err := q.err(); err != nil {
		return list{}, err
	}
	end = max(first, end)
	if q.text("before") != "" && q.text("after") == "" {
		first = max(first, end-limit)
	} else {
		end = min(end, first+limit)
	}
	var data []any
	for _, v := range all[first:end] {
		data = append(data, show(v))
	}
	before, after := "", ""
	if len(data) > 0 && first > 0 {
		before = id(all[first])
	}
	if len(data) > 0 && end < len(all) {
		after = id(all[end-1])
	}
	return newList(data, before, after), nil
}
