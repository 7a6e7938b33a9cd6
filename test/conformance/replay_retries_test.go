package conformance_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// forget makes a network lose nothing, and clears its record of tries.
func forget(n *network) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault, n.tries = "", nil
}

// seen returns the tries that a network recorded since the last reset.
func seen(n *network) []try {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tries
}

func statuses(tries []try) string {
	var all []string
	for _, t := range tries {
		all = append(all, strconv.Itoa(t.Status))
	}
	return strings.Join(all, " ")
}

// triesAgain reports whether the library repeats a POST.
func (r *replayer) triesAgain() bool { return r.retry.times > 0 }

// ownKey returns the idempotency key that the caller must give to make a second try the
// same request as the first, or "" if the library makes the key.
func (r *replayer) ownKey() string {
	if r.retry.key == callersKey || r.retry.key == keyFromRetry {
		return uuid()
	}
	return ""
}

// lost makes a call whose first reply is lost, and returns its value. It checks that
// the same key and the same answer went over the wire twice. For a library that tries
// only once it checks the single try, and skips the step.
func (r *replayer) lost(t *testing.T, call string, a args) record {
	t.Helper()
	r.network.control("lose-reply")
	o := r.doWith(r.far, call, a, r.ownKey(), r.retry.times)
	tries := seen(r.network)
	if !r.triesAgain() {
		r.gaveUp(t, o, tries)
		r.skip(t, triesOnce)
	}
	r.succeeded(t, call, o)
	if len(tries) != 2 {
		t.Fatalf("%d tries; want 2", len(tries))
	}
	first, second := tries[0], tries[1]
	if first.Key == "" || second.Key != first.Key {
		t.Errorf("tried with the key %q, then with %q", first.Key, second.Key)
	}
	if second.Method != first.Method || second.Path != first.Path || second.Body != first.Body ||
		second.Status != first.Status || second.ReplyBody != first.ReplyBody {
		t.Errorf("first %+v, then %+v", first, second)
	}
	return o.value
}

// gaveUp checks the result of a lost reply without a second try.
func (r *replayer) gaveUp(t *testing.T, o outcome, tries []try) {
	t.Helper()
	class := r.retry.lost
	if r.retry.lostIsEmpty {
		class = r.unreadable
	}
	if len(tries) != 1 {
		t.Errorf("%d tries; want 1", len(tries))
	}
	if o.refusal == nil || o.refusal.class != class {
		t.Errorf("the library throws %+v; want %s", o.refusal, class)
	}
}

