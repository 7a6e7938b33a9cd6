package httpapi

import (
	"encoding/binary"
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// reply sends the JSON of v.
func reply[T any](w http.ResponseWriter, status int, toJSON shape[T], v *T) error {
	web.Send(w, status, toJSON(make([]byte, 0, 512), v))
	return nil
}

// recorded returns an answer as it is stored for an idempotency key: its status in two
// bytes and then its body. It returns nil for an answer that must not be recorded.
func recorded[T any](status int, toJSON shape[T], result *T, err error) []byte {
	if err == nil {
		return toJSON(binary.BigEndian.AppendUint16(make([]byte, 0, 512), uint16(status)), result)
	}
	p := describe(err)
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests {
		return nil
	}
	body, err := web.Encode(p)
	if err != nil {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(p.Status)), body...)
}

// replayed sends the recorded answer if err is an *mfa.Replayed. Otherwise it returns err.
func replayed(w http.ResponseWriter, err error) error {
	r, ok := errors.AsType[*mfa.Replayed](err)
	if !ok {
		return err
	}
	w.Header().Set("Idempotency-Replayed", "true")
	web.Send(w, int(binary.BigEndian.Uint16(r.Answer)), r.Answer[2:])
	return nil
}
