package httpapi_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/openapitest"
)

// The two replies that any path can have.
const (
	noRoute  = openapitest.NoRoute
	noMethod = openapitest.NoMethod
)

var uuid = openapitest.UUID

// document returns the parsed openapi.yaml, as far as it is about the API of applications.
func document(t testing.TB) *openapitest.Document {
	t.Helper()
	d, err := openapitest.Load("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return d.Part("") // operatorapi has the tests of the other part
}

// checked wraps h and checks every reply against the document.
func checked(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	d := document(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := &tap{ResponseWriter: w}
		h.ServeHTTP(sent, r)
		checkReply(t, d, r, sent.status, w.Header(), sent.body.Bytes())
	})
}

// checkReply fails the test if the document does not allow a reply.
func checkReply(t testing.TB, d *openapitest.Document, r *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	err := d.CheckReply(openapitest.Exchange{
		Method: r.Method, Target: r.URL.RequestURI(), RequestHeader: r.Header,
		Status: status, Header: header, Body: body,
	})
	if err != nil {
		t.Errorf("%s %s: %d %.2000s\nis not as openapi.yaml says: %v", r.Method, r.URL.EscapedPath(), status, body, err)
	}
}

// allowed fails the test if the API accepts a body that the document does not allow.
func (w *fixture) allowed(path, body string) {
	w.t.Helper()
	x := openapitest.Exchange{Method: http.MethodPost, Target: path, RequestBody: []byte(body)}
	if err := document(w.t).CheckRequest(x); err != nil {
		w.t.Errorf("POST %s is taken with %s, which openapi.yaml does not allow: %v", path, body, err)
	}
}

// A tap keeps a copy of the response.
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

// documented returns a path with the parameter names of the document.
func documented(path string) string { return strings.Replace(path, "{user}", "{user_id}", 1) }

// canonical returns header with canonical names, for http.Header.Get.
func canonical(header http.Header) http.Header {
	c := http.Header{}
	for name, values := range header {
		c[http.CanonicalHeaderKey(name)] = values
	}
	return c
}

func TestTheDocumentIsServedUnchanged(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.get("/openapi.yaml", "Authorization:").is(http.StatusOK)
	if r.body != string(document(t).Text) {
		t.Error("/openapi.yaml is another document")
	}
	if got := r.header.Get("Content-Type"); got != "application/yaml" {
		t.Errorf("Content-Type is %q", got)
	}
}

func TestTheBrowserModuleNeedsNoKey(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.get("/js/countersign.js", "Authorization:").is(http.StatusOK)
	w.get("/js/countersign.js", "Authorization:", "If-None-Match: "+r.header.Get("ETag")).is(http.StatusNotModified)
}

func TestRoutesAndDocumentedOperationsAreTheSame(t *testing.T) {
	// Only the list in api.go names all routes: http.ServeMux cannot list them.
	file, err := parser.ParseFile(token.NewFileSet(), "api.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if pattern, literal := call.Args[0].(*ast.BasicLit); ok && literal && slices.Contains([]string{"route", "unboundedRoute", "Handle"}, fn.Sel.Name) {
			text, err := strconv.Unquote(pattern.Value)
			if err != nil {
				t.Fatal(err)
			}
			routes = append(routes, documented(text))
		}
		return true
	})
	// Only `countersign dev` has the inbox, and only SMS providers send receipts. Neither
	// route is part of the API.
	routes = slices.DeleteFunc(routes, func(r string) bool {
		return r == "/dev/inbox" || strings.HasSuffix(r, " /sms/receipts/{provider}")
	})
	slices.Sort(routes)
	if want := document(t).Operations(); !slices.Equal(routes, want) {
		t.Errorf("routes:\n%s\noperations of openapi.yaml:\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryDocumentedOperationIsServedAndNoOtherMethod(t *testing.T) {
	w := newFixture(t, setup{})
	operations := document(t).Operations()
	for _, path := range document(t).Paths() {
		target := strings.NewReplacer("{id}", "x", "{user_id}", "x").Replace(path)
		if path == "/events/stream" {
			target += "?x" // which is refused; a stream would not end
		}
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE"} {
			as := strings.Replace(method, "HEAD", "GET", 1)
			if slices.Contains(operations, as+" "+path) {
				allowed = append(allowed, method)
			}
		}
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
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
