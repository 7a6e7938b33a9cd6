// Package openapitest holds what a server answers against openapi.yaml, whether it
// was asked in the same process or over a network. It is imported by tests only.
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

	"github.com/pb33f/libopenapi"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/requests"
	"github.com/pb33f/libopenapi-validator/responses"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"go.yaml.in/yaml/v3"
)

// A Document is openapi.yaml, ready to be compared with replies. It is safe for
// concurrent use.
type Document struct {
	Text []byte

	paths      map[string]*v3.PathItem
	fieldCodes []string

	mu      sync.Mutex // of the validators, which finish a schema when they first need it
	replies responses.ResponseBodyValidator
	bodies  requests.RequestBodyValidator
}

// Load reads the document at a path, once in a process.
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
	d := &Document{Text: text, paths: map[string]*v3.PathItem{}}
	if d.fieldCodes = fieldCodes(tree); d.fieldCodes == nil {
		return nil, errors.New("the schema FieldError has no examples of its code")
	}
	closeReplies(tree)
	strict, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	doc, err := libopenapi.NewDocument(strict)
	if err != nil {
		return nil, err
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		return nil, err
	}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		d.paths[path] = item
	}
	d.replies = responses.NewResponseBodyValidator(&model.Model, config.WithFormatAssertions())
	d.bodies = requests.NewRequestBodyValidator(&model.Model, config.WithFormatAssertions())
	return d, nil
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

// fieldCodes returns the codes that an entry of errors is documented to have.
func fieldCodes(tree map[string]any) (codes []string) {
	listed, _ := dig(tree, "components", "schemas", "FieldError", "properties", "code")["examples"].([]any)
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

// Operations lists what the document describes, "POST /auth/factors/enroll", in
// the order of the alphabet.
func (d *Document) Operations() []string {
	var all []string
	for path, item := range d.paths {
		for method := range item.GetOperations().KeysFromOldest() {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Paths lists the paths of the document, in the order of the alphabet.
func (d *Document) Paths() []string { return slices.Sorted(maps.Keys(d.paths)) }

// FieldCodes lists the codes of faulty parameters.
func (d *Document) FieldCodes() []string { return d.fieldCodes }

// A Problem is an error that an operation is documented to answer.
type Problem struct {
	Operation string
	Status    string
	Code      string // "" for the one error without
	Message   string
}

// Problems lists the errors of all operations: each is an example of its reply.
func (d *Document) Problems() ([]Problem, error) {
	var all []Problem
	for _, operation := range d.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		op := d.paths[path].GetOperations().GetOrZero(strings.ToLower(method))
		for status, reply := range op.Responses.Codes.FromOldest() {
			if status < "400" {
				continue
			}
			shown, err := examples(reply)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", operation, status, err)
			}
			for _, s := range shown {
				all = append(all, Problem{operation, status, s.Code, s.Message})
			}
		}
	}
	return all, nil
}

// A problem is what all errors have.
type problem struct {
	Message string `yaml:"message" json:"message"`
	Code    string `yaml:"code" json:"code"`
	Errors  []struct {
		Code string `yaml:"code" json:"code"`
	} `yaml:"errors" json:"errors"`
}

// examples returns the errors that a reply is shown with.
func examples(reply *v3.Response) (shown []problem, err error) {
	media := reply.Content.GetOrZero("application/json")
	if media == nil {
		return nil, errors.New("no JSON")
	}
	var nodes []interface{ Decode(any) error }
	if media.Example != nil {
		nodes = append(nodes, media.Example)
	}
	for _, e := range media.Examples.FromOldest() {
		nodes = append(nodes, e.Value)
	}
	for _, node := range nodes {
		var p problem
		if err := node.Decode(&p); err != nil {
			return nil, err
		}
		shown = append(shown, p)
	}
	return shown, nil
}

// operation returns what the document says of a method of a path, nil if nothing.
// That of HEAD is that of GET.
func operation(item *v3.PathItem, method string) *v3.Operation {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return item.GetOperations().GetOrZero(strings.ToLower(method))
}

// find returns the path of the document that an escaped path is one of. One that
// is there literally goes before one with parameters.
func (d *Document) find(escaped string) (string, *v3.PathItem) {
	found := ""
	for path := range d.paths {
		if matches(path, escaped) && (found == "" || !strings.Contains(path, "{")) {
			found = path
		}
	}
	return found, d.paths[found]
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
