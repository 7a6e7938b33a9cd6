package httpapi

import (
	"net/http"

	"github.com/countersign-mfa/countersign/internal/web"
)

// reply sends the JSON of v.
func reply[T any](w http.ResponseWriter, status int, toJSON shape[T], v *T) error {
	web.Send(w, status, toJSON(make([]byte, 0, 512), v))
	return nil
}
