package operatorapi

import (
	"encoding/binary"
	"net/http"
	"strings"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/web"
)

// answer calls h and sends its answer. A POST with an Idempotency-Key is carried out once.
func (a *API) answer(w http.ResponseWriter, r *request, h handler) error {
	var err error
	if r.body, err = readBody(r.Content); err != nil { // GET and DELETE have none
		return err
	}
	once, err := a.once(r)
	if err != nil {
		return err
	}
	var failed error
	recorded, replayed, err := a.parts.Operator.Once(r.Context(), once, func() (text []byte, changed bool) {
		var res result
		if res, failed = h(r); failed != nil {
			// A refusal changes nothing. After another error, such as a commit whose outcome is
			// unknown, the request may have had its effect.
			return nil, describe(failed).Status >= http.StatusInternalServerError
		}
		text, failed = encode(res)
		return text, true
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	}
	if replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	status, body := int(binary.BigEndian.Uint16(recorded)), recorded[2:]
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return nil
	}
	web.Send(w, status, body)
	return nil
}

// once returns the idempotency.Request of a POST with an Idempotency-Key; otherwise nil.
func (a *API) once(r *request) (*idempotency.Request[[]byte], error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || r.Method != http.MethodPost || r.reads {
		return nil, nil
	}
	scope := idempotency.Scope{APIKey: string(r.key.ID), Method: r.Method, Path: r.URL.Path, Body: r.Content, TargetInBody: true}
	req, err := idempotency.New(key, scope, func(answer []byte, _ error) []byte { return answer })
	if err != nil {
		return nil, invalid("Idempotency-Key", "invalid", err.Error())
	}
	return req, nil
}

// encode returns an answer as it is recorded: its status in two bytes and then its body.
func encode(res result) ([]byte, error) {
	text := binary.BigEndian.AppendUint16(nil, uint16(res.status))
	if res.v == nil {
		return text, nil
	}
	body, err := web.Encode(res.v)
	return append(text, body...), err
}

// cutMethod splits a pattern.
func cutMethod(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, path
}

func ok(v any) (result, error)      { return result{http.StatusOK, v}, nil }
func created(v any) (result, error) { return result{http.StatusCreated, v}, nil }
func nothing() (result, error)      { return result{http.StatusNoContent, nil}, nil }
