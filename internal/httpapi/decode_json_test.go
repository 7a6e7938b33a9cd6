package httpapi

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A jsonText is a field as encoding/json reads it.
type jsonText struct {
	value string
	isSet bool // neither absent nor null
	wrong bool // not a string
}

func (t *jsonText) UnmarshalJSON(b []byte) error {
	*t = jsonText{isSet: string(b) != "null"}
	if t.isSet && json.Unmarshal(b, &t.value) != nil {
		t.value, t.wrong = string(b), true
	}
	return nil
}

// FuzzBodiesAreReadAsEncodingJSONDoes compares decode with encoding/json.
func FuzzBodiesAreReadAsEncodingJSONDoes(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { } `, `{"code":"123456"}`, "\r\n{\t\"code\" : \"1\" ,\n\"code\":\"2\"}", `{"code":""}`, `{"code":"Zoë 𝄞"}`,
		`{"code":"a","authentication_challenge_id":"b"}`, `{"Code":"1"}`, `{"code":"\u0031"}`, `{"code":"1",}`, `{"code":"1"}}`, `{"code":"1"} {}`,
		`{"code":1}`, `{"code":null}`, `{"code":"1","code":null}`, `{"code":"1","other":"2"}`, `{"code" "1"}`, `{"code":"1" "code":"2"}`, `{"code`, `{"code":"1`, `{,}`, `{:}`,
		"{\"code\":\"a\nb\"}", "{\"code\":\"\x7f\"}", "{\"code\":\"\u00a0\"}", "{\u00a0}", `{""":""}`, `{"code":{"code":"1"}}`, `["code"]`, `"code"`,
		`{"a":{"b":[1,{"c":"}"}],"d":"\"}"},"code":"1"}`, `{"c\u006fde":"1"}`, `{"code\\":"1"}`, `{"\u212aey":1}`, `{"code":"1","CODE":"2"}`, `{"code":[1 , 2]}`, `{"code":1.0 }`, `{"code":"\ud800"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			t.Skip("decode refuses it")
		}
		var want struct {
			ID   jsonText `json:"authentication_challenge_id"`
			Code jsonText `json:"code"`
		}
		if json.Unmarshal(body, &want) != nil {
			t.Skip("other tests show which bodies decode refuses, and accepts as {}")
		}
		var id, any, code, number string
		var given bool
		err := decode(body, text("authentication_challenge_id", &id), text("code", &code))
		if wrong := want.ID.wrong || want.Code.wrong; (err != nil) != wrong {
			t.Errorf("%q: %v; want an error: %t", body, err, wrong)
		}
		if !want.ID.wrong && id != want.ID.value || !want.Code.wrong && code != want.Code.value {
			t.Errorf("%q is read as %q, %q; want %+v", body, id, code, want)
		}
		if err := decode(body, anyText("code", &any)); err != nil || any != want.Code.value {
			t.Errorf("%q: any value is read as %q, %v; want %+v", body, any, err, want.Code)
		}
		if want.Code.wrong {
			want.Code.value = mfa.NumberCode(want.Code.value)
		}
		if err := decode(body, codeText("code", &number, &given)); err != nil || given != want.Code.isSet || given && number != want.Code.value {
			t.Errorf("%q: a code is read as %q, %t, %v; want %+v", body, number, given, err, want.Code)
		}
	})
}
