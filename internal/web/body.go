package web

import (
	"errors"
	"io"
	"net/http"
	"os"
)

// MaxBody is the maximum size of a request body, in bytes.
const MaxBody = 64 << 10

// readAtOnce is the size in bytes up to which ReadBody allocates a body by its
// Content-Length. Longer bodies get memory only as they arrive. io.ReadAll for all bodies
// takes 0.7 µs more, which is 1 % of the server's time for a flow.
const readAtOnce = 4 << 10

// ReadBody reads the body of r into r.Content. Its errors are ErrTooLarge, ErrLate and
// a *BodyError.
func ReadBody(w http.ResponseWriter, r *Request) (err error) {
	switch {
	case r.ContentLength > MaxBody:
		return ErrTooLarge
	case 0 <= r.ContentLength && r.ContentLength <= readAtOnce:
		r.Content = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, r.Content)
	default:
		r.Content, err = io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return ErrTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrLate
	}
	if err != nil {
		return &BodyError{errors.New("cut short")}
	}
	return nil
}
