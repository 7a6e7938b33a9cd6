package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
)

// A recorder remembers which status was sent.
type recorder struct {
	http.ResponseWriter
	status int // 0 until a header was sent

	simulated bool // the answer is a failure that a test number simulates
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// newRequestID returns a random UUID (RFC 9562, version 4).
func newRequestID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:], u[:4])
	for i, at := range []int{9, 14, 19, 24} {
		text[at-1] = '-'
		n := 2
		if i == 3 {
			n = 6
		}
		hex.Encode(text[at:], u[4+2*i:4+2*i+n])
	}
	return string(text[:])
}

// guarded runs h and turns a panic into an error.
func guarded(h handler, w http.ResponseWriter, r *request) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return h(w, r)
}

// reply sends a value in its shape.
func reply[T any](w http.ResponseWriter, status int, appended shape[T], v *T) error {
	body := bodies.Get().(*[]byte)
	*body = appended((*body)[:0], v)
	send(w, status, *body)
	if cap(*body) <= maxKept {
		bodies.Put(body)
	}
	return nil
}

// bodies are buffers of answers that were sent.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// maxKept is the longest that is used again. An enrollment has a third of it. It must
// not be larger than the buffer of net/http for HTTP/2, 4 KiB: of a longer answer to
// a request that was given up, some may still be sent after Write has returned.
const maxKept = 4 << 10

// respond sends v as encoding/json writes it.
func respond(w http.ResponseWriter, status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	send(w, status, body)
	return nil
}

// encode writes v as one line of compact JSON in which < > & stand for themselves.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Values of headers that never change.
var (
	jsonType = []string{"application/json; charset=utf-8"}
	noStore  = []string{"no-store"}
)

// countedByServer is how long an answer may be for net/http to say its length without
// being told.
const countedByServer = 2 << 10

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	if len(body) > countedByServer {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(status)
	w.Write(body)
}
