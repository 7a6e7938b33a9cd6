package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

const (
	onceKey = "Idempotency-Key: 5c1f6e0a-8d0b-4f7e-9a57-3f1f1c2f7f0e"

	// deterministic is a key that one client library derives from the request.
	deterministic = "Idempotency-Key: retry-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// replays fails the test unless second is the same answer as first, and a replay.
func replays(t *testing.T, first, second reply) {
	t.Helper()
	if second.status != first.status || second.body != first.body {
		t.Errorf("%d %s; want %d %s again", second.status, second.body, first.status, first.body)
	}
	if first.header.Get("X-Request-Id") == second.header.Get("X-Request-Id") {
		t.Error("both have the same x-request-id")
	}
	if first.header.Get("Idempotency-Replayed") != "" || second.header.Get("Idempotency-Replayed") != "true" {
		t.Error("not the second alone says that it is a replay")
	}
}

// A route is a POST request in a fixture, with a function that counts its effects.
type route struct {
	name    string
	prepare func(w *fixture) (path, body string)
	done    func(w *fixture) int
}

var postRoutes = []route{
	{"enroll", at("/auth/factors/enroll", `{"type":"totp","totp_user":"ada"}`), (*fixture).factors},
	{"enroll a phone", at("/auth/factors/enroll", `{"type":"sms","phone_number":"+16073517112"}`), (*fixture).factors},
	{"enroll with user_id", at("/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_1"}`), (*fixture).factors},
	{"enroll for a user", at("/user_management/users/user_1/auth_factors", `{"type":"totp"}`), (*fixture).factors},
	{"challenge", func(w *fixture) (string, string) { return "/auth/factors/" + w.generic() + "/challenge", `{}` }, created},
	{"challenge a phone", func(w *fixture) (string, string) { return "/auth/factors/" + w.phone() + "/challenge", `null` }, sent},
	{"challenge by the older path", func(w *fixture) (string, string) {
		return "/auth/factors/challenge", `{"authentication_factor_id":"` + w.generic() + `"}`
	}, created},
	{"challenge a phone by the older path", func(w *fixture) (string, string) {
		return "/auth/factors/challenge", `{"authentication_factor_id":"` + w.phone() + `"}`
	}, sent},
	{"verify", func(w *fixture) (string, string) {
		c := w.challenge(w.generic())
		return "/auth/challenges/" + c.text("id") + "/verify", `{"code":"` + c.text("code") + `"}`
	}, succeeded},
	{"verify by the older path", func(w *fixture) (string, string) {
		c := w.challenge(w.generic())
		return "/auth/factors/verify", `{"authentication_challenge_id":"` + c.text("id") + `","code":"` + c.text("code") + `"}`
	}, succeeded},
	{"verify a wrong code", func(w *fixture) (string, string) {
		return "/auth/challenges/" + w.challenge(w.generic()).text("id") + "/verify", `{"code":"12345"}`
	}, func(w *fixture) int { return w.events(mfa.ChallengeFailed) }},
}

func at(path, body string) func(*fixture) (string, string) {
	return func(*fixture) (string, string) { return path, body }
}

func created(w *fixture) int   { return w.events(mfa.ChallengeCreated) }
func succeeded(w *fixture) int { return w.events(mfa.ChallengeSucceeded) }

// sent counts messages and challenges. A replay must not increase either.
func sent(w *fixture) int { return max(w.carrier.Sent(), created(w)) }

func TestARetryGetsTheFirstAnswer(t *testing.T) {
	for _, tc := range postRoutes {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path, body := tc.prepare(w)
			before := tc.done(w)
			first := w.post(path, body, onceKey).is(http.StatusCreated)
			replays(t, first, w.post(path, body, onceKey))
			shown := 24 * time.Hour
			if strings.Contains(first.body, `"secret"`) {
				shown = 10 * time.Minute
			}
			w.clock.Advance(shown - time.Millisecond)
			replays(t, first, w.post(path, body, onceKey))
			if shown < 24*time.Hour {
				w.clock.Advance(time.Millisecond)
				if got := w.post(path, body, onceKey); got.status != 422 || strings.TrimSpace(got.body) != reused {
					t.Errorf("after 10 minutes: %d %s", got.status, got.body)
				}
			}
			if n := tc.done(w) - before; n != 1 {
				t.Errorf("it was done %d times", n)
			}
		})
	}
}

// TestARetryGetsTheFirstAnswerAfterTheChallengeEnded repeats the request that created a
// challenge. The answer still shows the code, which can no longer be used.
func TestARetryGetsTheFirstAnswerAfterTheChallengeEnded(t *testing.T) {
	for name, codes := range map[string]func(right string) []string{
		"verified":  func(right string) []string { return []string{"12345", right} },
		"exhausted": func(string) []string { return []string{"1", "2", "3", "4", "5"} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path := "/auth/factors/" + w.generic() + "/challenge"
			first := w.post(path, `{}`, onceKey).is(http.StatusCreated)
			verify := "/auth/challenges/" + first.text("id") + "/verify"
			var last reply
			var body, key string
			for i, code := range codes(first.text("code")) {
				body, key = `{"code":"`+code+`"}`, fmt.Sprintf("Idempotency-Key: %d", i)
				last = w.post(verify, body, key).is(http.StatusCreated)
			}
			if got := w.post(verify, `{"code":"123456"}`); got.status < 400 {
				t.Fatalf("a code after the last one: %d %s", got.status, got.body)
			}
			replays(t, last, w.post(verify, body, key))
			replays(t, first, w.post(path, `{}`, onceKey))
			if n := created(w); n != 1 {
				t.Errorf("%d challenges were created; want 1", n)
			}
		})
	}
}

func TestOnlyOneOfManyConcurrentRetriesHasAnEffect(t *testing.T) {
	const n = 64
	for _, tc := range postRoutes {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path, body := tc.prepare(w)
			before := tc.done(w)
			replies := make([]reply, n)
			mfatest.Together(n, func(i int) { replies[i] = w.post(path, body, onceKey) })
			firsts, ids := 0, map[string]bool{}
			for _, r := range replies {
				if r.status != http.StatusCreated || r.body != replies[0].body {
					t.Errorf("%d %s; another got %d %s", r.status, r.body, replies[0].status, replies[0].body)
				}
				if r.header.Get("Idempotency-Replayed") == "" {
					firsts++
				}
				ids[r.header.Get("X-Request-Id")] = true
			}
			if firsts != 1 || len(ids) != n {
				t.Errorf("%d replies were no replay and %d request ids were given; want 1 and %d", firsts, len(ids), n)
			}
			if did := tc.done(w) - before; did != 1 {
				t.Errorf("it was done %d times", did)
			}
		})
	}
}

const reused = `{"message":"This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown.","code":"idempotency_error"}`

func TestAKeyIsValidForOneBody(t *testing.T) {
	for _, tc := range postRoutes {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path, body := tc.prepare(w)
			first := w.post(path, body, onceKey).is(http.StatusCreated)
			before := tc.done(w)
			other := strings.Replace(body, "}", `,"x":1}`, 1)
			if body == `null` || body == `{}` {
				other = `{"sms_template":"{{code}}"}`
			}
			w.post(path, other, onceKey).says(422, reused)
			if tc.done(w) != before {
				t.Error("the other request was carried out")
			}
			replays(t, first, w.post(path, body, onceKey)) // the first answer is still recorded
		})
	}
	t.Run("whoever it is for", func(t *testing.T) {
		w := newFixture(t, setup{})
		w.post("/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_1"}`, onceKey).is(201)
		for _, body := range []string{`{"type":"generic_otp","user_id":"user_2"}`, `{"type":"generic_otp"}`} {
			w.post("/auth/factors/enroll", body, onceKey).says(422, reused)
		}
		one, two := w.generic(), w.generic()
		w.post("/auth/factors/challenge", `{"authentication_factor_id":"`+one+`"}`, onceKey).is(201)
		w.post("/auth/factors/challenge", `{"authentication_factor_id":"`+two+`"}`, onceKey).says(422, reused)
	})
}

