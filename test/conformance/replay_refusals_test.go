package conformance_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A want describes the expected refusal of the server.
type want struct {
	status        int
	code, message string
	errors        []string // their codes
}

func factorNotFound(id string) want {
	return want{404, "entity_not_found", "Authentication Factor not found: '" + id + "'.", nil}
}

func challengeNotFound(id string) want {
	return want{404, "entity_not_found", "Authentication Challenge not found: '" + id + "'.", nil}
}

func previouslyVerified(challenge record) want {
	return want{422, "authentication_challenge_previously_verified",
		"The authentication challenge '" + challenge.text("id") + "' has already been verified.", nil}
}

func invalid(requirement string) want {
	return want{422, "invalid_request_parameters", "Validation failed", []string{requirement}}
}

var (
	tooManyAttempts = want{400, "one_time_code_too_many_attempts", "Request could not be processed.", nil}
	tooManyMessages = want{429, "sms_challenge_rate_limited", "Too many messages to this phone number. Try again later.", nil}
	unauthorized    = want{401, "", "Unauthorized", nil}
	keyReused       = want{422, "idempotency_error",
		"This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.", nil}
)

// refused checks that the server refused a call, on the wire and as the library shows
// it.
func (r *replayer) refused(t *testing.T, o outcome, want want) {
	t.Helper()
	if o.fault != nil {
		t.Fatal(o.fault)
	}
	if o.reply.status != want.status {
		t.Fatalf("status %d: %s; want %d", o.reply.status, o.reply.body, want.status)
	}
	var body struct {
		Code, Message string
		Errors        []struct{ Code string }
	}
	if err := json.Unmarshal(o.reply.body, &body); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, e := range body.Errors {
		codes = append(codes, e.Code)
	}
	if body.Code != want.code || body.Message != want.message || !slices.Equal(codes, want.errors) {
		t.Errorf("the body is %s; want %+v", o.reply.body, want)
	}

	row := r.errorAt(want.status)
	if row == nil {
		r.unnoticed(t, o, want)
		return
	}
	got := o.refusal
	if got == nil || got.class != row.class {
		t.Fatalf("the library throws %+v; want %s", got, row.class)
	}
	for shown := range strings.FieldsSeq(row.shows) {
		switch {
		case shown == "code" && got.code != want.code,
			shown == "message" && !strings.Contains(got.message, want.message),
			shown == "errors" && !slices.Equal(got.errors, want.errors):
			t.Errorf("the library shows the %s of %+v; want %+v", shown, got, want)
		}
	}
	if r.requestID != "" && !uuidForm.MatchString(got.requestID) {
		t.Errorf("the library shows the request id as %q", got.requestID)
	}
}

// unnoticed checks a library that ignores the status: it must not be able to mistake
// the refusal for a success.
func (r *replayer) unnoticed(t *testing.T, o outcome, want want) {
	t.Helper()
	if o.refusal != nil {
		if o.refusal.class != r.unreadable {
			t.Errorf("the library throws %s; want %s", o.refusal.class, r.unreadable)
		}
		return
	}
	for _, good := range []string{"id", "valid", "challenge", "totp", "sms"} {
		if _, ok := o.value[good]; ok {
			t.Errorf("at status %d the library returns %v", want.status, o.value)
		}
	}
	if _, ok := o.value["message"]; ok && (o.value.text("message") != want.message || o.value.text("code") != want.code) {
		t.Errorf("the library returns %v; want %+v", o.value, want)
	}
}

