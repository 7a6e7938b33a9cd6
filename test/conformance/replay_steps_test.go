package conformance_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// The calls that a table may contain, and their arguments. A library lacks the calls
// that its table lacks.
const (
	enrollTOTP     = "enroll totp" // issuer, user
	enrollBare     = "enroll totp without names"
	enrollSMS      = "enroll sms" // phone
	enrollNoPhone  = "enroll sms without a number"
	enrollGeneric  = "enroll generic_otp"
	enrollUnknown  = "enroll an unknown type"
	enrollNothing  = "enroll without a type"
	getUnknown     = "get an unknown path"
	getFactor      = "get"                             // factor
	deleteFactor   = "delete"                          // factor
	challengePlain = "challenge"                       // factor
	challengeText  = "challenge with a template"       // factor, template
	verifyCode     = "verify"                          // challenge, code
	verifyOld      = "verify by the deprecated method" // challenge, code
	userEnroll     = "enroll for a user"               // user_id, issuer, user
	userEnrollBare = "enroll for a user without names" // user_id
	userEnrollWith = "enroll for a user with a secret" // user_id, secret
	userList       = "list"                            // user_id, and the parameters of a list
)

// Reasons why steps do not apply to a library.
const (
	noSuchCall      = "has no call for it"
	noBareTOTP      = "needs issuer and user to enroll totp"
	noGeneric       = "cannot enroll generic_otp"
	triesOnce       = "does not try again"
	takesNoKey      = "cannot be given an idempotency key"
	showsNoID       = "does not show the request id of an error"
	takesNoSecret   = "cannot send an existing secret"
	hasNoLists      = "has no lists of a user's factors"
	hasNoPages      = "shows only the first ten factors"
	cannotReadReply = "cannot read the reply: looks for other names in it"
)

// A replayer takes one library through the steps.
type replayer struct {
	*wire
	main, far       target // the server, directly and through its network
	brief, farBrief target
	network         *network
	briefNetwork    *network
	client          *http.Client // for the inbox, and for the requests of another program

	nextPhone int
	reason    string   // why the current step was skipped
	owner     string   // the user whose factors are listed
	newest    []record // the factors of owner, newest first, as a list shows them
}

// A replayStep is a step of steps_test.go. Its run returns a detail for the reader, or
// "".
type replayStep struct {
	name string
	do   func(*replayer, *testing.T) string
}

// replays returns the clients that replay the libraries of wires.
func replays(wires ...*wire) []client {
	var clients []client
	for _, w := range wires {
		clients = append(clients, client{w.language, w.version, w.generation, byReplay, driveReplay(w)})
	}
	return clients
}

func driveReplay(w *wire) func(*testing.T, fixture, func(line)) {
	return func(t *testing.T, f fixture, report func(line)) {
		r := newReplayer(t, w, f)
		for _, steps := range [][]replayStep{
			factorSteps, challengeSteps, limitSteps, refusalSteps, userSteps, listSteps, retrySteps, webhookSteps,
		} {
			for _, s := range steps {
				report(r.step(t, s))
			}
		}
	}
}

func newReplayer(t *testing.T, w *wire, f fixture) *replayer {
	r := &replayer{wire: w, network: f.network, briefNetwork: f.briefNetwork, client: http.DefaultClient, owner: newUser()}
	r.main = target{url: f.server.URL, apiKey: f.server.APIKey}
	r.brief = target{url: f.brief.URL, apiKey: f.brief.APIKey}
	if w.https {
		r.overTLS(t)
	}
	r.far, r.farBrief = r.main, r.brief
	r.far.url, r.farBrief.url = r.network.URL, r.briefNetwork.URL
	return r
}

// step runs one step as a subtest.
func (r *replayer) step(t *testing.T, s replayStep) line {
	l := line{Library: "workos", Version: r.version, Step: s.name}
	l.OK = t.Run(s.name, func(t *testing.T) {
		defer func() {
			if t.Skipped() {
				l.Skipped, l.Detail = true, r.reason
			}
		}()
		l.Detail = s.do(r, t)
	})
	return l
}