func TestAKeyExpiresAfterADay(t *testing.T) {
	w := newFixture(t, setup{})
	first := w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, onceKey).is(201)
	w.clock.Advance(24 * time.Hour)
	second := w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, onceKey).is(201)
	if first.text("id") == second.text("id") {
		t.Error("it was replayed after 24 hours")
	}
}

func TestAKeyCountsWithinItsAPIKeyAndPath(t *testing.T) {
	w := newFixture(t, setup{})
	const body = `{"type":"totp"}`
	seen := map[string]bool{}
	enroll := func(path string, headers ...string) {
		t.Helper()
		r := w.post(path, body, headers...).is(201)
		id, _ := r.at("id").(string)
		if id == "" {
			id = r.text("authentication_factor.id")
		}
		if seen[id] {
			t.Errorf("%s gave the answer to another request", path)
		}
		seen[id] = true
	}
	enroll("/auth/factors/enroll", onceKey)
	enroll("/auth/factors/enroll", "Idempotency-Key: another")
	enroll("/auth/factors/enroll", strings.Replace(onceKey, "5c1f", "5C1F", 1))
	enroll("/user_management/users/user_1/auth_factors", onceKey)
	enroll("/user_management/users/user_2/auth_factors", onceKey)
	enroll("/user_management/users/USER_2/auth_factors", onceKey)
	sibling, _ := w.newKey(w.sandbox)
	enroll("/auth/factors/enroll", onceKey, "Authorization: Bearer "+sibling)
	other, _ := w.newKey(w.environment("Acme", true))
	enroll("/auth/factors/enroll", onceKey, "Authorization: Bearer "+other)
	// Without a key each request is new.
	enroll("/auth/factors/enroll")
	enroll("/auth/factors/enroll")
	enroll("/auth/factors/enroll", "Idempotency-Key:")

	one, two := w.generic(), w.generic()
	a := w.post("/auth/factors/"+one+"/challenge", ``, onceKey).is(201)
	b := w.post("/auth/factors/"+two+"/challenge", ``, onceKey).is(201)
	if a.text("id") == b.text("id") {
		t.Error("two factors share a challenge")
	}
}