func bodyOf(t *testing.T, o outcome) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(o.reply.body, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

var sixDigits = regexp.MustCompile(`^\d{6}$`)

const unknownULID = "01FVYZ5QM8N98T9ME5BCB2BBMJ"

var refusalSteps = []replayStep{
	{"unknown factor", func(r *replayer, t *testing.T) string {
		for _, id := range []string{"auth_factor_" + unknownULID, "auth_challenge_" + unknownULID, "no-such-factor", "O'Brien"} {
			for _, call := range []string{getFactor, deleteFactor, challengePlain} {
				r.refused(t, r.do(r.main, call, args{"factor": id}), factorNotFound(id))
			}
		}
		return r.errorAs(404)
	}},
	{"unknown challenge", func(r *replayer, t *testing.T) string {
		for _, id := range []string{"auth_challenge_" + unknownULID, "auth_factor_" + unknownULID, "no-such-challenge"} {
			r.refused(t, r.do(r.main, verifyCode, args{"challenge": id, "code": "123456"}), challengeNotFound(id))
		}
		return r.errorAs(404)
	}},
	{"unknown path", func(r *replayer, t *testing.T) string {
		call, a := getUnknown, args{}
		if r.segment("a/b") == "a/b" { // an id that contains a slash leads to another path
			call, a = getFactor, args{"factor": "no/such/path"}
		}
		r.needs(t, call)
		r.refused(t, r.do(r.main, call, a), want{404, "", "Not Found", nil})
		return r.errorAs(404)
	}},
	{"an error names its request", func(r *replayer, t *testing.T) string {
		forget(r.network)
		o := r.do(r.far, getFactor, args{"factor": "auth_factor_" + unknownULID})
		tries := seen(r.network)
		if len(tries) != 1 {
			t.Fatalf("%d tries; want 1", len(tries))
		}
		sent := reply{headers: tries[0].ReplyHeaders}.header("x-request-id", false)
		if !uuidForm.MatchString(sent) {
			t.Errorf("x-request-id is %q", sent)
		}
		if r.requestID == "" {
			r.skip(t, showsNoID)
		}
		if o.refusal == nil || o.refusal.requestID != sent {
			t.Errorf("the library shows %+v; want the id %q", o.refusal, sent)
		}
		if !r.anyCase {
			return "found only in lower case"
		}
		return ""
	}},
	{"bad phone number", func(r *replayer, t *testing.T) string {
		for _, phone := range []string{"foo", "123", "+1 202", "+999 12345678"} {
			r.refused(t, r.do(r.main, enrollSMS, args{"phone": phone}),
				want{422, "invalid_phone_number", "Phone number is invalid: '" + phone + "'", nil})
		}
		return r.errorAs(422)
	}},
	{"bad input", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollSMS)
		for _, bad := range []struct {
			call        string
			given       args
			requirement string
		}{
			{enrollNoPhone, nil, "phone_number_required"},
			{enrollSMS, args{"phone": ""}, "phone_number_required"},
			{enrollUnknown, nil, "type_unsupported"},
			{enrollNothing, nil, "type_required"},
			{enrollTOTP, args{"issuer": "line\nbreak", "user": "user@example.com"}, "totp_issuer_invalid_characters"},
			{challengeText, args{"factor": factor.text("id"), "template": "no place for it"}, "sms_template_missing_code"},
		} {
			if r.has(bad.call) {
				r.refused(t, r.do(r.main, bad.call, bad.given), invalid(bad.requirement))
			}
		}
		return r.errorAs(422)
	}},
	{"bad API key", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, enrollTOTP)
		stranger := r.main
		stranger.apiKey = "sk_test_wrong"
		given := args{
			"factor": o.factor.text("id"), "challenge": o.challenge.text("id"), "code": o.right(),
			"issuer": "Foo Corp", "user": "user@example.com", "user_id": "user_1",
		}
		for _, call := range []string{enrollTOTP, getFactor, deleteFactor, challengePlain, verifyCode, userEnroll, userList} {
			if r.has(call) {
				r.refused(t, r.do(stranger, call, given), unauthorized)
			}
		}
		r.must(t, r.main, getFactor, args{"factor": o.factor.text("id")})
		return r.errorAs(401)
	}},
	{"another environment", func(r *replayer, t *testing.T) string {
		id := r.enroll(t, r.main, r.anyKind()).text("id")
		r.refused(t, r.do(r.brief, getFactor, args{"factor": id}), factorNotFound(id))
		return ""
	}},
}

// errorAs returns the error that a library raises for a status.
func (r *replayer) errorAs(status int) string {
	if row := r.errorAt(status); row != nil {
		return row.class
	}
	if r.unreadable == "" {
		return fmt.Sprintf("it does not look at the status: %d gives an object without values", status)
	}
	return r.unreadable
}
