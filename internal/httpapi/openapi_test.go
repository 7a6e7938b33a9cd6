package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/responses"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"go.yaml.in/yaml/v3"
)

// A description is openapi.yaml, ready to be compared with replies.
type description struct {
	text      []byte
	paths     map[string]*v3.PathItem
	validator responses.ResponseBodyValidator
}

var described = sync.OnceValues(func() (*description, error) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		return nil, err
	}
	strict, err := closed(text)
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
	d := &description{text: text, paths: map[string]*v3.PathItem{}}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		d.paths[path] = item
	}
	d.validator = responses.NewResponseBodyValidator(&model.Model, config.WithFormatAssertions())
	return d, nil
})

// closed returns the document with schemas of replies that allow no key beside
// those they name. Clients must expect new ones, but here each would be a slip.
func closed(text []byte) ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	components, _ := doc["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for name, schema := range schemas {
		// FactorBase is a part of other schemas.
		if name != "FactorBase" && !strings.HasSuffix(name, "Request") {
			closeSchema(schema, false)
		}
	}
	return json.Marshal(doc)
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

// document returns openapi.yaml.
func document(t testing.TB) []byte {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return d.text
}

// held returns h with every reply held against the document.
func held(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tap := &tap{ResponseWriter: w}
		h.ServeHTTP(tap, r)
		if err := d.check(r, tap.status, w.Header(), tap.body.Bytes()); err != nil {
			t.Errorf("%s %s: %d %.2000s\nis not as openapi.yaml says: %v", r.Method, r.URL.EscapedPath(), tap.status, tap.body.Bytes(), err)
		}
	})
}

// A tap keeps a copy of what is sent.
type tap struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tap) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tap) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	t.body.Write(b)
	return t.ResponseWriter.Write(b)
}

func (t *tap) Unwrap() http.ResponseWriter { return t.ResponseWriter }

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// The two replies that can meet any path. The document has them in its
// introduction only, since OpenAPI has no place for a path that is not there.
const (
	noRoute  = `{"error":"Not Found","message":"Not Found"}`
	noMethod = `{"message":"Method Not Allowed","code":"method_not_allowed"}`
)