func TestAKeyOnGETAndDELETEIsIgnored(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.generic()
	w.get("/auth/factors/"+id, onceKey).is(200)
	w.delete("/auth/factors/"+id, onceKey).is(204)
	w.delete("/auth/factors/"+id, onceKey).is(404)
	w.get("/auth/factors/"+id, onceKey).is(404)
}

func TestRefusalsAreReplayedAsWell(t *testing.T) {
	w := newFixture(t, setup{})
	const unknown = "/auth/factors/auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M/challenge"
	if a, b := w.post(unknown, ``, onceKey).is(404), w.post(unknown, ``, onceKey).is(404); string(a.body) != string(b.body) {
		t.Errorf("unknown: %s, then %s", a.body, b.body)
	}

	c := w.challenge(w.generic())
	verify := func(key string) reply {
		return w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`"}`, key)
	}
	replays(t, verify("Idempotency-Key: first").is(201), verify("Idempotency-Key: first"))
	replays(t, verify("Idempotency-Key: second").is(422), verify("Idempotency-Key: second"))
}

func TestInputThatIsRefusedFreesTheKey(t *testing.T) {
	w := newFixture(t, setup{})
	w.post("/auth/factors/enroll", `{"type":"sms","phone_number":"foo"}`, onceKey).is(422)
	w.post("/auth/factors/enroll", `{`, onceKey).is(400)
	w.post("/auth/factors/enroll", `{"type":"sms","phone_number":"+16073517112"}`, onceKey).is(201)
}

func TestA401IsNotRecorded(t *testing.T) {
	w := newFixture(t, setup{})
	w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, onceKey, "Authorization: Bearer sk_test_unknown").is(401)
	w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, onceKey).is(201)
}

