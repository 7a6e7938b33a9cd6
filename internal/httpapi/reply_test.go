package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// A reply is the answer to a request. Its status is 0 if there was no answer.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

func newReply(t testing.TB, status int, header http.Header, body string) reply {
	t.Helper()
	r := reply{t, status, header, body}
	var v any
	if json.Unmarshal([]byte(body), &v) == nil {
		remember(t, "", v)
	}
	return r
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// remember records the secrets in a reply, which no log may contain.
func remember(t testing.TB, key string, value any) {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		for k, inner := range v {
			remember(t, k, inner)
		}
	case []any:
		for _, inner := range v {
			remember(t, "", inner)
		}
	case string:
		switch key {
		case "code":
			if !sixDigits.MatchString(v) {
				return
			}
			logcapture.Secret(t, v)
		case "secret", "uri", "qr_code", "phone_number":
			logcapture.Secret(t, v)
		}
	}
}

// is fails the test unless the reply has that status.
func (r reply) is(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, %s; want %d", r.status, r.body, status)
	}
	return r
}

// says fails the test unless the reply has that status and a body equal to that JSON.
func (r reply) says(status int, body string) {
	r.t.Helper()
	if r.status != status {
		r.t.Errorf("status %d, %s; want %d, %s", r.status, r.body, status, body)
		return
	}
	var got, want any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		r.t.Fatalf("%s: %v", body, err)
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || !reflect.DeepEqual(got, want) {
		r.t.Errorf("body %s; want %s", r.body, body)
	}
}

// refuses fails the test unless the reply is a 422 with exactly these errors, each as
// "field code".
func (r reply) refuses(errs ...string) {
	r.t.Helper()
	var p struct {
		Message, Code string
		Errors        []struct{ Field, Code string }
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != http.StatusUnprocessableEntity {
		r.t.Errorf("status %d, %s; want 422", r.status, r.body)
		return
	}
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Field+" "+e.Code)
	}
	if p.Message != "Validation failed" || p.Code != "invalid_request_parameters" || !reflect.DeepEqual(got, errs) {
		r.t.Errorf("refused as %s; want the errors %q", r.body, errs)
	}
}

// at returns the value at a path of keys, such as "totp.issuer", or nil.
func (r reply) at(path string) any {
	r.t.Helper()
	var v any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		r.t.Fatalf("body %q is no JSON: %v", r.body, err)
	}
	for key := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[key]
	}
	return v
}

// text returns the string at a path of keys.
func (r reply) text(path string) string {
	r.t.Helper()
	s, ok := r.at(path).(string)
	if !ok {
		r.t.Fatalf("%s is no string in %s", path, r.body)
	}
	return s
}

// keys returns the paths of all values that are not objects, in the order of the body.
func (r reply) keys() string {
	r.t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(r.body)))
	var found []string
	if err := walk(d, "", &found); err != nil {
		r.t.Fatalf("body %q: %v", r.body, err)
	}
	return strings.Join(found, " ")
}

func walk(d *json.Decoder, path string, found *[]string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		*found = append(*found, path)
		return nil
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := walk(d, strings.TrimPrefix(path+"."+key.(string), "."), found); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