func (r *replayer) skip(t *testing.T, reason string) {
	t.Helper()
	r.reason = reason
	t.Skip(reason)
}

// needs skips a step whose call the library lacks, or whose arguments the library
// itself refuses.
func (r *replayer) needs(t *testing.T, call string) {
	t.Helper()
	if r.has(call) {
		return
	}
	switch call {
	case enrollBare:
		r.skip(t, noBareTOTP)
	case enrollGeneric:
		r.skip(t, noGeneric)
	default:
		r.skip(t, noSuchCall)
	}
}

// has reports whether the library sends a request for a call.
func (r *replayer) has(call string) bool {
	c, ok := r.calls[call]
	return ok && c.refuses == ""
}

// must makes a call that has to succeed.
func (r *replayer) must(t *testing.T, at target, call string, a args) record {
	t.Helper()
	o := r.do(at, call, a)
	r.succeeded(t, call, o)
	return o.value
}

func (r *replayer) succeeded(t *testing.T, call string, o outcome) {
	t.Helper()
	switch {
	case o.fault != nil:
		t.Fatalf("%s: %v", call, o.fault)
	case o.refusal != nil:
		t.Fatalf("%s: %s at status %d: %s", call, o.refusal.class, o.reply.status, o.refusal.message)
	case o.reply.status >= 400:
		t.Fatalf("%s: status %d: %s", call, o.reply.status, o.reply.body)
	}
	r.keepSecrets(t, o.value)
}

// keepSecrets registers the secrets of a reply, which no log may contain.
func (r *replayer) keepSecrets(t *testing.T, value record) {
	t.Helper()
	for _, factor := range []record{value, value.sub("authentication_factor")} {
		logcapture.Secret(t, factor.sub("totp").text("secret"))
	}
	logcapture.Secret(t, value.text("code"), value.sub("challenge").text("code"))
}

// phone returns a fictional number that has not received a message yet.
func (r *replayer) phone(t *testing.T) string {
	number := fmt.Sprintf("+1202555%04d", 100+r.nextPhone)
	r.nextPhone++
	logcapture.Secret(t, number)
	return number
}

func newUser() string { return "user_" + uuid() }

// enroll enrolls a factor of a type.
func (r *replayer) enroll(t *testing.T, at target, call string) record {
	t.Helper()
	a := args{"issuer": "Foo Corp", "user": "user@example.com"}
	if call == enrollSMS {
		a["phone"] = r.phone(t)
	}
	return r.must(t, at, call, a)
}

// anyKind returns the call that enrolls a factor whose codes a step can know without an
// inbox: the simplest of the library's calls.
func (r *replayer) anyKind() string {
	if r.has(enrollGeneric) {
		return enrollGeneric
	}
	return enrollTOTP
}

func (r *replayer) challenge(t *testing.T, at target, factor record) record {
	t.Helper()
	return r.must(t, at, challengePlain, args{"factor": factor.text("id")})
}

func (r *replayer) verify(t *testing.T, at target, challenge record, code string) outcome {
	return r.do(at, verifyCode, args{"challenge": challenge.text("id"), "code": code})
}

// An open is an open challenge, with a wrong code and the right one.
type open struct {
	factor, challenge record
	wrong             string
	right             func() string
}

// open enrolls a factor and challenges it.
func (r *replayer) open(t *testing.T, at target, call string) open {
	t.Helper()
	factor := r.enroll(t, at, call)
	return r.openAgain(t, at, factor)
}

func (r *replayer) openAgain(t *testing.T, at target, factor record) open {
	t.Helper()
	o := open{factor: factor, challenge: r.challenge(t, at, factor)}
	switch factor.text("type") {
	case "totp":
		secret := factor.sub("totp").text("secret")
		o.wrong, o.right = wrongFor(t, secret), func() string { return codeAt(t, secret, 0) }
	case "sms":
		code := r.messages(t, at, factor.sub("sms").text("phone_number"))[0].Code
		o.wrong, o.right = otherThan(code), func() string { return code }
	default:
		code := o.challenge.text("code")
		o.wrong, o.right = otherThan(code), func() string { return code }
	}
	return o
}