func TestA429IsNotRecorded(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.phone()
	w.challenge(id)
	w.post("/auth/factors/"+id+"/challenge", `{}`, onceKey).is(429)
	w.clock.Advance(30 * time.Second)
	first := w.post("/auth/factors/"+id+"/challenge", `{}`, onceKey).is(201)
	replays(t, first, w.post("/auth/factors/"+id+"/challenge", `{}`, onceKey))
	if n := w.carrier.Sent(); n != 2 {
		t.Errorf("%d messages were sent; want 2", n)
	}
}

func TestA5xxIsNotRecorded(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  func(attempt int) error
		status int
	}{
		{"a carrier that fails", func(int) error { return errCarrier }, 503},
		{"a carrier that breaks", func(int) error { panic("broken") }, 500},
	} {
		for _, path := range []string{"/auth/factors/{id}/challenge", "/auth/factors/challenge"} {
			t.Run(tc.name+" at "+path, func(t *testing.T) {
				w := newFixture(t, setup{})
				id := w.phone()
				path, body := strings.Replace(path, "{id}", id, 1), `{"authentication_factor_id":"`+id+`"}`
				w.carrier.Fail(tc.fault)
				w.post(path, body, onceKey).is(tc.status)
				w.carrier.Fail(nil)
				first := w.post(path, body, onceKey).is(201)
				if n := w.carrier.Sent(); n != 1 {
					t.Fatalf("%d messages were sent; want 1", n)
				}
				replays(t, first, w.post(path, body, onceKey))
				c, code := first.text("id"), w.carrier.Last().Code.Reveal()
				if v := w.verify(c, code).is(201); v.at("valid") != true {
					t.Error("the code that was sent is not valid")
				}
			})
		}
	}
}

func TestARetryWaitsUntilTheMessageIsSent(t *testing.T) {
	w := newFixture(t, setup{})
	id := w.phone()
	sending, fail := make(chan struct{}), make(chan struct{})
	w.carrier.Fail(func(attempt int) error {
		if attempt > 1 {
			return nil
		}
		close(sending)
		<-fail
		return errCarrier
	})
	var first, second reply
	mfatest.Together(2, func(i int) {
		if i == 0 {
			first = w.post("/auth/factors/"+id+"/challenge", `{}`, onceKey)
			return
		}
		<-sending
		// The request can be answered only after the outcome of the message is known.
		time.AfterFunc(200*time.Millisecond, func() { close(fail) })
		second = w.post("/auth/factors/"+id+"/challenge", `{}`, onceKey)
	})
	first.is(503)
	if second.status != 201 {
		return // the client should try again
	}
	if w.carrier.Sent() == 0 {
		t.Fatal("the retry was told that a message is on its way, but none was ever sent")
	}
	if v := w.verify(second.text("id"), w.carrier.Last().Code.Reveal()); v.status != 201 || v.at("valid") != true {
		t.Errorf("the code that was sent to the retry: %d %s", v.status, v.body)
	}
}

// Two equal requests may enroll two people.
func TestADerivedKeyEnrollsEachTime(t *testing.T) {
	for _, tc := range postRoutes {
		if !strings.HasPrefix(tc.name, "enroll") {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path, body := tc.prepare(w)
			one, two := w.post(path, body, deterministic).is(201), w.post(path, body, deterministic).is(201)
			if one.body == two.body || two.header.Get("Idempotency-Replayed") != "" || tc.done(w) != 2 {
				t.Errorf("%d were enrolled, and the second answer is %s", tc.done(w), two.body)
			}
		})
	}
}

func TestADerivedKeyCountsEveryMessage(t *testing.T) {
	w := newFixture(t, setup{})
	one, two := w.phone(), w.phone()
	const path = "/auth/factors/challenge"
	w.post(path, `{"authentication_factor_id":"`+one+`"}`, deterministic).is(201)
	w.post(path, `{"authentication_factor_id":"`+two+`"}`, deterministic).is(429)
}

