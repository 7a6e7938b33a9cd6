package httpapi

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// FuzzPlainBodiesAreReadAsAllAre holds the quick way to read a body against
// encoding/json.
func FuzzPlainBodiesAreReadAsAllAre(f *testing.F) {
	for _, body := range []string{
		`{}`, ` { } `, `{"code":"123456"}`, "\r\n{\t\"code\" : \"1\" ,\n\"code\":\"2\"}", `{"code":""}`, `{"code":"Zoë 𝄞"}`,
		`{"code":"a","authentication_challenge_id":"b"}`, `{"Code":"1"}`, `{"code":"\u0031"}`, `{"code":"1",}`, `{"code":"1"}}`, `{"code":"1"} {}`,
		`{"code":1}`, `{"code":null}`, `{"code":"1","code":null}`, `{"code":"1","other":"2"}`, `{"code" "1"}`, `{"code":"1" "code":"2"}`, `{"code`, `{"code":"1`, `{,}`, `{:}`,
		"{\"code\":\"a\nb\"}", "{\"code\":\"\x7f\"}", "{\"code\":\"\u00a0\"}", "{\u00a0}", `{""":""}`, `{"code":{"code":"1"}}`, `["code"]`, `"code"`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			t.Skip("decode refuses it before")
		}
		var quick, slow verifyRequest
		if decodePlain(body, &quick) {
			if err := json.Unmarshal(body, &slow); err != nil || !reflect.DeepEqual(quick, slow) {
				t.Errorf("%q is read as %+v; want %+v, %v", body, quick, slow, err)
			}
			return
		}
		// What was set halfway must not show.
		errQuick, errSlow := json.Unmarshal(body, &quick), json.Unmarshal(body, &slow)
		if errQuick == nil && errSlow == nil && !reflect.DeepEqual(quick, slow) {
			t.Errorf("%q is read as %+v after a try; want %+v", body, quick, slow)
		}
	})
}

func TestPlainBodiesAreReadTheQuickWay(t *testing.T) {
	for body, into := range map[string]fields{
		`{}`:                   &challengeRequest{},
		`{"sms_template":""}`:  &challengeRequest{},
		`{ "code": "123456" }`: &verifyRequest{},
		`{"type":"totp","totp_issuer":"Example","totp_user":"ada","totp_secret":"A","phone_number":"+1","user_id":"user_1"}`: &enrollRequest{},
		`{"authentication_factor_id":"a","locale":"de"}`:                                                                     &challengeRequest{},
		`{"authentication_challenge_id":"a","code":"1"}`:                                                                     &verifyRequest{},
	} {
		if !decodePlain([]byte(body), into) {
			t.Errorf("%s is not", body)
		}
	}
}
