package conformance_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var factorSteps = []replayStep{
	{"enroll totp", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollTOTP)
		r.isFactor(t, enrollTOTP, factor, "totp")
		totp := factor.sub("totp")
		secret, uri := totp.text("secret"), totp.text("uri")
		r.is(t, "Totp", totp, "issuer", "Foo Corp")
		r.is(t, "Totp", totp, "user", "user@example.com")
		if !totpSecret.MatchString(secret) {
			t.Errorf("the secret is %q; want 32 base32 characters", secret)
		}
		if want := "otpauth://totp/Foo%20Corp:user@example.com?secret=" + secret + "&issuer=Foo%20Corp"; uri != want {
			t.Errorf("the URI is %q; want %q", uri, want)
		}
		if got := scan(t, totp.text("qr_code")); got != uri {
			t.Errorf("the QR code says %q; want %q", got, uri)
		}
		return "32 base32 characters; the QR code says the URI"
	}},
	{"enroll totp without names", func(r *replayer, t *testing.T) string {
		r.needs(t, enrollBare)
		return r.named(t, r.must(t, r.main, enrollBare, nil))
	}},
	{"enroll sms", func(r *replayer, t *testing.T) string {
		for _, form := range []string{"+1%s%s%s", "1%s%s%s", "+1 (%s) %s-%s", " 1.%s.%s.%s "} {
			phone := r.phone(t)
			given := fmt.Sprintf(form, phone[2:5], phone[5:8], phone[8:])
			factor := r.must(t, r.main, enrollSMS, args{"phone": given})
			r.isFactor(t, enrollSMS, factor, "sms")
			if got := factor.sub("sms").text("phone_number"); got != phone {
				t.Errorf("%q comes back as %q; want %q", given, got, phone)
			}
		}
		return "four forms of a number become E.164"
	}},
	{"enroll generic_otp", func(r *replayer, t *testing.T) string {
		r.needs(t, enrollGeneric)
		r.isFactor(t, enrollGeneric, r.enroll(t, r.main, enrollGeneric), "generic_otp")
		return ""
	}},
	{"get a factor", func(r *replayer, t *testing.T) string {
		for _, call := range []string{enrollTOTP, enrollSMS, enrollGeneric} {
			if !r.has(call) {
				continue
			}
			factor := r.enroll(t, r.main, call)
			o := r.do(r.main, getFactor, args{"factor": factor.text("id")})
			r.succeeded(t, getFactor, o)
			r.shownAs(t, o.value, factor)
			if secret := factor.sub("totp").text("secret"); secret != "" && strings.Contains(string(o.reply.body), secret) {
				t.Error("the secret is shown a second time")
			}
		}
		return "as it was enrolled, without the secret"
	}},
	{"delete a factor", func(r *replayer, t *testing.T) string {
		for _, call := range []string{enrollTOTP, enrollSMS, enrollGeneric} {
			if !r.has(call) {
				continue
			}
			factor := r.enroll(t, r.main, call)
			id := factor.text("id")
			r.must(t, r.main, deleteFactor, args{"factor": id})
			for _, gone := range []string{getFactor, deleteFactor, challengePlain} {
				r.refused(t, r.do(r.main, gone, args{"factor": id}), factorNotFound(id))
			}
		}
		return ""
	}},
	{"delete a factor that is challenged", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, enrollTOTP)
		r.must(t, r.main, deleteFactor, args{"factor": o.factor.text("id")})
		r.refused(t, r.verify(t, r.main, o.challenge, o.right()), challengeNotFound(o.challenge.text("id")))
		return ""
	}},
}