func TestADerivedKeyHoldsForThirtySeconds(t *testing.T) {
	for _, tc := range postRoutes {
		if strings.HasPrefix(tc.name, "verify") || strings.HasPrefix(tc.name, "enroll") {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, setup{})
			path, body := tc.prepare(w)
			before := tc.done(w)
			first := w.post(path, body, deterministic).is(201)
			w.clock.Advance(30*time.Second - time.Millisecond)
			replays(t, first, w.post(path, body, deterministic))
			if n := tc.done(w) - before; n != 1 {
				t.Errorf("it was done %d times", n)
			}
			w.clock.Advance(time.Millisecond)
			second := w.post(path, body, deterministic).is(201)
			if second.body == first.body || tc.done(w)-before != 2 {
				t.Error("a new sign-in after 30 s got the answer to the one before")
			}
		})
	}
}

func TestADerivedKeyNeverVerifies(t *testing.T) {
	w := newFixture(t, setup{})
	c := w.challenge(w.generic())
	path, body := "/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`"}`
	if v := w.post(path, body, deterministic).is(201); v.at("valid") != true {
		t.Fatal("the code is not valid")
	}
	if r := w.post(path, body, deterministic); r.status != 422 || r.at("code") != "authentication_challenge_previously_verified" {
		t.Errorf("a spent code is answered with %d %s", r.status, r.body)
	}

	// If the path has no challenge, two people who enter the same code have the same key.
	one, two := w.challenge(w.generic()), w.challenge(w.generic())
	for one.text("code") == two.text("code") {
		two = w.challenge(w.generic())
	}
	older := func(c reply) reply {
		return w.post("/auth/factors/verify", `{"authentication_challenge_id":"`+c.text("id")+`","code":"`+one.text("code")+`"}`, deterministic)
	}
	if v := older(one).is(201); v.at("valid") != true {
		t.Error("the one's code is not valid")
	}
	if v := older(two).is(201); v.at("valid") != false || v.text("challenge.id") != two.text("id") {
		t.Error("the other got the one's answer")
	}

	// A key that does not have exactly this form is a regular key.
	for _, key := range []string{
		"Idempotency-Key: retry-5c1f6e0a-8d0b-4f7e-9a57-3f1f1c2f7f0e", deterministic + "0", strings.Replace(deterministic, "abcdef", "ABCDEF", 1), deterministic[:len(deterministic)-1],
	} {
		c := w.challenge(w.generic())
		path, body := "/auth/challenges/"+c.text("id")+"/verify", `{"code":"`+c.text("code")+`"}`
		replays(t, w.post(path, body, key).is(201), w.post(path, body, key))
	}
}

func TestKeysHave1To255PrintableCharacters(t *testing.T) {
	w := newFixture(t, setup{})
	for _, key := range []string{"x", " x", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", strings.Repeat("k", 255)} {
		w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, "Idempotency-Key: "+key).is(201)
	}
	c := w.challenge(w.generic())
	for _, key := range []string{strings.Repeat("k", 256), strings.Repeat("k", 100_000), "é", "a\tb", "\u00a0", "日本", "\xff"} {
		w.post("/auth/factors/enroll", `{"type":"generic_otp"}`, "Idempotency-Key: "+key).refuses("Idempotency-Key idempotency_key_invalid")
		w.post("/user_management/users/u/auth_factors", `{"type":"totp"}`, "Idempotency-Key: "+key).refuses("Idempotency-Key idempotency_key_invalid")
		w.post("/auth/factors/"+c.text("authentication_factor_id")+"/challenge", ``, "Idempotency-Key: "+key).refuses("Idempotency-Key idempotency_key_invalid")
		w.post("/auth/challenges/"+c.text("id")+"/verify", `{"code":"12345"}`, "Idempotency-Key: "+key).refuses("Idempotency-Key idempotency_key_invalid")
	}
	if n := w.events(mfa.ChallengeFailed); n != 0 {
		t.Errorf("%d codes were tried", n)
	}
}
