package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

const jsonType = "application/json; charset=utf-8"

// Values of headers that never change. Header.Set would allocate each of them for each
// request.
var (
	jsonTypes = []string{jsonType}
	noStore   = []string{"no-store"}
)

// countedByServer is the length of a body, in bytes, up to which net/http itself sends
// Content-Length.
const countedByServer = 2 << 10

// Respond sends v as JSON.
func Respond(w http.ResponseWriter, status int, v any) error {
	body, err := Encode(v)
	if err != nil {
		return err
	}
	Send(w, status, body)
	return nil
}

// Encode returns v as one line of compact JSON. It does not escape < > and &.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Send sends a body that is JSON.
func Send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = jsonTypes, noStore
	if len(body) > countedByServer {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	w.Write(body) // an error means that the client has gone
}