// isFactor checks the fields that factors of all types have, and that the factor has no
// fields of another type.
func (r *replayer) isFactor(t *testing.T, call string, factor record, kind string) {
	t.Helper()
	typ := r.calls[call].reads
	r.is(t, typ, factor, "object", "authentication_factor")
	r.is(t, typ, factor, "type", kind)
	r.is(t, typ, factor, "updated_at", factor.text("created_at"))
	if !factorID.MatchString(factor.text("id")) {
		t.Errorf("the id is %q", factor.text("id"))
	}
	if r.readsProperty(typ, "created_at") && !timeForm.MatchString(factor.text("created_at")) {
		t.Errorf("created_at is %q", factor.text("created_at"))
	}
	for _, other := range []string{"totp", "sms"} {
		if _, ok := factor[other]; ok && other != kind {
			t.Errorf("a factor of type %s has %s", kind, other)
		}
	}
	if _, ok := factor["user_id"]; ok {
		t.Error("a factor without a user has a user_id")
	}
}

// named checks that a TOTP factor has names although the request gave none.
func (r *replayer) named(t *testing.T, factor record) string {
	t.Helper()
	totp := factor.sub("totp")
	for _, key := range []string{"issuer", "user"} {
		if r.readsProperty("Totp", key) && totp.text(key) == "" {
			t.Errorf("%s is empty", key)
		}
	}
	return fmt.Sprintf("issuer %s, user %s", totp.text("issuer"), totp.text("user"))
}

// shownAs checks that a factor is shown as it was enrolled, without the fields that
// only the enrollment shows.
func (r *replayer) shownAs(t *testing.T, shown, factor record) {
	t.Helper()
	for key, got := range shown {
		switch got := got.(type) {
		case string:
			if got != factor.text(key) {
				t.Errorf("%s is %q; want %q", key, got, factor.text(key))
			}
		case record:
			for inner := range got {
				if got.text(inner) != factor.sub(key).text(inner) {
					t.Errorf("%s.%s is %q; want %q", key, inner, got.text(inner), factor.sub(key).text(inner))
				}
			}
		}
	}
	for _, once := range []string{"secret", "uri", "qr_code"} {
		if shown.sub("totp").text(once) != "" {
			t.Errorf("%s is shown a second time", once)
		}
	}
}

var challengeSteps = []replayStep{
	{"challenge totp", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollTOTP)
		r.isChallenge(t, r.challenge(t, r.main, factor), factor, false)
		return ""
	}},
	{"challenge sms", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollSMS)
		r.isChallenge(t, r.challenge(t, r.main, factor), factor, false)
		phone := factor.sub("sms").text("phone_number")
		m := r.only(t, phone)
		if m.To != phone || m.Text != "Your verification code is: "+m.Code || !sixDigits.MatchString(m.Code) {
			t.Errorf("the message is %+v", m)
		}
		return "the code goes only to the phone"
	}},
	{"challenge sms with a template", func(r *replayer, t *testing.T) string {
		r.needs(t, challengeText)
		factor := r.enroll(t, r.main, enrollSMS)
		r.must(t, r.main, challengeText, args{"factor": factor.text("id"), "template": "<b>Förde & Søn</b>: {{code}} 🔑"})
		m := r.only(t, factor.sub("sms").text("phone_number"))
		if want := "<b>Förde & Søn</b>: " + m.Code + " 🔑"; m.Text != want {
			t.Errorf("the message is %q; want %q", m.Text, want)
		}
		return ""
	}},
	{"challenge sms with an empty template", func(r *replayer, t *testing.T) string {
		r.needs(t, challengeText)
		factor := r.enroll(t, r.main, enrollSMS)
		r.must(t, r.main, challengeText, args{"factor": factor.text("id"), "template": ""})
		m := r.only(t, factor.sub("sms").text("phone_number"))
		if want := "Your verification code is: " + m.Code; m.Text != want {
			t.Errorf("the message is %q; want %q", m.Text, want)
		}
		return "means the default text"
	}},
	{"challenge generic_otp", func(r *replayer, t *testing.T) string {
		r.needs(t, enrollGeneric)
		factor := r.enroll(t, r.main, enrollGeneric)
		r.isChallenge(t, r.challenge(t, r.main, factor), factor, true)
		return ""
	}},
	{"verify totp", verifyStep(enrollTOTP, verifyCode)},
	{"verify sms", verifyStep(enrollSMS, verifyCode)},
	{"verify generic_otp", verifyStep(enrollGeneric, verifyCode)},
	{"verify a code with spaces", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		code := o.right()
		r.answered(t, r.verify(t, r.main, o.challenge, " "+code[:3]+" "+code[3:]+" "), o.challenge, true)
		return ""
	}},
	{"verify by the deprecated method", verifyStep(enrollTOTP, verifyOld)},
	{"a totp code is spent once", func(r *replayer, t *testing.T) string {
		first := r.open(t, r.main, enrollTOTP)
		second := r.openAgain(t, r.main, first.factor)
		code := first.right()
		r.answered(t, r.verify(t, r.main, first.challenge, code), first.challenge, true)
		r.answered(t, r.verify(t, r.main, second.challenge, code), second.challenge, false)
		next := codeAt(t, first.factor.sub("totp").text("secret"), 1)
		r.answered(t, r.verify(t, r.main, second.challenge, next), second.challenge, true)
		return ""
	}},
	{"of eight racing right codes one wins", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		code := o.right()
		won := 0
		for _, outcome := range atOnce(8, func(int) outcome { return r.verify(t, r.main, o.challenge, code) }) {
			if outcome.reply.status < 400 {
				won++
				r.answered(t, outcome, o.challenge, true)
			} else {
				r.refused(t, outcome, previouslyVerified(o.challenge))
			}
		}
		if won != 1 {
			t.Errorf("%d of eight are valid; want one", won)
		}
		return ""
	}},
}

