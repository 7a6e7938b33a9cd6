package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// The two replies that can meet any path. The document has them in its
// introduction only, since OpenAPI has no place for a path that is not there.
const (
	NoRoute  = `{"error":"Not Found","message":"Not Found"}`
	NoMethod = `{"message":"Method Not Allowed","code":"method_not_allowed"}`
)

// outside reports whether a path is outside the API: the inbox is a page of
// `countersign dev`, and SMS providers post receipts.
func outside(path string) bool {
	return path == "/dev/inbox" || strings.HasPrefix(path, "/sms/receipts/")
}

// UUID is what the id of a request looks like.
var UUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// An Exchange is a request and the reply to it. Headers are spelled as they were
// sent, and of the body to HEAD there may be none.
type Exchange struct {
	Method        string
	Target        string // the path and the query, as on the wire
	RequestHeader http.Header
	RequestBody   []byte

	Status int
	Header http.Header
	Body   []byte
}

// known are headers of replies that the document does not name: OpenAPI forbids it
// for the first, and the others are HTTP's own.
var known = []string{"Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Date", "Cache-Control"}

// CheckReply returns what about a reply is not as the document says.
func (d *Document) CheckReply(x Exchange) error {
	//lint:ignore SA1008 it is to be in lower case on the wire
	if id := x.Header["x-request-id"]; len(id) != 1 || !UUID.MatchString(id[0]) {
		return fmt.Errorf("x-request-id is %q; want one UUID, and the name in lower case", id)
	}
	target, err := url.ParseRequestURI(x.Target)
	if err != nil {
		// Such as "A:0", a URL of another scheme: it has no path.
		return checkBare(x, http.StatusNotFound, NoRoute)
	}
	if outside(target.Path) && string(x.Body) != NoRoute {
		return nil
	}
	header := canonical(x.Header)
	path, item := d.find(target.EscapedPath())
	switch {
	case item == nil:
		return checkBare(x, http.StatusNotFound, NoRoute)
	case operation(item, x.Method) == nil:
		if want := allowed(item); header.Get("Allow") != want {
			return fmt.Errorf("the header Allow is %q; want %q", header.Get("Allow"), want)
		}
		return checkBare(x, http.StatusMethodNotAllowed, NoMethod)
	case x.Status == http.StatusNoContent && (header.Get("Content-Type") != "" || len(x.Body) > 0):
		return errors.New("204 has a body, or a Content-Type")
	case x.Status != http.StatusNoContent && x.Method != http.MethodHead && len(x.Body) == 0:
		return errors.New("the body is empty")
	}
	if want := contentType(path, x.Status); header.Get("Content-Type") != want {
		return fmt.Errorf("the header Content-Type is %q; want %q", header.Get("Content-Type"), want)
	}
	reply := operation(item, x.Method).Responses.Codes.GetOrZero(strconv.Itoa(x.Status))
	if reply == nil {
		return errors.New("no such reply")
	}
	all := []error{undeclared(reply, x.Header), d.undocumented(reply, x)}
	if x.Method != http.MethodHead || len(x.Body) > 0 {
		all = append(all, d.checkBody(x, path, item, target, header))
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

// allowed is the Allow header of a path.
func allowed(item *v3.PathItem) string {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if operation(item, m) != nil {
			methods = append(methods, m)
		}
	}
	return strings.Join(methods, ", ")
}

func contentType(path string, status int) string {
	switch {
	case status == http.StatusNoContent:
		return ""
	case path == "/openapi.yaml":
		return "application/yaml"
	}
	return "application/json; charset=utf-8"
}

// undeclared returns which header of a reply the document does not name.
func undeclared(reply *v3.Response, header http.Header) error {
	for name := range header {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(known, same) && !slices.ContainsFunc(slices.Collect(reply.Headers.KeysFromOldest()), same) {
			return fmt.Errorf("no header %s", name)
		}
	}
	return nil
}

// undocumented returns which code of an error the document does not have there.
func (d *Document) undocumented(reply *v3.Response, x Exchange) error {
	var p problem
	if x.Status < http.StatusBadRequest || len(x.Body) == 0 || json.Unmarshal(x.Body, &p) != nil {
		return nil // the schema reports the fault
	}
	shown, err := examples(reply)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(shown, func(s problem) bool { return s.Code == p.Code }) {
		return fmt.Errorf("no example with the code %q", p.Code)
	}
	for _, e := range p.Errors {
		if !slices.Contains(d.fieldCodes, e.Code) {
			return fmt.Errorf("no code %q of a field", e.Code)
		}
	}
	return nil
}

// checkBody holds the body and the headers of a reply against their schemas.
func (d *Document) checkBody(x Exchange, path string, item *v3.PathItem, target *url.URL, header http.Header) error {
	request := &http.Request{Method: x.Method, URL: target, Header: canonical(x.RequestHeader)}
	if x.Method == http.MethodHead {
		request.Method = http.MethodGet
	}
	reply := &http.Response{StatusCode: x.Status, Header: header, Body: io.NopCloser(bytes.NewReader(x.Body)), Request: request}
	var all []error
	d.mu.Lock()
	_, errs := d.replies.ValidateResponseBodyWithPathItem(request, reply, item, path)
	d.mu.Unlock()
	for _, e := range errs {
		all = append(all, fmt.Errorf("%s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors))
	}
	return errors.Join(all...)
}

// CheckRequest returns what about the body of a request is not as the document
// says. A server may take more than it tells, but not from those whose requests it
// promises to take.
func (d *Document) CheckRequest(x Exchange) error {
	target, err := url.ParseRequestURI(x.Target)
	if err != nil {
		return err
	}
	if outside(target.Path) {
		return nil
	}
	path, item := d.find(target.EscapedPath())
	if item == nil || operation(item, x.Method) == nil {
		return fmt.Errorf("%s %s is not described", x.Method, target.EscapedPath())
	}
	described := operation(item, x.Method).RequestBody
	if described == nil {
		return nil // its contents are not read
	}
	if len(x.RequestBody) == 0 {
		if described.Required != nil && *described.Required {
			return errors.New("no body")
		}
		return nil
	}
	// Without a Content-Type it is taken for JSON.
	request := &http.Request{
		Method: x.Method, URL: target, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(x.RequestBody)), ContentLength: int64(len(x.RequestBody)),
	}
	var all []error
	d.mu.Lock()
	_, errs := d.bodies.ValidateRequestBodyWithPathItem(request, item, path)
	d.mu.Unlock()
	for _, e := range errs {
		all = append(all, fmt.Errorf("%s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors))
	}
	return errors.Join(all...)
}

// canonical returns header with names that http.Header.Get finds.
func canonical(header http.Header) http.Header {
	c := http.Header{}
	for name, values := range header {
		c[http.CanonicalHeaderKey(name)] = values
	}
	return c
}
