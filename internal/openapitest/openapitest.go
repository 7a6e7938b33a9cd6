// Package openapitest compares requests and replies with openapi.yaml. The exchange
// may happen in one process or over a network. Only tests import this package.
//
// It uses no OpenAPI library, because the product's go.mod would then require it.
// The module test/ compares its verdicts with the verdicts of such a library.
package openapitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// A Document is openapi.yaml, ready to be compared with replies. It is safe for
// concurrent use.
type Document struct {
	Text []byte

	strict     []byte
	paths      map[string]pathItem
	fieldCodes map[string][]string // by the schema that lists them
	part       string              // the schema of FieldCodes; "": all
}

// A pathItem has the operations of a path by method, in upper case.
type pathItem map[string]*operation

type operation struct {
	replies      map[string]*reply // by status
	body         *schema           // of the request; nil if the server does not read it
	bodyRequired bool
}

type reply struct {
	headers map[string]*header
	body    *schema   // nil if the body is not JSON
	errors  []problem // the examples of the body, if the status is 400 or higher
}

type header struct {
	required bool
	value    *schema
}

// Load reads the document at a path. It reads each path once per process.
func Load(path string) (*Document, error) {
	load, _ := loaded.LoadOrStore(path, sync.OnceValues(func() (*Document, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return Parse(text)
	}))
	return load.(func() (*Document, error))()
}

var loaded sync.Map // of functions that return a *Document, by path

// Parse reads a document.
func Parse(text []byte) (*Document, error) {
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	if version, _ := tree["openapi"].(string); !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("openapi: %q is not version 3.1", version)
	}
	d := &Document{Text: text, paths: map[string]pathItem{}}
	d.fieldCodes = map[string][]string{}
	for _, schema := range []string{applicationCodes, operatorCodes} {
		if d.fieldCodes[schema] = fieldCodes(tree, schema); d.fieldCodes[schema] == nil && schema == applicationCodes {
			return nil, fmt.Errorf("the schema %s has no examples of its code", schema)
		}
	}
	closeReplies(tree)
	var err error
	if d.strict, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	// Numbers have the same types now as those in a reply.
	tree = nil
	if err := json.Unmarshal(d.strict, &tree); err != nil {
		return nil, err
	}
	r := reader{tree: tree, compiled: map[string]*schema{}}
	for path, item := range dig(tree, "paths") {
		d.paths[path] = r.pathItem(path, item)
	}
	return d, errors.Join(r.faults...)
}

// closeReplies makes the schemas of replies refuse unnamed keys. Clients must
// accept new keys, but in these tests a new key is a mistake.
func closeReplies(tree map[string]any) {
	for name, schema := range dig(tree, "components", "schemas") {
		// FactorBase is a part of other schemas.
		if name != "FactorBase" && !strings.HasSuffix(name, "Request") {
			closeSchema(schema, false)
		}
	}
}

func closeSchema(v any, part bool) {
	schema, ok := v.(map[string]any)
	if !ok {
		return
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, p := range properties {
		closeSchema(p, false)
	}
	closeSchema(schema["items"], false)
	parts, _ := schema["allOf"].([]any)
	for _, p := range parts {
		closeSchema(p, true)
	}
	if !part && len(properties)+len(parts) > 0 {
		schema["unevaluatedProperties"] = false
	}
}

// The schemas that list the codes of faulty parameters of each face.
const (
	applicationCodes = "FieldError"
	operatorCodes    = "OperatorFieldError"
)

// fieldCodes returns the documented codes of an entry of errors.
func fieldCodes(tree map[string]any, schema string) (codes []string) {
	listed, _ := dig(tree, "components", "schemas", schema, "properties", "code")["examples"].([]any)
	for _, code := range listed {
		codes = append(codes, fmt.Sprint(code))
	}
	return codes
}

// dig returns the object at a path of keys.
func dig(tree map[string]any, keys ...string) map[string]any {
	for _, key := range keys {
		tree, _ = tree[key].(map[string]any)
	}
	return tree
}

// A reader turns the tree of a document into operations and schemas. It collects
// the faults that it finds.
type reader struct {
	tree     map[string]any
	compiled map[string]*schema // by reference
	faults   []error
}

func (r *reader) fault(at, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// object returns v, or the object that v refers to.
func (r *reader) object(at string, v any) map[string]any {
	object, ok := v.(map[string]any)
	if !ok {
		r.fault(at, "want an object; found %v", v)
		return nil
	}
	reference, ok := object["$ref"].(string)
	if !ok {
		return object
	}
	found := dig(r.tree, strings.Split(strings.TrimPrefix(reference, "#/"), "/")...)
	if found == nil {
		r.fault(at, "%s does not exist", reference)
	}
	return found
}

var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func (r *reader) pathItem(at string, v any) pathItem {
	item := pathItem{}
	object := r.object(at, v)
	for _, method := range methods {
		if described, ok := object[strings.ToLower(method)]; ok {
			item[method] = r.operation(method+" "+at, described)
		}
	}
	return item
}

func (r *reader) operation(at string, v any) *operation {
	object := r.object(at, v)
	op := &operation{replies: map[string]*reply{}}
	for status, described := range dig(object, "responses") {
		op.replies[status] = r.reply(at+": "+status, status, described)
	}
	if described, ok := object["requestBody"]; ok {
		body := r.object(at, described)
		op.bodyRequired, _ = body["required"].(bool)
		op.body = r.schema(at+": the body", dig(body, "content", "application/json")["schema"])
	}
	return op
}

func (r *reader) reply(at, status string, v any) *reply {
	object := r.object(at, v)
	described := &reply{headers: map[string]*header{}}
	for name, v := range dig(object, "headers") {
		h := r.object(at, v)
		required, _ := h["required"].(bool)
		described.headers[name] = &header{required, r.schema(at+": "+name, h["schema"])}
	}
	media := dig(object, "content", "application/json")
	if media != nil {
		described.body = r.schema(at+": the body", media["schema"])
	}
	if status < "400" {
		return described
	}
	if media == nil {
		r.fault(at, "an error without JSON")
	}
	if example, ok := media["example"]; ok {
		described.errors = append(described.errors, r.problem(at, example))
	}
	examples := dig(media, "examples")
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		described.errors = append(described.errors, r.problem(at, r.object(at, examples[name])["value"]))
	}
	return described
}

func (r *reader) problem(at string, example any) (p problem) {
	text, err := json.Marshal(example)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		r.fault(at, "an example is not an error: %v", err)
	}
	return p
}

