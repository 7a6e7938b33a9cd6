package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// codeAt returns the code that an app shows so many steps from now.
func (w *fixture) codeAt(p totp.Params, secret string, steps int64) string {
	w.t.Helper()
	key, err := totp.ParseSecret(secret)
	if err != nil {
		w.t.Fatal(err)
	}
	code := p.Code(key, p.Step(w.clock.Now())+steps)
	logcapture.Secret(w.t, code)
	return code
}

func TestTheAnswerToAWrongCodeHasAReason(t *testing.T) {
	w := newFixture(t, setup{})
	for _, tc := range []struct {
		name  string
		steps int64
		want  string // the end of the answer
	}{
		{"behind", -4, `"valid":false,"reason":"clock_skew","clock_skew":{"direction":"behind","seconds":120}}`},
		{"ahead", 4, `"valid":false,"reason":"clock_skew","clock_skew":{"direction":"ahead","seconds":120}}`},
		{"an hour behind", -120, `"valid":false}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			id, secret := w.app()
			path := "/auth/challenges/" + w.challenge(id).text("id") + "/verify"
			body := `{"code":"` + w.codeAt(totp.Params{}, secret, tc.steps) + `"}`
			first := w.post(path, body, onceKey).is(http.StatusCreated)
			if !strings.HasSuffix(first.body, tc.want) {
				t.Errorf("answer is %s; want an end of %s", first.body, tc.want)
			}
			w.clock.Advance(5 * time.Minute)
			replays(t, first, w.post(path, body, onceKey))
		})
	}
	id, secret := w.app()
	code := w.totpCode(secret)
	w.verify(w.challenge(id).text("id"), code).is(http.StatusCreated)
	if got := w.verify(w.challenge(id).text("id"), code); !strings.HasSuffix(got.body, `"valid":false,"reason":"spent_code"}`) {
		t.Errorf("answer to a spent code is %s", got.body)
	}
}

func TestTOTPParametersOnTheWire(t *testing.T) {
	w := newFixture(t, setup{})
	for body, want := range map[string]string{
		`"totp_algorithm":"SHA512","totp_digits":8,"totp_period":60`:         `"algorithm":"SHA512","digits":8,"period":60`,
		`"totp_algorithm":"sha-256","totp_digits":"8","totp_period":"30"`:    `"algorithm":"SHA256","digits":8,"period":30`,
		`"totp_algorithm":null,"totp_digits":6,"totp_period":60`:             `"algorithm":"SHA1","digits":6,"period":60`,
		`"totp_algorithm":"SHA1","totp_digits":6,"totp_period":30`:           ``,
		`"totp_algorithm":"","totp_digits":"","totp_period":null,"other":[]`: ``,
	} {
		e := w.post("/auth/factors/enroll", `{"type":"totp",`+body+`}`).is(http.StatusCreated)
		read := w.get("/auth/factors/" + e.text("id")).is(http.StatusOK)
		for _, r := range []reply{e, read} {
			if has := strings.Contains(r.body, `"algorithm"`); has != (want != "") || !strings.Contains(r.body, want) {
				t.Errorf("{%s}: answer is %s; want %s", body, r.body, want)
			}
		}
	}
	for body, field := range map[string]string{
		`"totp_algorithm":"MD5"`: "totp_algorithm", `"totp_algorithm":5`: "totp_algorithm", `"totp_digits":7`: "totp_digits",
		`"totp_digits":[6]`: "totp_digits", `"totp_period":15`: "totp_period", `"totp_period":{}`: "totp_period",
	} {
		r := w.post("/auth/factors/enroll", `{"type":"totp",`+body+`}`).is(http.StatusUnprocessableEntity)
		if !strings.Contains(r.body, `"field":"`+field+`"`) {
			t.Errorf("{%s}: answer is %s; want an error of %s", body, r.body, field)
		}
	}
}

func TestACodeOfEightDigitsAsANumber(t *testing.T) {
	w := newFixture(t, setup{})
	e := w.post("/auth/factors/enroll", `{"type":"totp","totp_digits":8}`).is(http.StatusCreated)
	code := w.codeAt(totp.Params{Eight: true}, e.text("totp.secret"), 0)
	for strings.HasPrefix(code, "00") { // a number with two zeros means a code of six digits
		w.clock.Advance(30 * time.Second)
		code = w.codeAt(totp.Params{Eight: true}, e.text("totp.secret"), 0)
	}
	body := `{"code":` + strings.TrimPrefix(code, "0") + `}`
	if r := w.post("/auth/challenges/"+w.challenge(e.text("id")).text("id")+"/verify", body).is(http.StatusCreated); !strings.Contains(r.body, `"valid":true`) {
		t.Errorf("answer to %s is %s", body, r.body)
	}
}