var retrySteps = []replayStep{
	{"lost reply: enroll", func(r *replayer, t *testing.T) string {
		factor := r.lost(t, enrollTOTP, args{"issuer": "Foo Corp", "user": "user@example.com"})
		o := r.openAgain(t, r.main, factor)
		r.answered(t, r.verify(t, r.main, o.challenge, o.right()), o.challenge, true)
		return r.withoutKey(t)
	}},
	{"lost reply: enroll for a user", func(r *replayer, t *testing.T) string {
		r.needs(t, userEnroll)
		user := newUser()
		enrolled := r.lost(t, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": "user@example.com"})
		factor, challenge := enrolled.sub("authentication_factor"), enrolled.sub("authentication_challenge")
		if got := r.factorsOf(t, user); len(got) != 1 || got[0] != factor.text("id") {
			t.Errorf("the user's factors are %v; want %s", got, factor.text("id"))
		}
		code := codeAt(t, factor.sub("totp").text("secret"), 0)
		r.answered(t, r.verify(t, r.main, challenge, code), challenge, true)
		return ""
	}},
	{"lost request: enroll for a user", func(r *replayer, t *testing.T) string {
		r.needs(t, userEnroll)
		user := newUser()
		r.network.control("lose-request")
		o := r.do(r.far, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": "user@example.com"})
		tries := seen(r.network)
		if !r.triesAgain() {
			r.gaveUp(t, o, tries)
			if got := r.factorsOf(t, user); len(got) != 0 {
				t.Errorf("the user's factors are %v; want none", got)
			}
			r.skip(t, triesOnce)
		}
		r.succeeded(t, userEnroll, o)
		if len(tries) != 2 {
			t.Errorf("%d tries; want 2", len(tries))
		}
		if got := r.factorsOf(t, user); len(got) != 1 {
			t.Errorf("the user's factors are %v; want one", got)
		}
		return ""
	}},
	{"lost reply: challenge sms", func(r *replayer, t *testing.T) string {
		factor := r.enroll(t, r.main, enrollSMS)
		challenge := r.lost(t, challengePlain, args{"factor": factor.text("id")})
		m := r.only(t, factor.sub("sms").text("phone_number"))
		r.answered(t, r.verify(t, r.main, challenge, m.Code), challenge, true)
		return "exactly one message"
	}},
	{"lost reply: challenge generic_otp", func(r *replayer, t *testing.T) string {
		r.needs(t, enrollGeneric)
		factor := r.enroll(t, r.main, enrollGeneric)
		challenge := r.lost(t, challengePlain, args{"factor": factor.text("id")})
		r.answered(t, r.verify(t, r.main, challenge, challenge.text("code")), challenge, true)
		return "the same challenge, with the same code"
	}},
	{"lost reply: right code", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		a := args{"challenge": o.challenge.text("id"), "code": o.right()}
		if !r.triesAgain() {
			r.network.control("lose-reply")
			r.gaveUp(t, r.do(r.far, verifyCode, a), seen(r.network))
			// Only the user of the library can try again; the challenge is already
			// verified.
			r.refused(t, r.do(r.main, verifyCode, a), previouslyVerified(o.challenge))
			r.skip(t, triesOnce)
		}
		if valid := r.lost(t, verifyCode, a)["valid"]; valid != true {
			t.Errorf("valid is %v", valid)
		}
		r.refused(t, r.do(r.far, verifyCode, a), previouslyVerified(o.challenge))
		return ""
	}},
	{"lost reply: wrong code", func(r *replayer, t *testing.T) string {
		o := r.open(t, r.main, r.anyKind())
		if valid := r.lost(t, verifyCode, args{"challenge": o.challenge.text("id"), "code": o.wrong})["valid"]; valid != false {
			t.Errorf("valid is %v", valid)
		}
		r.fail(t, o, 4)
		r.refused(t, r.verify(t, r.main, o.challenge, o.wrong), tooManyAttempts)
		return "counted once"
	}},
	{"lost reply: delete", func(r *replayer, t *testing.T) string {
		id := r.enroll(t, r.main, r.anyKind()).text("id")
		r.network.control("lose-reply")
		o := r.do(r.far, deleteFactor, args{"factor": id})
		tries := seen(r.network)
		r.refused(t, r.do(r.main, getFactor, args{"factor": id}), factorNotFound(id))
		if !r.triesAgain() && !strings.Contains(r.retry.silently, "DELETE") {
			if !r.retry.lostIsEmpty {
				r.gaveUp(t, o, tries)
			} else if len(tries) != 1 || o.refusal != nil {
				t.Errorf("%d tries, and %+v; want 1, which it treats as success", len(tries), o.refusal)
			}
			r.skip(t, triesOnce)
		}
		if got := statuses(tries); got != "204 404" {
			t.Fatalf("the tries came to %s; want 204 404", got)
		}
		if tries[0].Key != "" || tries[1].Key != "" {
			t.Error("DELETE has an Idempotency-Key")
		}
		r.refused(t, o, factorNotFound(id))
		return "deleted; the second try is " + r.errorAs(404)
	}},
	{"own idempotency key", func(r *replayer, t *testing.T) string {
		r.needsKey(t)
		user, key := newUser(), uuid()
		enroll := func(name string) outcome {
			return r.doWith(r.main, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": name}, key, r.retry.times)
		}
		first, second := enroll("one"), enroll("one")
		r.succeeded(t, userEnroll, first)
		if string(first.reply.body) != string(second.reply.body) {
			t.Errorf("first %s, then %s", first.reply.body, second.reply.body)
		}
		if got := r.factorsOf(t, user); len(got) != 1 {
			t.Errorf("the user's factors are %v; want one", got)
		}
		r.refused(t, enroll("another"), keyReused)
		return ""
	}},
	{"own idempotency key, eight at once", func(r *replayer, t *testing.T) string {
		r.needsKey(t)
		user, key := newUser(), uuid()
		outcomes := atOnce(8, func(int) outcome {
			return r.doWith(r.main, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": "user@example.com"}, key, r.retry.times)
		})
		for _, o := range outcomes {
			r.succeeded(t, userEnroll, o)
			if string(o.reply.body) != string(outcomes[0].reply.body) {
				t.Error("the answers differ")
			}
		}
		if got := r.factorsOf(t, user); len(got) != 1 {
			t.Errorf("the user's factors are %v; want one", got)
		}
		return ""
	}},
}

func (r *replayer) needsKey(t *testing.T) {
	t.Helper()
	if r.retry.key == noKey {
		r.skip(t, takesNoKey)
	}
}

// withoutKey shows the result of a lost reply for a library that sends no key in its
// first try: the second try is a separate request.
func (r *replayer) withoutKey(t *testing.T) string {
	t.Helper()
	if r.ownKey() == "" {
		return ""
	}
	r.network.control("lose-reply")
	o := r.do(r.far, enrollTOTP, args{"issuer": "Foo Corp", "user": "user@example.com"})
	r.succeeded(t, enrollTOTP, o)
	tries := seen(r.network)
	if len(tries) != 2 || tries[0].Key != "" || (tries[1].Key != "") != (r.retry.key == keyFromRetry) {
		t.Fatalf("the tries are %+v", tries)
	}
	var lost struct{ ID string }
	if err := json.Unmarshal([]byte(tries[0].ReplyBody), &lost); err != nil {
		t.Fatal(err)
	}
	if lost.ID == o.value.text("id") {
		t.Error("the same factor, without a key")
	}
	return "with a key that the caller gives; without one a second factor is enrolled"
}