// Strict returns the document as JSON, in which the schemas of replies refuse
// unnamed keys.
func (d *Document) Strict() []byte { return d.strict }

// Operations lists the described operations, such as "POST /auth/factors/enroll", in
// alphabetical order.
func (d *Document) Operations() []string {
	var all []string
	for path, item := range d.paths {
		for method := range item {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Paths lists the paths of the document in alphabetical order.
func (d *Document) Paths() []string { return slices.Sorted(maps.Keys(d.paths)) }

// FieldCodes lists the codes of faulty parameters.
func (d *Document) FieldCodes() []string {
	if d.part != "" {
		return d.fieldCodes[d.part]
	}
	all := slices.Concat(d.fieldCodes[applicationCodes], d.fieldCodes[operatorCodes])
	slices.Sort(all)
	return slices.Compact(all)
}

// operatorPrefix begins the paths of the operator API.
const operatorPrefix = "/operator/"

// Part returns the part of the document with the paths that begin with a prefix. With "", it
// returns the part for applications: all but the operator API.
func (d *Document) Part(prefix string) *Document {
	part := &Document{Text: d.Text, strict: d.strict, paths: map[string]pathItem{}, fieldCodes: d.fieldCodes, part: applicationCodes}
	if prefix != "" {
		part.part = operatorCodes
	}
	for path, item := range d.paths {
		if prefix != "" && strings.HasPrefix(path, prefix) || prefix == "" && !strings.HasPrefix(path, operatorPrefix) {
			part.paths[path] = item
		}
	}
	return part
}

// A Problem is a documented error of an operation.
type Problem struct {
	Operation string
	Status    string
	Code      string // "" for the one error without a code
	Message   string
}

// Problems lists the errors of all operations. Each is an example of its reply.
func (d *Document) Problems() []Problem {
	var all []Problem
	for _, name := range d.Operations() {
		method, path, _ := strings.Cut(name, " ")
		replies := d.paths[path][method].replies
		for _, status := range slices.Sorted(maps.Keys(replies)) {
			for _, p := range replies[status].errors {
				all = append(all, Problem{name, status, p.Code, p.Message})
			}
		}
	}
	return all
}

// A problem has the keys that all errors share.
type problem struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Errors  []struct {
		Code string `json:"code"`
	} `json:"errors"`
}

// operation returns the description of a method, or nil. HEAD has the description
// of GET.
func (p pathItem) operation(method string) *operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return p[method]
}

// find returns the described path that matches an escaped path. A literal match
// takes precedence over a match with parameters.
func (d *Document) find(escaped string) (item pathItem) {
	found := ""
	for path := range d.paths {
		if matches(path, escaped) && (found == "" || !strings.Contains(path, "{")) {
			found = path
		}
	}
	return d.paths[found]
}

func matches(template, escaped string) bool {
	want, got := strings.Split(template, "/"), strings.Split(escaped, "/")
	return slices.EqualFunc(want, got, func(want, got string) bool {
		if strings.HasPrefix(want, "{") {
			return got != "" && got != "." && got != ".."
		}
		text, err := url.PathUnescape(got)
		return err == nil && want == text
	})
}
