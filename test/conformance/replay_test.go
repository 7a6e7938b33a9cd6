package conformance_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A wire describes a library that scripts/setup cannot install, for a replay. A replay
// sends the requests of the library byte for byte, and reads each reply as the
// library's types do. A wire is a table; replay_ruby_test.go and similar files contain
// them. The code here and the steps are the same for all.
//
// Each try uses a new connection. The replay does not imitate an HTTP stack's handling
// of a dead connection in its pool.
type wire struct {
	language, version, generation string

	https bool // it uses only https, on port 443

	// The headers of a request, one per line, in their order and spelling. A line with
	// {length} is sent if there is a body, a line with {key} if there is an
	// Idempotency-Key.
	get, post, delete string

	quote   func(string) string // writes a text as this language's JSON encoder does
	segment func(string) string // writes an id as a segment of a path

	calls map[string]wireCall

	// The parameters of a list, in their order, as name or name=default. If empty, a
	// caller sees only the first ten factors.
	query      string
	typedOrder bool // a caller can only ask for the orders asc and desc

	// The fields that it reads of the objects in a reply, by the names of their types;
	// see read.
	types      map[string]string
	unreadable string // the class of the exception if a type cannot hold a reply

	errors    []wireError
	message   func(*refusal) string // the text of the error, if it is not the body's message
	requestID string                // the header and its spelling; "" if the library does not show the request id
	anyCase   bool                  // it finds headers of replies in any spelling

	retry   wireRetry
	webhook wireWebhook
}

// A wireCall is one call as a user of the library writes it, with its request on the
// wire and the type of the reply.
type wireCall struct {
	call string // with the values that the examples of docs/clients.md use

	// The method, the path and the body, with {names} for the caller's values: in a
	// path as an id, in a body as a JSON string. {query} is the query of a list.
	sends string

	reads   string // the type of the reply, or "" if the library does not read it
	refuses string // the class of the exception that the library throws instead of sending a request
}

// A wireError names the exception that the library throws for a status, and the parts
// of the answer that the caller can read: code, message, errors, retry_after, body. The
// status 0 matches all other statuses. A library without a row for a status treats it
// as success.
type wireError struct {
	status int
	class  string
	shows  string
}

// A wireRetry says when the library tries a request again.
type wireRetry struct {
	statuses []int // in addition to lost connections
	times    int   // tries after the first
	wait     time.Duration
	key      keyForm

	silently string // methods that the HTTP stack itself repeats at once, one time, if no reply arrives
	lost     string // the class of the exception after the last try without a reply
	// The library treats a missing reply as the reply {}.
	lostIsEmpty bool
}

// A keyForm says which POST requests have an Idempotency-Key.
type keyForm string

const (
	noKey        keyForm = ""                       // no key; the caller cannot give one
	callersKey   keyForm = "the caller's"           // no key, unless the caller gives one
	newKey       keyForm = "one a call"             // a new key for each call, the same in each try
	keyFromRetry keyForm = "from the second try on" // no key in the first try, unless the caller gives one
)

// A target is the server that the user of a library configures.
type target struct {
	url, apiKey string
	tls         *tls.Config // for https
	watch       func(try)   // called with every exchange by https, which no network sees
}

// args are the values that a caller gives, by the names in braces in a table.
type args map[string]string

// A record is an object of a reply, restricted to the fields that the library reads:
// strings, booleans, records and []record.
type record map[string]any

func (r record) text(key string) string   { s, _ := r[key].(string); return s }
func (r record) sub(key string) record    { s, _ := r[key].(record); return s }
func (r record) list(key string) []record { s, _ := r[key].([]record); return s }

// An outcome is the result of a call. The reply is the last one, as received.
type outcome struct {
	value   record
	refusal *refusal // nil if the library threw nothing
	reply   reply
	fault   error // a defect of the reply, even if the library accepts it
}

// A refusal is an exception of a library, restricted to the parts that the caller can
// read.
type refusal struct {
	class      string
	status     int
	code       string
	message    string
	errors     []string // their codes
	retryAfter string
	requestID  string
	said       map[string]any // the body
}

// do makes a call.
func (w *wire) do(at target, name string, a args) outcome {
	return w.doWith(at, name, a, "", w.retry.times)
}

// doWith makes a call with the caller's idempotency key and the caller's number of
// tries after the first.
func (w *wire) doWith(at target, name string, a args, key string, times int) outcome {
	c, ok := w.calls[name]
	if !ok {
		return outcome{fault: fmt.Errorf("%s %s has no call %q", w.language, w.version, name)}
	}
	if c.refuses != "" {
		return outcome{refusal: &refusal{class: c.refuses}}
	}
	method, rest, _ := strings.Cut(c.sends, " ")
	path, body, _ := strings.Cut(rest, " ")
	path = strings.Replace(path, "{query}", w.ask(a), 1)
	var inPath, inBody []string
	for name, value := range a {
		inPath = append(inPath, "{"+name+"}", w.segment(value))
		inBody = append(inBody, "{"+name+"}", w.quote(value))
	}
	path, body = strings.NewReplacer(inPath...).Replace(path), strings.NewReplacer(inBody...).Replace(body)
	if key == "" && method == "POST" && w.retry.key == newKey {
		key = uuid()
	}
	for tries := 0; ; tries++ {
		answer, err := w.exchange(at, method, path, body, key)
		if err != nil && tries == 0 && strings.Contains(w.retry.silently, method) {
			answer, err = w.exchange(at, method, path, body, key)
		}
		if tries == times || err == nil && !slices.Contains(w.retry.statuses, answer.status) {
			return w.understand(c, answer, err)
		}
		time.Sleep(w.patience(tries, answer))
		if key == "" && method == "POST" && w.retry.key == keyFromRetry {
			key = uuid()
		}
	}
}