// atOnce makes n calls concurrently.
func atOnce(n int, call func(int) outcome) []outcome {
	outcomes := make([]outcome, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { outcomes[i] = call(i) })
	}
	calls.Wait()
	return outcomes
}

func (r *replayer) isChallenge(t *testing.T, challenge, factor record, withCode bool) {
	t.Helper()
	typ := r.calls[challengePlain].reads
	r.is(t, typ, challenge, "object", "authentication_challenge")
	r.is(t, typ, challenge, "authentication_factor_id", factor.text("id"))
	r.is(t, typ, challenge, "updated_at", challenge.text("created_at"))
	if !challengeID.MatchString(challenge.text("id")) {
		t.Errorf("the id is %q", challenge.text("id"))
	}
	r.lasts(t, typ, challenge)
	if code := challenge.text("code"); withCode != sixDigits.MatchString(code) || !withCode && code != "" {
		t.Errorf("the code is %q", code)
	}
}

// lasts checks that a challenge expires after ten minutes.
func (r *replayer) lasts(t *testing.T, typ string, challenge record) {
	t.Helper()
	if !r.readsProperty(typ, "expires_at") {
		return
	}
	created, err := time.Parse(time.RFC3339, challenge.text("created_at"))
	if err != nil {
		t.Fatal(err)
	}
	expires, err := time.Parse(time.RFC3339, challenge.text("expires_at"))
	if err != nil {
		t.Fatal(err)
	}
	if got := expires.Sub(created); got != 10*time.Minute {
		t.Errorf("it expires after %v; want ten minutes", got)
	}
}

func verifyStep(enroll, verify string) func(*replayer, *testing.T) string {
	return func(r *replayer, t *testing.T) string {
		r.needs(t, verify)
		r.needs(t, enroll)
		o := r.open(t, r.main, enroll)
		try := func(code string) outcome {
			return r.do(r.main, verify, args{"challenge": o.challenge.text("id"), "code": code})
		}
		for _, code := range []string{o.wrong, "", "12345", "abcdef"} {
			r.answered(t, try(code), o.challenge, false)
		}
		r.answered(t, try(o.right()), o.challenge, true)
		for _, code := range []string{o.right(), o.wrong} {
			r.refused(t, try(code), previouslyVerified(o.challenge))
		}
		return ""
	}
}

