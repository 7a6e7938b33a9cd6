// Package openapi_test compares the verdicts of internal/openapitest with the verdicts
// of an OpenAPI library. The product's own tests cannot use the library, because
// the product's go.mod would then require it.
package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	"github.com/pb33f/libopenapi-validator/config"
	validation "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/requests"
	"github.com/pb33f/libopenapi-validator/responses"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"github.com/countersign-mfa/countersign/internal/openapitest"
)

// A library is openapi.yaml as the library reads it.
type library struct {
	document *v3.Document
	replies  responses.ResponseBodyValidator
	bodies   requests.RequestBodyValidator
}

func load(t *testing.T) (*openapitest.Document, library) {
	t.Helper()
	ours, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	read, err := libopenapi.NewDocument(ours.Strict())
	if err != nil {
		t.Fatal(err)
	}
	model, err := read.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	return ours, library{
		document: &model.Model,
		replies:  responses.NewResponseBodyValidator(&model.Model, config.WithFormatAssertions()),
		bodies:   requests.NewRequestBodyValidator(&model.Model, config.WithFormatAssertions()),
	}
}

// examples returns the examples of a media type.
func (l library) examples(t *testing.T, media *v3.MediaType) (values []any) {
	t.Helper()
	var nodes []interface{ Decode(any) error }
	if media.Example != nil {
		nodes = append(nodes, media.Example)
	}
	for _, e := range media.Examples.FromOldest() {
		nodes = append(nodes, e.Value)
	}
	for _, node := range nodes {
		var v any
		if err := node.Decode(&v); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

// operations calls fn for each operation.
func (l library) operations(fn func(method, path string, item *v3.PathItem, op *v3.Operation)) {
	for path, item := range l.document.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			fn(strings.ToUpper(method), path, item, op)
		}
	}
}

func TestRepliesAreJudgedAsByTheLibrary(t *testing.T) {
	ours, lib := load(t)
	var accepted, rejected int
	lib.operations(func(method, path string, item *v3.PathItem, op *v3.Operation) {
		for status, described := range op.Responses.Codes.FromOldest() {
			if described.Content == nil || described.Content.GetOrZero("application/json") == nil {
				continue
			}
			media := described.Content.GetOrZero("application/json")
			code, err := strconv.Atoi(status)
			if err != nil {
				t.Fatal(err)
			}
			for _, example := range lib.examples(t, media) {
				for name, body := range variants(t, example) {
					x := openapitest.Exchange{Method: method, Target: target(path), Status: code, Header: headers(t, described), Body: body}
					theirs, err := lib.checkReply(x, path, item), ours.CheckReply(x)
					if theirs == nil {
						accepted++
					} else {
						rejected++
					}
					if theirs == nil && err != nil && isOnlyOurs(err, body) {
						continue
					}
					if (theirs == nil) != (err == nil) {
						t.Errorf("%s %s: %s, %s: %s\nthe library: %v\nopenapitest: %v", method, path, status, name, body, theirs, err)
					}
				}
			}
		}
	})
	if accepted < 100 || rejected < 100 {
		t.Errorf("the library accepted %d and rejected %d replies; want at least 100 each", accepted, rejected)
	}
}

// isOnlyOurs reports whether the library does not look for a fault of a reply: it
// accepts null for every schema, and does not compare error codes with examples.
func isOnlyOurs(fault error, body []byte) bool {
	text := fault.Error()
	return string(body) == "null" || strings.Contains(text, "no example with the code") || strings.Contains(text, "of a field")
}

func TestRequestsAreJudgedAsByTheLibrary(t *testing.T) {
	ours, lib := load(t)
	var accepted, rejected int
	lib.operations(func(method, path string, item *v3.PathItem, op *v3.Operation) {
		if op.RequestBody == nil {
			return
		}
		for _, example := range lib.examples(t, op.RequestBody.Content.GetOrZero("application/json")) {
			for name, body := range variants(t, example) {
				x := openapitest.Exchange{Method: method, Target: target(path), RequestBody: body}
				theirs := lib.checkRequest(x, path, item)
				if theirs == nil {
					accepted++
				} else {
					rejected++
				}
				if err := ours.CheckRequest(x); (theirs == nil) != (err == nil) {
					t.Errorf("%s %s: %s: %s\nthe library: %v\nopenapitest: %v", method, path, name, body, theirs, err)
				}
			}
		}
	})
	if accepted < 20 || rejected < 20 {
		t.Errorf("the library accepted %d and rejected %d requests; want at least 20 each", accepted, rejected)
	}
}

// target returns a path with values for its parameters.
func target(path string) string {
	return strings.NewReplacer("{id}", "x", "{user_id}", "x").Replace(path)
}

// headers returns the headers that a reply must have.
func headers(t *testing.T, described *v3.Response) http.Header {
	t.Helper()
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	for name, header := range described.Headers.FromOldest() {
		if header.Required {
			h[name] = []string{header.Example.Value}
		}
	}
	return h
}

func (l library) checkReply(x openapitest.Exchange, path string, item *v3.PathItem) error {
	request := &http.Request{Method: x.Method, URL: &url.URL{Path: x.Target}, Header: http.Header{}}
	header := http.Header{}
	for name, values := range x.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	reply := &http.Response{StatusCode: x.Status, Header: header, Body: io.NopCloser(bytes.NewReader(x.Body)), Request: request}
	_, errs := l.replies.ValidateResponseBodyWithPathItem(request, reply, item, path)
	return first(errs)
}

func (l library) checkRequest(x openapitest.Exchange, path string, item *v3.PathItem) error {
	request := &http.Request{
		Method: x.Method, URL: &url.URL{Path: x.Target}, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(x.RequestBody)), ContentLength: int64(len(x.RequestBody)),
	}
	_, errs := l.bodies.ValidateRequestBodyWithPathItem(request, item, path)
	return first(errs)
}

func first(errs []*validation.ValidationError) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s %v", errs[0].Message, errs[0].Reason, errs[0].SchemaValidationErrors)
}

// variants returns a JSON value, and many copies with one change each: a key less,
// a key more, or another value in one place.
func variants(t *testing.T, v any) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	add := func(name string, changed any) {
		text, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	add("unchanged", v)
	mutate(v, "", add)
	return all
}

// others are the values that replace each part of an example.
var others = map[string]any{
	"null": nil, "true": true, "zero": 0, "a fraction": 1.5, "a large number": 1e9, "empty text": "", "text": "x",
	"long text": strings.Repeat("é", 2000), "a control character": "a\nb", "a list": []any{}, "a full list": []any{1}, "an object": map[string]any{},
}

// mutate calls yield with every change of v and a name for the change.
func mutate(v any, at string, yield func(name string, changed any)) {
	for name, other := range others {
		yield(at+" as "+name, other)
	}
	switch v := v.(type) {
	case map[string]any:
		more := maps.Clone(v)
		more["unknown"] = "x"
		yield(at+" with an unknown key", more)
		for key, value := range v {
			less := maps.Clone(v)
			delete(less, key)
			yield(at+" without "+key, less)
			mutate(value, at+"."+key, func(name string, changed any) {
				copied := maps.Clone(v)
				copied[key] = changed
				yield(name, copied)
			})
		}
	case []any:
		for i, value := range v {
			mutate(value, fmt.Sprintf("%s[%d]", at, i), func(name string, changed any) {
				copied := slices.Clone(v)
				copied[i] = changed
				yield(name, copied)
			})
		}
	}
}
