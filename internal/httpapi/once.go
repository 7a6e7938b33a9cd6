package httpapi

import (
	"encoding/binary"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// once returns the idempotency.Request of a request with an Idempotency-Key, and nil for a
// request without one. status and toJSON make the recorded answer of a success.
func once[T any](r request, status int, toJSON shape[T]) (*idempotency.Request[T], error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return nil, nil
	}
	scope := idempotency.Scope{
		APIKey: string(r.key.ID), Method: r.Method, Path: r.URL.Path, Body: r.Content,
		TargetInBody: r.PathValue("id") == "" && r.PathValue("user") == "",
	}
	req, err := idempotency.New(key, scope, func(result T, err error) []byte { return recorded(status, toJSON, &result, err) })
	if err != nil {
		return nil, &mfa.InvalidError{Fields: []mfa.FieldError{{Field: "Idempotency-Key", Code: "invalid", Message: err.Error()}}}
	}
	return req, nil
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

// replyOnce sends the recorded answer if the request was answered before, and the JSON of
// v otherwise.
func replyOnce[T any](w http.ResponseWriter, r request, replayed *idempotency.Answer, status int, toJSON shape[T], v *T) error {
	if replayed == nil {
		return reply(w, status, toJSON, v)
	}
	status, body := int(binary.BigEndian.Uint16(replayed.Bytes)), replayed.Bytes[2:]
	r.concernsAnswer(status, body)
	w.Header().Set("Idempotency-Replayed", "true")
	web.Send(w, status, body)
	return nil
}