// patience returns the wait after a try: the time that the server asks for, or else the
// shortest time that the library may choose.
func (w *wire) patience(tries int, answer reply) time.Duration {
	if seconds, err := strconv.Atoi(answer.header("Retry-After", true)); err == nil {
		return time.Duration(seconds) * time.Second
	}
	return w.retry.wait << tries
}

// ask returns the query of a list, with its question mark.
func (w *wire) ask(a args) string {
	var query []string
	for parameter := range strings.FieldsSeq(w.query) {
		name, standard, _ := strings.Cut(parameter, "=")
		if value := cmp.Or(a[name], standard); value != "" {
			query = append(query, name+"="+url.QueryEscape(value))
		}
	}
	if query == nil {
		return ""
	}
	return "?" + strings.Join(query, "&")
}

// A reply is an HTTP reply as received.
type reply struct {
	status  int
	headers [][2]string // in their original spelling
	body    []byte
}

func (r reply) header(name string, anyCase bool) string {
	for _, h := range r.headers {
		if h[0] == name || anyCase && strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

// exchange sends one request and reads its reply.
func (w *wire) exchange(at target, method, path, body, key string) (reply, error) {
	u, err := url.Parse(at.url)
	if err != nil {
		return reply{}, err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	host := u.Host
	if w.https {
		host = "localhost" // port 443 is omitted, and no other port is possible
	}
	if u.Scheme == "https" {
		secure := tls.Client(conn, at.tls)
		defer secure.Close()
		conn = secure
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(w.request(method, path, host, at.apiKey, body, key)); err != nil {
		return reply{}, err
	}
	var raw bytes.Buffer
	answer, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &raw)), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	text, err := io.ReadAll(answer.Body)
	if err == nil && at.watch != nil {
		at.watch(try{
			Method: method, Path: path, Body: body,
			Status: answer.StatusCode, ReplyHeaders: headersOf(raw.Bytes()), ReplyBody: string(text),
		})
	}
	return reply{status: answer.StatusCode, headers: headersOf(raw.Bytes()), body: text}, err
}

// request returns the bytes of a request.
func (w *wire) request(method, path, host, apiKey, body, key string) []byte {
	headers := map[string]string{"GET": w.get, "POST": w.post, "DELETE": w.delete}[method]
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\n", method, path)
	for line := range strings.Lines(strings.TrimSpace(headers)) {
		if strings.Contains(line, "{key}") && key == "" || strings.Contains(line, "{length}") && body == "" {
			continue
		}
		out.WriteString(strings.NewReplacer(
			"{host}", host, "{api key}", apiKey, "{key}", key, "{length}", strconv.Itoa(len(body)),
		).Replace(strings.TrimSpace(line)) + "\r\n")
	}
	out.WriteString("\r\n" + body)
	return out.Bytes()
}

// understand converts a reply to the outcome that the library produces.
func (w *wire) understand(c wireCall, answer reply, err error) outcome {
	o := outcome{reply: answer}
	switch {
	case err != nil && w.retry.lostIsEmpty:
		answer.body = []byte("{}")
	case err != nil:
		o.refusal = &refusal{class: w.retry.lost}
		return o
	default:
		if o.fault = lawful(answer); o.fault != nil {
			return o
		}
		if row := w.errorAt(answer.status); row != nil {
			o.refusal = w.refuse(row, answer)
			return o
		}
	}
	if c.reads == "" || answer.status == http.StatusNoContent {
		return o
	}
	typ := c.reads
	if onSuccess, onError, ok := strings.Cut(typ, " or "); ok {
		typ = onSuccess
		if answer.status >= 400 {
			typ = onError
		}
	}
	var said any
	if err := json.Unmarshal(answer.body, &said); err != nil {
		o.fault = err
		return o
	}
	value, err := w.read(typ, said)
	if err != nil {
		o.refusal = &refusal{class: w.unreadable, message: err.Error()}
		return o
	}
	o.value = value
	return o
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// lawful checks the properties that some library needs in every reply.
func lawful(answer reply) error {
	switch id := answer.header("x-request-id", false); {
	case !uuidForm.MatchString(id):
		return fmt.Errorf("status %d: x-request-id, in lower case, is %q; want a UUID", answer.status, id)
	case answer.header("Content-Encoding", true) != "":
		return fmt.Errorf("status %d: the body is encoded, but not every library can decode it", answer.status)
	case answer.status == http.StatusNoContent:
		if len(answer.body) > 0 || answer.header("Content-Type", true) != "" {
			return fmt.Errorf("status 204 with a body, or a Content-Type")
		}
		return nil
	case answer.header("Content-Type", true) != "application/json; charset=utf-8":
		return fmt.Errorf("status %d: Content-Type %q", answer.status, answer.header("Content-Type", true))
	case answer.status < 400:
		return nil
	}
	var body struct {
		Message *string
		Code    *string
		Errors  []struct{ Field, Code *string }
	}
	if err := json.Unmarshal(answer.body, &body); err != nil {
		return fmt.Errorf("the body of a %d: %w", answer.status, err)
	}
	if body.Message == nil {
		return fmt.Errorf("the body of a %d has no message", answer.status)
	}
	for _, e := range body.Errors {
		if e.Code == nil || e.Field == nil {
			return errors.New("an error in the list has no field, or no code")
		}
	}
	return nil
}

func (w *wire) errorAt(status int) *wireError {
	if status < 400 {
		return nil
	}
	for i, row := range w.errors {
		if row.status == status || row.status == 0 {
			return &w.errors[i]
		}
	}
	return nil
}

// refuse returns the exception that the library throws.
func (w *wire) refuse(row *wireError, answer reply) *refusal {
	r := &refusal{class: row.class, status: answer.status}
	var body struct {
		Message, Code string
		Errors        []struct{ Field, Code string }
	}
	json.Unmarshal(answer.body, &body) // lawful has checked that the body can be read
	json.Unmarshal(answer.body, &r.said)
	for shown := range strings.FieldsSeq(row.shows) {
		switch shown {
		case "code":
			r.code = body.Code
		case "message":
			r.message = body.Message
		case "errors":
			for _, e := range body.Errors {
				r.errors = append(r.errors, e.Code)
			}
		case "retry_after":
			r.retryAfter = answer.header("Retry-After", w.anyCase)
		}
	}
	if w.requestID != "" {
		r.requestID = answer.header(w.requestID, w.anyCase)
	}
	if w.message != nil {
		r.message = w.message(r)
	}
	return r
}

var property = regexp.MustCompile(`^(\w+)(!?)(?:=(\[\])?(\w+)|:(\S+))?$`)

// read returns the part of a value that a type keeps. A type is a list of properties:
//
//	code              a string; may be absent or null
//	id!               a string, required
//	created_at!:time  a string in the format that the language's time parser accepts
//	type!:totp|sms    one of these strings
//	valid!:bool       a boolean
//	totp=Totp         an object of that type
//	data!=[]Factor    an array of such objects
//
// It ignores all other properties.
func (w *wire) read(typ string, said any) (record, error) {
	object, ok := said.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: not an object", typ)
	}
	properties, ok := w.types[typ]
	if !ok {
		panic("there is no type " + typ)
	}
	value := record{}
	for p := range strings.FieldsSeq(properties) {
		m := property.FindStringSubmatch(p)
		if m == nil {
			panic("not a property: " + p)
		}
		name, must, list, of, form := m[1], m[2] != "", m[3] != "", m[4], m[5]
		v := object[name]
		if v == nil {
			if must {
				return nil, fmt.Errorf("%s: no %s", typ, name)
			}
			continue
		}
		var err error
		switch {
		case list:
			value[name], err = w.readList(of, v)
		case of != "":
			value[name], err = w.read(of, v)
		default:
			err = fits(form, v)
			value[name] = v
		}
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", typ, name, err)
		}
	}
	return value, nil
}

func (w *wire) readList(typ string, said any) ([]record, error) {
	array, ok := said.([]any)
	if !ok {
		return nil, errors.New("not an array")
	}
	list := []record{}
	for _, v := range array {
		item, err := w.read(typ, v)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	return list, nil
}

// timeForm is the format that the parsers of all languages accept.
var timeForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$`)

func fits(form string, v any) error {
	if form == "bool" {
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v is not a boolean", v)
		}
		return nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return fmt.Errorf("%v is not a string", v)
	case form == "time" && !timeForm.MatchString(s):
		return fmt.Errorf("%q is not a time", s)
	case form != "" && form != "time" && !slices.Contains(strings.Split(form, "|"), s):
		return fmt.Errorf("%q is not %s", s, form)
	}
	return nil
}

// uuid returns a random UUID.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// plainJSON writes a string as most encoders do: it escapes only the characters that
// JSON requires.
func plainJSON(s string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSuffix(out.String(), "\n")
}

// asciiJSON writes a string as PHP does: it escapes slashes and all characters beyond
// ASCII.
func asciiJSON(s string) string {
	var out strings.Builder
	for _, r := range strings.ReplaceAll(plainJSON(s), "/", `\/`) {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return out.String()
}

// goJSON writes a string as encoding/json does.
func goJSON(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be encoded
	}
	return string(text)
}

// asIs returns an id unchanged for a path; percentEncoded encodes it as a URL encoder
// does.
func asIs(id string) string { return id }

func percentEncoded(id string) string {
	return strings.ReplaceAll(url.QueryEscape(id), "+", "%20")
}
