package openapitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The two replies that any path can have. The document describes them only in its
// introduction, because OpenAPI cannot describe a path that does not exist.
const (
	NoRoute  = `{"error":"Not Found","message":"Not Found"}`
	NoMethod = `{"message":"Method Not Allowed","code":"method_not_allowed"}`
)

// outside reports whether a path is outside the API: the inbox is a page of
// `countersign dev`, which also serves the clock and the faults of tests, and SMS providers post receipts.
func outside(path string) bool {
	return path == "/" || path == "/dev/inbox" || path == "/dev/explorer" || path == "/dev/clock" || path == "/dev/faults" || path == "/dev/reset" || strings.HasPrefix(path, "/sms/receipts/")
}

// UUID matches the id of a request.
var UUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// An Exchange is a request and its reply. Header names are spelled as they were
// sent. The reply to HEAD may have no body.
type Exchange struct {
	Method        string
	Target        string // the path and the query, as on the wire
	RequestHeader http.Header
	RequestBody   []byte

	Status int
	Header http.Header
	Body   []byte
}

// known are reply headers that the document does not name: OpenAPI forbids it for
// the first, and the others belong to HTTP.
var known = []string{"Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Date", "Cache-Control"}

// CheckReply returns how a reply differs from the document.
func (d *Document) CheckReply(x Exchange) error {
	//lint:ignore SA1008 the name is in lower case on the wire
	if id := x.Header["x-request-id"]; len(id) != 1 || !UUID.MatchString(id[0]) {
		return fmt.Errorf("x-request-id is %q; want one UUID, and the name in lower case", id)
	}
	target, err := url.ParseRequestURI(x.Target)
	if err != nil {
		// An example is "A:0", a URL with another scheme: it has no path.
		return checkBare(x, http.StatusNotFound, NoRoute)
	}
	if outside(target.Path) && string(x.Body) != NoRoute {
		return nil
	}
	header := canonical(x.Header)
	item := d.find(target.EscapedPath())
	op := item.operation(x.Method)
	switch {
	case item == nil:
		return checkBare(x, http.StatusNotFound, NoRoute)
	case op == nil:
		if want := allowed(item); header.Get("Allow") != want {
			return fmt.Errorf("the header Allow is %q; want %q", header.Get("Allow"), want)
		}
		return checkBare(x, http.StatusMethodNotAllowed, NoMethod)
	case bodiless(x.Status) && (header.Get("Content-Type") != "" || len(x.Body) > 0):
		return fmt.Errorf("%d has a body, or a Content-Type", x.Status)
	case !bodiless(x.Status) && x.Method != http.MethodHead && len(x.Body) == 0:
		return errors.New("the body is empty")
	}
	if want := contentType(target.Path, x.Status); header.Get("Content-Type") != want {
		return fmt.Errorf("the header Content-Type is %q; want %q", header.Get("Content-Type"), want)
	}
	described := op.replies[strconv.Itoa(x.Status)]
	if described == nil {
		return errors.New("no such reply")
	}
	all := []error{described.undeclared(x.Header), d.undocumented(described, x)}
	if x.Method != http.MethodHead || len(x.Body) > 0 {
		all = append(all, described.checkHeaders(header), described.checkBody(x.Body))
	}
	return errors.Join(all...)
}

// checkBare compares a reply with one that is the same for all paths.
func checkBare(x Exchange, status int, body string) error {
	if x.Status != status || string(x.Body) != body && (x.Method != http.MethodHead || len(x.Body) > 0) {
		return fmt.Errorf("the path and method are not described; want %d %s", status, body)
	}
	return nil
}

// allowed returns the Allow header of a path.
func allowed(item pathItem) string {
	var names []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if item.operation(m) != nil {
			names = append(names, m)
		}
	}
	return strings.Join(names, ", ")
}

// bodiless reports whether a reply has neither a body nor a Content-Type.
func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

func contentType(path string, status int) string {
	switch {
	case bodiless(status):
		return ""
	case path == "/js/countersign.js":
		return "text/javascript; charset=utf-8"
	case path == "/openapi.yaml":
		return "application/yaml"
	case path == "/events/stream" && status == http.StatusOK:
		return "text/event-stream"
	}
	return "application/json; charset=utf-8"
}

// undeclared reports a header that the document does not name.
func (r *reply) undeclared(header http.Header) error {
	for name := range header {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(known, same) && r.header(name) == nil {
			return fmt.Errorf("no header %s", name)
		}
	}
	return nil
}

// header returns the description of a header, or nil. Case does not matter.
func (r *reply) header(name string) *header {
	for other, h := range r.headers {
		if strings.EqualFold(name, other) {
			return h
		}
	}
	return nil
}

// undocumented reports an error code that the document does not list for the reply.
func (d *Document) undocumented(r *reply, x Exchange) error {
	var p problem
	if x.Status < http.StatusBadRequest || len(x.Body) == 0 || json.Unmarshal(x.Body, &p) != nil {
		return nil // the schema reports the fault
	}
	if !slices.ContainsFunc(r.errors, func(s problem) bool { return s.Code == p.Code }) {
		return fmt.Errorf("no example with the code %q", p.Code)
	}
	for _, e := range p.Errors {
		if !slices.Contains(d.FieldCodes(), e.Code) {
			return fmt.Errorf("no code %q of a field", e.Code)
		}
	}
	return nil
}

// checkHeaders compares canonical headers with their descriptions.
func (r *reply) checkHeaders(sent http.Header) error {
	var all []error
	for name, h := range r.headers {
		switch values := sent.Values(name); {
		case len(values) > 0:
			all = append(all, h.value.check("the header "+name, h.value.parse(values[0])))
		case h.required:
			all = append(all, fmt.Errorf("the header %s is missing", name))
		}
	}
	return errors.Join(all...)
}

// parse returns the value of a header as JSON would have it: a number if the
// schema wants one and the text is a number.
func (s *schema) parse(text string) any {
	if slices.Contains(s.types, "integer") || slices.Contains(s.types, "number") {
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}

// checkBody compares a body with its schema.
func (r *reply) checkBody(body []byte) error {
	if r.body == nil {
		return nil
	}
	return r.body.checkJSON(body)
}

func (s *schema) checkJSON(text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("the body cannot be decoded: %w", err)
	}
	return s.check("the body", value)
}

// CheckRequest returns how the body of a request differs from the document. A
// server may accept more than it documents, but a test must not rely on that.
func (d *Document) CheckRequest(x Exchange) error {
	target, err := url.ParseRequestURI(x.Target)
	if err != nil {
		return err
	}
	if outside(target.Path) {
		return nil
	}
	op := d.find(target.EscapedPath()).operation(x.Method)
	switch {
	case op == nil:
		return fmt.Errorf("%s %s is not described", x.Method, target.EscapedPath())
	case op.body == nil:
		return nil // the server does not read the body
	case len(x.RequestBody) > 0:
		return op.body.checkJSON(x.RequestBody) // it is read as JSON, even with another Content-Type
	case op.bodyRequired:
		return errors.New("no body")
	}
	return nil
}

// canonical returns header with names that http.Header.Get finds.
func canonical(header http.Header) http.Header {
	c := http.Header{}
	for name, values := range header {
		c[http.CanonicalHeaderKey(name)] = values
	}
	return c
}
