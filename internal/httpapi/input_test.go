package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAByteOrderMarkBeforeABodyIsIgnored(t *testing.T) {
	w := newFixture(t, setup{})
	const mark = "\ufeff"
	id := w.post("/auth/factors/enroll", mark+`{"type":"generic_otp"}`).is(http.StatusCreated).text("id")
	w.post("/auth/factors/"+id+"/challenge", mark).is(http.StatusCreated)
	w.post("/auth/factors/"+id+"/challenge", mark+" null").is(http.StatusCreated)
	w.post("/auth/factors/"+id+"/challenge", mark+mark+"{}").is(http.StatusBadRequest)
	w.post("/auth/factors/"+id+"/challenge", "{}"+mark).is(http.StatusBadRequest)
}

// On routes that only Countersign has, an unknown name is a mistake.
func TestRoutesThatWorkOSLacksNameUnknownKeys(t *testing.T) {
	w := newFixture(t, setup{})
	at := "/auth/challenges/" + w.challenge(w.phone()).text("id")
	for _, tc := range []struct {
		reply       reply
		fault, name string
	}{
		{w.post(at+"/resend", `{"authentication_factor":"x"}`), "body body_unknown_key", "authentication_factor"},
		{w.post(at+"/resend", `{"b":1,"a":{"c":[]}}`), "body body_unknown_key", `\"a\"`},
		{w.post(at+"/resend?chanel=sms", ``), "query query_unknown_parameter", "chanel"},
		{w.get(at + "?expand=factor"), "query query_unknown_parameter", "expand"},
		{w.post(at+"/resend", `{"`+strings.Repeat("x", 1000)+`":1}`), "body body_unknown_key", strings.Repeat("x", 64) + "…"},
		{w.get(at + "?%zz"), "query query_unreadable", "query"},
	} {
		tc.reply.refuses(tc.fault)
		if !strings.Contains(tc.reply.body, tc.name) {
			t.Errorf("%s does not name %s", tc.reply.body, tc.name)
		}
	}
	for _, body := range []string{"", "{}", "null", "[]"} {
		w.get(at + "?").is(http.StatusOK)
		w.post(at+"/resend", body).is(http.StatusTooManyRequests) // the next message is allowed after 30 seconds
	}
}

// Client libraries send keys that no route reads.
func TestUnknownNamesAreIgnoredOnTheRoutesOfClientLibraries(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.post("/auth/factors/enroll?x=y", `{"type":"generic_otp","usr_id":"u","domain":null}`).is(http.StatusCreated).text("id")
	c := w.post("/auth/factors/"+id+"/challenge?x=y", `{"User":"u"}`).is(http.StatusCreated)
	w.post("/auth/challenges/"+c.text("id")+"/verify?x=y", `{"code":"`+wrong+`","type":"x"}`).is(http.StatusCreated)
	w.post("/user_management/users/u/auth_factors", `{"type":"totp","User":"u"}`).is(http.StatusCreated)
	w.get("/user_management/users/u/auth_factors?x=y").is(http.StatusOK)
	w.get("/auth/factors/" + id + "?x=y").is(http.StatusOK)
}

// RFC 9112, section 6.1: the connection of a request with both Transfer-Encoding and
// Content-Length is closed after the answer.
func TestTheConnectionOfAChunkedRequestEnds(t *testing.T) {
	w := newFixture(t, setup{})
	request := func(path, headers, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.key + "\r\n" + headers + "\r\n" + body
	}
	const body = `{"type":"generic_otp"}`
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	second := request("/auth/factors/enroll", "Connection: close\r\nContent-Length: 22\r\n", body)
	for _, tc := range []struct {
		name, first string
		answers     int
	}{
		{"both", request("/auth/factors/enroll", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", chunked), 1},
		{"both, the other way round", request("/auth/factors/enroll", "Transfer-Encoding: chunked\r\nContent-Length: 300\r\n", chunked), 1},
		{"both, on no route", request("/nowhere", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", chunked), 1},
		{"chunked", request("/auth/factors/enroll", "Transfer-Encoding: chunked\r\n", chunked), 1},
		{"two lengths that differ", request("/auth/factors/enroll", "Content-Length: 22\r\nContent-Length: 4\r\n", body), 1},
		{"twice the same length", request("/auth/factors/enroll", "Content-Length: 22\r\nContent-Length: 22\r\n", body), 2},
		{"length", request("/auth/factors/enroll", "Content-Length: 22\r\n", body), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := w.on(t).raw(tc.first + second)
			if n := strings.Count(text, "HTTP/1.1 "); n != tc.answers {
				t.Errorf("%d answers; want %d:\n%s", n, tc.answers, text)
			}
			if tc.answers == 1 && !strings.Contains(text, "\r\nConnection: close\r\n") {
				t.Errorf("the end of the connection is not announced:\n%s", text)
			}
			if tc.name == "two lengths that differ" && !strings.HasPrefix(text, "HTTP/1.1 400 ") {
				t.Errorf("answered %s", text)
			}
		})
	}
}
