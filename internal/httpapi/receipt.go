package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/web"
)

// receiptRequest reads the JSON of the key receipt; it returns nil for "". Unlike other keys,
// an unknown key in it is refused: without a misspelled nonce or action, a receipt would say less than
// its caller believes.
func receiptRequest(json string) (*receipt.Request, error) {
	if json == "" {
		return nil, nil
	}
	r := new(receipt.Request)
	var action string
	var expiresIn time.Duration
	err := within("receipt", decodeOnly([]byte(json),
		text("aud", &r.Audience), text("nonce", &r.Nonce), text("first_factor", &r.FirstFactor), seconds("expires_in", &expiresIn), object("action", &action)))
	if err != nil {
		return nil, err
	}
	r.ExpiresIn = int(expiresIn / time.Second)
	if action == "" {
		return r, nil
	}
	err = within("receipt.action", decodeOnly([]byte(action),
		text("title", &r.Action.Title), text("details", &r.Action.Details), text("sha256", &r.Action.SHA256)))
	if err == nil && r.Action == (receipt.Action{}) {
		return nil, required("receipt.action.title")
	}
	return r, err
}

// within names the fields of an error as fields of an object in the body.
func within(name string, err error) error {
	e, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok {
		return err
	}
	for i := range e.Fields {
		f := &e.Fields[i]
		if f.Field == "body" { // an unknown key
			f.Field = name
			continue
		}
		f.Message = strings.Replace(f.Message, f.Field, name+"."+f.Field, 1)
		f.Field = name + "." + f.Field
	}
	return e
}

// jwks serves GET /.well-known/jwks.json. Verifiers may keep it for five
// minutes: a new key is shown long before it signs.
func (a *API) jwks(w http.ResponseWriter, _ *web.Request) error {
	set, err := a.mfa.ReceiptKeys()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, err = w.Write(set)
	return err
}