var limitSteps = []replayStep{
	{"expiry of totp", expiryStep(enrollTOTP)},
	{"expiry of generic_otp", expiryStep(enrollGeneric)},
	{"too many attempts on a challenge", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		r.fail(t, o, 5)
		for _, code := range []string{o.right(), o.wrong} {
			r.refused(t, r.verify(t, r.main, o.challenge, code), tooManyAttempts)
		}
		next := r.openAgain(t, r.main, o.factor)
		r.answered(t, r.verify(t, r.main, next.challenge, next.right()), next.challenge, true)
		return ""
	}},
	{"too many failures of a factor", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		r.fail(t, o, 5)
		next := r.openAgain(t, r.main, o.factor)
		r.fail(t, next, 1)
		outcome := r.verify(t, r.main, next.challenge, next.right())
		r.refused(t, outcome, tooManyAttempts)
		if wait, ok := bodyOf(t, outcome)["retry_after"].(float64); !ok || wait < 1 || wait > 30 {
			t.Errorf("retry_after is %v; want 1 to 30", bodyOf(t, outcome)["retry_after"])
		}
		return ""
	}},
	{"too many messages to a number", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollSMS)
		r.challenge(t, r.main, factor)
		// A library that retries would wait for the time that the server asks for, so
		// this call has no retries.
		o := r.doWith(r.main, challengePlain, args{"factor": factor.text("id")}, "", 0)
		r.refused(t, o, tooManyMessages)
		wait := o.reply.header("Retry-After", true)
		if n := atoi(wait); n < 1 || n > 30 {
			t.Errorf("Retry-After is %q; want 1 to 30", wait)
		}
		if row := r.errorAt(429); row != nil && strings.Contains(row.shows, "retry_after") && o.refusal.retryAfter != wait {
			t.Errorf("the library shows Retry-After as %q; want %q", o.refusal.retryAfter, wait)
		}
		return ""
	}},
	{"too many messages, then waiting", func(r *replayer, t *testing.T) string {
		if !r.triesAgain() {
			r.skip(t, triesOnce)
		}
		factor := r.must(t, r.brief, enrollSMS, args{"phone": r.phone(t)})
		forget(r.briefNetwork)
		a := args{"factor": factor.text("id")}
		for range 2 {
			r.succeeded(t, challengePlain, r.doWith(r.farBrief, challengePlain, a, r.ownKey(), r.retry.times))
		}
		tries := seen(r.briefNetwork)
		if got := statuses(tries); got != "201 429 201" {
			t.Fatalf("the tries came to %s; want 201 429 201", got)
		}
		if tries[1].Key != tries[2].Key || tries[1].Key == "" {
			t.Errorf("tried with the key %q, then with %q", tries[1].Key, tries[2].Key)
		}
		if got := len(r.messages(t, r.brief, factor.sub("sms").text("phone_number"))); got != 2 {
			t.Errorf("%d messages; want 2", got)
		}
		return "waits as Retry-After says"
	}},
}

// fail tries wrong codes until the given number of times is reached.
func (r *replayer) fail(t *testing.T, o open, times int) {
	t.Helper()
	for range times {
		r.answered(t, r.verify(t, r.main, o.challenge, o.wrong), o.challenge, false)
	}
}

func expiryStep(enroll string) func(*replayer, *testing.T) string {
	return func(r *replayer, t *testing.T) string {
		r.needs(t, enroll)
		o := r.open(t, r.brief, enroll)
		until(t, o.challenge.text("expires_at"))
		r.refused(t, r.verify(t, r.brief, o.challenge, o.right()), want{
			status: 422, code: "authentication_challenge_expired",
			message: "The authentication challenge '" + o.challenge.text("id") + "' has expired.",
		})
		return ""
	}
}