// answered checks the reply to a code. The reply repeats the challenge in its current
// state.
func (r *replayer) answered(t *testing.T, o outcome, challenge record, valid bool) {
	t.Helper()
	r.succeeded(t, verifyCode, o)
	if got, ok := o.value["valid"].(bool); !ok || got != valid {
		t.Fatalf("valid is %v; want %t", o.value["valid"], valid)
	}
	repeated := o.value.sub("challenge")
	for key, want := range challenge {
		got := repeated[key]
		if key == "updated_at" {
			if repeated.text(key) < challenge.text(key) {
				t.Errorf("updated_at %v is before %v", got, want)
			}
		} else if got != want {
			t.Errorf("the challenge's %s is %v; want %v", key, got, want)
		}
	}
}

// A message is an entry of the inbox.
type message struct{ To, Text, Code string }

// messages returns the messages of the inbox to a number, newest first.
func (r *replayer) messages(t *testing.T, at target, to string) []message {
	t.Helper()
	plain := r.main.url
	if at.apiKey == r.brief.apiKey {
		plain = r.brief.url
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, plain+"/dev/inbox?to="+url.QueryEscape(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	answer, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var inbox struct{ Messages []message }
	if err := json.NewDecoder(answer.Body).Decode(&inbox); err != nil {
		t.Fatal(err)
	}
	for _, m := range inbox.Messages {
		logcapture.Secret(t, m.Code)
	}
	return inbox.Messages
}

// only returns the only message to a number.
func (r *replayer) only(t *testing.T, to string) message {
	t.Helper()
	all := r.messages(t, r.main, to)
	if len(all) != 1 {
		t.Fatalf("%d messages to one number; want 1", len(all))
	}
	return all[0]
}

// codeAt returns the code of the time step that is steps after the current one (RFC
// 6238). It does not share code with the server, so an error in one cannot hide an
// error in the other.
func codeAt(t *testing.T, secret string, steps int64) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatalf("the secret %q: %v", secret, err)
	}
	mac := hmac.New(sha1.New, key)
	binary.Write(mac, binary.BigEndian, time.Now().Unix()/30+steps)
	sum := mac.Sum(nil)
	number := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0x0f:]) & 0x7fffffff
	code := fmt.Sprintf("%06d", number%1_000_000)
	logcapture.Secret(t, code)
	return code
}

// wrongFor returns a code that is wrong for the secret at all times near now.
func wrongFor(t *testing.T, secret string) string {
	near := ""
	for steps := int64(-3); steps <= 3; steps++ {
		near += codeAt(t, secret, steps) + " "
	}
	for digit := '0'; ; digit++ {
		if code := strings.Repeat(string(digit), 6); !strings.Contains(near, code) {
			return code
		}
	}
}

// otherThan returns a code other than the given one.
func otherThan(code string) string {
	if code[5] == '9' {
		return code[:5] + "0"
	}
	return code[:5] + string(code[5]+1)
}

// until waits for a time. The server uses the clock of the same machine.
func until(t *testing.T, moment string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, moment)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(at) + time.Millisecond)
}

var (
	factorID    = regexp.MustCompile(`^auth_factor_[0-9A-HJKMNP-TV-Z]{26}$`)
	challengeID = regexp.MustCompile(`^auth_challenge_[0-9A-HJKMNP-TV-Z]{26}$`)
	totpSecret  = regexp.MustCompile(`^[A-Z2-7]{32}$`)
)

// is checks a property if the type that holds it reads that property.
func (r *replayer) is(t *testing.T, typ string, value record, key, want string) {
	t.Helper()
	if r.readsProperty(typ, key) && value.text(key) != want {
		t.Errorf("%s.%s is %q; want %q", typ, key, value.text(key), want)
	}
}

func (r *replayer) readsProperty(typ, key string) bool {
	for p := range strings.FieldsSeq(r.types[typ]) {
		if property.FindStringSubmatch(p)[1] == key {
			return true
		}
	}
	return false
}