// check returns what about a reply to r is not as the document says.
func (d *description) check(r *http.Request, status int, header http.Header, body []byte) error {
	//lint:ignore SA1008 it is to be in lower case on the wire
	if id := header["x-request-id"]; len(id) != 1 || !uuid.MatchString(id[0]) {
		return fmt.Errorf("x-request-id is %q; want one UUID, and the name in lower case", id)
	}
	switch {
	case status == http.StatusNotFound && string(body) == noRoute:
		return nil
	case status == http.StatusMethodNotAllowed && string(body) == noMethod && header.Get("Allow") != "":
		return nil
	case status == http.StatusNoContent && header.Get("Content-Type") != "":
		return errors.New("204 has a Content-Type")
	case status != http.StatusNoContent && r.URL.Path != "/openapi.yaml" && header.Get("Content-Type") != "application/json; charset=utf-8":
		return fmt.Errorf("Content-Type is %q", header.Get("Content-Type"))
	}
	_, path, _ := strings.Cut(r.Pattern, " ")
	path = documented(path)
	item := d.paths[path]
	if item == nil {
		return fmt.Errorf("no path %q", path)
	}
	request := r.Clone(r.Context())
	if r.Method == http.MethodHead { // the reply to GET, less its body
		request.Method = http.MethodGet
	}
	response := &http.Response{StatusCode: status, Header: canonical(header), Body: io.NopCloser(bytes.NewReader(body)), Request: request}
	_, errs := d.validator.ValidateResponseBodyWithPathItem(request, response, item, path)
	all := []error{undeclared(item.GetOperations().GetOrZero(strings.ToLower(request.Method)), status, header)}
	for _, e := range errs {
		all = append(all, fmt.Errorf("%s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors))
	}
	return errors.Join(all...)
}

// undeclared returns which header of a reply the operation does not name.
func undeclared(op *v3.Operation, status int, header http.Header) error {
	if op == nil || op.Responses.Codes.GetOrZero(strconv.Itoa(status)) == nil {
		return errors.New("no such reply")
	}
	// OpenAPI has no place for the first. The others are HTTP's own, but for the
	// last, which is described in prose with Idempotency-Key.
	known := []string{"Content-Type", "Content-Length", "Cache-Control", "WWW-Authenticate", "Idempotency-Replayed"}
	for name := range op.Responses.Codes.GetOrZero(strconv.Itoa(status)).Headers.KeysFromOldest() {
		known = append(known, name)
	}
	for name := range header {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			return fmt.Errorf("no header %s", name)
		}
	}
	return nil
}

// documented returns a path as the document writes it.
func documented(path string) string { return strings.Replace(path, "{user}", "{user_id}", 1) }

// canonical returns header with names that http.Header.Get finds.
func canonical(header http.Header) http.Header {
	c := http.Header{}
	for name, values := range header {
		c[http.CanonicalHeaderKey(name)] = values
	}
	return c
}

func TestTheDocumentIsServedAsItIs(t *testing.T) {
	w := newWorld(t, setup{})
	r := w.get("/openapi.yaml", "Authorization:").is(http.StatusOK)
	if r.body != string(document(t)) {
		t.Error("/openapi.yaml is another document")
	}
	if got := r.header.Get("Content-Type"); got != "application/yaml" {
		t.Errorf("Content-Type is %q", got)
	}
}

// operations lists what the document describes, "POST /auth/factors/enroll".
func operations(t *testing.T) []string {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for path, item := range d.paths {
		for method := range item.GetOperations().KeysFromOldest() {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

func TestRoutesAndDocumentedOperationsAreTheSame(t *testing.T) {
	// The list in api.go is the only place that names all routes: a mux cannot be asked.
	file, err := parser.ParseFile(token.NewFileSet(), "api.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if pattern, literal := call.Args[0].(*ast.BasicLit); ok && literal && (fn.Sel.Name == "route" || fn.Sel.Name == "open") {
			text, err := strconv.Unquote(pattern.Value)
			if err != nil {
				t.Fatal(err)
			}
			routes = append(routes, documented(text))
		}
		return true
	})
	// The inbox is part of `countersign dev` only, and of no API.
	routes = slices.DeleteFunc(routes, func(r string) bool { return r == "/dev/inbox" })
	slices.Sort(routes)
	if want := operations(t); !slices.Equal(routes, want) {
		t.Errorf("routes:\n%s\noperations of openapi.yaml:\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryDocumentedOperationIsServedAndNoOtherMethod(t *testing.T) {
	w := newWorld(t, setup{})
	mux := http.NewServeMux()
	for _, op := range operations(t) {
		mux.Handle(op, http.NotFoundHandler())
	}
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	for path := range d.paths {
		target := strings.NewReplacer("{id}", "x", "{user_id}", "x").Replace(path)
		var allowed []string
		methods := []string{"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"}
		for _, method := range methods {
			probe, err := http.NewRequest(method, w.url+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, pattern := mux.Handler(probe); pattern != "" {
				allowed = append(allowed, method)
			}
		}
		for _, method := range methods {
			t.Run(method+" "+path, func(t *testing.T) {
				w := w.on(t)
				r := w.do(method, target, "")
				if slices.Contains(allowed, method) {
					if r.status == http.StatusMethodNotAllowed || r.body == noRoute {
						t.Errorf("%d %s", r.status, r.body)
					}
					return
				}
				if r.is(http.StatusMethodNotAllowed); method != http.MethodHead {
					r.says(http.StatusMethodNotAllowed, noMethod)
				}
				if got, want := r.header.Get("Allow"), strings.Join(allowed, ", "); got != want {
					t.Errorf("Allow is %q; want %q", got, want)
				}
			})
		}
	}
}
