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

// A replay stands for a library that scripts/setup cannot install. It sends what
// the library sends, byte for byte, and makes of each reply what the library's types
// make of it. What it knows of a library is a table, a wire; replay_ruby_test.go and
// its like hold them. The code here, and the steps, are the same for all.
//
// Each try goes over a connection of its own. What an HTTP stack does by itself with
// a connection from its pool that turns out to be dead is not replayed.
type wire struct {
	language, version, generation string

	https bool // it speaks nothing but https, on port 443

	// The headers of a request, a line each, in their order and spelling. A line with
	// {length} or {key} is sent if there is a body or an Idempotency-Key.
	get, post, delete string

	quote   func(string) string // a text, as this language's encoder of JSON writes it
	segment func(string) string // an id, as it stands in a path

	calls map[string]wireCall

	// The parameters that a list is asked for, in their order, as name or
	// name=default. Without any a caller shows the first ten factors alone.
	query      string
	typedOrder bool // a caller can ask for no other orders than asc and desc

	// What is read of the objects in a reply, by the names of their types: see read.
	types      map[string]string
	unreadable string // the class of what it throws when a type cannot hold a reply

	errors    []wireError
	message   func(*refusal) string // what the error says, if that is not the body's message
	requestID string                // the header, and how it must be spelled; "" if the library shows none
	anyCase   bool                  // headers of replies are found however they are spelled

	retry   wireRetry
	webhook wireWebhook
}

// A wireCall is one call, as the user of a library writes it, with what goes over
// the wire and what the reply becomes.
type wireCall struct {
	call string // with the values that the examples of docs/clients.md give

	// The method, the path and the body, with {names} for what the caller gives: in a
	// path as an id, in a body as a JSON string. {query} is that of a list.
	sends string

	reads   string // the type of the reply, or "" where it is not read
	refuses string // the class of what the library throws instead of sending anything
}

// A wireError says what the library throws at a status, and which parts of the
// answer the caller can get at: code, message, errors, retry_after, body. A status of 0 stands
// for all others. A library without a row for a status takes it for success.
type wireError struct {
	status int
	class  string
	shows  string
}

// A wireRetry says when a request is tried again.
type wireRetry struct {
	statuses []int // beside lost connections
	times    int   // tries after the first
	wait     time.Duration
	key      keyForm

	silently string // methods that the HTTP stack itself repeats at once, once, when no reply came
	lost     string // the class of what is thrown in the end when no reply comes
	// The library takes no answer for an answer of {}.
	lostIsEmpty bool
}

// A keyForm says which POST requests have an Idempotency-Key.
type keyForm string

const (
	noKey        keyForm = ""                       // none; the caller cannot give one
	callersKey   keyForm = "the caller's"           // none, unless the caller gives one
	newKey       keyForm = "one a call"             // a new one for each call, the same in each try
	keyFromRetry keyForm = "from the second try on" // none in the first try, unless the caller gives one
)

// A target is what the user of a library points it at.
type target struct {
	url, apiKey string
	tls         *tls.Config // for https
	watch       func(try)   // is shown every exchange by https, which no network sees
}

// args are what a caller gives, by the names that stand in braces in a table.
type args map[string]string

// A record is an object of a reply, as far as the library reads it: strings,
// booleans, records and []record.
type record map[string]any

func (r record) text(key string) string   { s, _ := r[key].(string); return s }
func (r record) sub(key string) record    { s, _ := r[key].(record); return s }
func (r record) list(key string) []record { s, _ := r[key].([]record); return s }

// An outcome is what a call came to. The reply is the last one, as it came.
type outcome struct {
	value   record
	refusal *refusal // nil if the library threw nothing
	reply   reply
	fault   error // the reply is not what it must be, whatever the library makes of it
}

// A refusal is what a library throws, as far as the caller can look into it.
type refusal struct {
	class      string
	status     int
	code       string
	message    string
	errors     []string // the codes
	retryAfter string
	requestID  string
	said       map[string]any // the body
}

// do makes a call.
func (w *wire) do(at target, name string, a args) outcome {
	return w.doWith(at, name, a, "", w.retry.times)
}

// doWith makes a call with an idempotency key that the caller gives, and with as many
// tries after the first as the caller allows.
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

// patience is how long to wait after a try: as long as the server asks for, else the
// shortest that the library may choose.
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

// A reply is one as it came.
type reply struct {
	status  int
	headers [][2]string // as they are spelled
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
		host = "localhost" // port 443 is left out, and it knows of no other
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

// understand makes of a reply what the library makes of it.
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

// lawful checks what every reply must keep to, so that some library can live with it.
func lawful(answer reply) error {
	switch id := answer.header("x-request-id", false); {
	case !uuidForm.MatchString(id):
		return fmt.Errorf("status %d: x-request-id, in lower case, is %q; want a UUID", answer.status, id)
	case answer.header("Content-Encoding", true) != "":
		return fmt.Errorf("status %d: the body is encoded, though not every library can decode it", answer.status)
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

// refuse returns what the library throws.
func (w *wire) refuse(row *wireError, answer reply) *refusal {
	r := &refusal{class: row.class, status: answer.status}
	var body struct {
		Message, Code string
		Errors        []struct{ Field, Code string }
	}
	json.Unmarshal(answer.body, &body) // lawful has seen that it can be read
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

// read returns what a type keeps of a value. A type is a list of properties:
//
//	code              a string; absent or null will do
//	id!               a string, which must be there
//	created_at!:time  a string in the form that the language's parser of times takes
//	type!:totp|sms    one of these strings
//	valid!:bool       a boolean
//	totp=Totp         an object of that type
//	data!=[]Factor    an array of such objects
//
// Whatever else there is, it ignores.
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
			panic("what is " + p)
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

// timeForm is what every language's parser takes.
var timeForm = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$`)

func fits(form string, v any) error {
	if form == "bool" {
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v is no boolean", v)
		}
		return nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return fmt.Errorf("%v is no string", v)
	case form == "time" && !timeForm.MatchString(s):
		return fmt.Errorf("%q is no time", s)
	case form != "" && form != "time" && !slices.Contains(strings.Split(form, "|"), s):
		return fmt.Errorf("%q is not %s", s, form)
	}
	return nil
}

// uuid returns a random one.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// plainJSON writes a string as most encoders do: only what JSON must have escaped is.
func plainJSON(s string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSuffix(out.String(), "\n")
}

// asciiJSON writes a string as PHP does: slashes escaped, and all beyond ASCII.
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
		panic(err) // it is a string
	}
	return string(text)
}

// asIs puts an id into a path as it is, percentEncoded as an encoder of URLs does.
func asIs(id string) string { return id }

func percentEncoded(id string) string {
	return strings.ReplaceAll(url.QueryEscape(id), "+", "%20")
}
