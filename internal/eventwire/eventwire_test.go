package eventwire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// event returns an event of a type with a value in every field.
func event(t testing.TB, typ mfa.EventType) events.Event {
	t.Helper()
	factor, err := mfa.ParseFactorID("auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M")
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := mfa.ParseChallengeID("auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M")
	if err != nil {
		t.Fatal(err)
	}
	e := events.Event{User: "user_1", IPAddress: "203.0.113.7", UserAgent: "Mozilla/5.0"}
	e.ID = mfa.EventID(challenge)
	e.At = time.Date(2026, 3, 27, 13, 0, 0, 432_999_999, time.FixedZone("", 3600))
	e.Type, e.Factor, e.Challenge, e.Kind = typ, factor, challenge, mfa.TOTP
	e.Reason, e.Caller, e.Request = "wrong_code", "key_01FZ4TKQ7XH8W1YJ5V9C2D3EBA", "0b8f3a52-6f0e-4b4c-9d0a-2f6a8f1f5d11"
	return e
}

// bare returns an event of a type in which only the required fields have a value.
func bare(t testing.TB, typ mfa.EventType) events.Event {
	full := event(t, typ)
	var e events.Event
	e.ID, e.At, e.Type = full.ID, full.At, typ
	return e
}

const (
	head = `{"object":"event","id":"event_01FZ4WSWV0F5V37E3S3E28JT3M","event":"`
	tail = `,"created_at":"2026-03-27T12:00:00.432Z"}`

	subject = `"factor_id":"auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M","factor_type":"totp","challenge_id":"auth_challenge_01FZ4WSWV0F5V37E3S3E28JT3M"`
	origin  = `"reason":"wrong_code","caller":{"type":"api_key","id":"key_01FZ4TKQ7XH8W1YJ5V9C2D3EBA"},"request_id":"0b8f3a52-6f0e-4b4c-9d0a-2f6a8f1f5d11"`
	system  = `"caller":{"type":"system","id":null}`
	mistake = `"error":{"code":"mfa_challenge_failed","message":"The MFA challenge has failed."}`
)

func TestAppend(t *testing.T) {
	byOperator := bare(t, mfa.FactorUnlocked)
	byOperator.Caller = "operator:ada"
	for _, tc := range []struct {
		name  string
		event events.Event
		want  string
	}{
		{"a success", event(t, mfa.ChallengeSucceeded), head + `authentication.mfa_succeeded","data":{"type":"mfa","status":"succeeded","ip_address":"203.0.113.7","user_agent":"Mozilla/5.0","user_id":"user_1","email":"",` + subject + `,` + origin + `}` + tail},
		{"a success of an unknown user", bare(t, mfa.ChallengeSucceeded), head + `authentication.mfa_succeeded","data":{"type":"mfa","status":"succeeded","ip_address":null,"user_agent":null,"user_id":"","email":"",` + system + `}` + tail},
		{"a failure", event(t, mfa.ChallengeFailed), head + `authentication.mfa_failed","data":{"type":"mfa","status":"failed","ip_address":"203.0.113.7","user_agent":"Mozilla/5.0","user_id":"user_1","email":null,` + mistake + `,` + subject + `,` + origin + `}` + tail},
		{"a failure of an unknown user", bare(t, mfa.ChallengeFailed), head + `authentication.mfa_failed","data":{"type":"mfa","status":"failed","ip_address":null,"user_agent":null,"user_id":null,"email":null,` + mistake + `,` + system + `}` + tail},
		{"another type", event(t, mfa.FactorLocked), head + `factor.locked","data":{` + subject + `,"user_id":"user_1","ip_address":"203.0.113.7","user_agent":"Mozilla/5.0",` + origin + `}` + tail},
		{"another type without values", bare(t, mfa.FactorLocked), head + `factor.locked","data":{` + system + `}` + tail},
		{"an operator", byOperator, head + `factor.unlocked","data":{"caller":{"type":"operator","id":"ada"}}` + tail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(eventwire.Append([]byte("x"), tc.event)); got != "x"+tc.want {
				t.Errorf("got\n%s; want\nx%s", got, tc.want)
			}
		})
	}
}

func TestParseType(t *testing.T) {
	for _, typ := range mfa.EventTypes {
		if got, ok := eventwire.ParseType(string(typ)); !ok || got != typ {
			t.Errorf("ParseType(%q) = %q, %t", typ, got, ok)
		}
	}
	for _, name := range []string{"", "factor", "factor.", "Factor.enrolled", "factor.enrolled ", "user.created"} {
		if got, ok := eventwire.ParseType(name); ok {
			t.Errorf("ParseType(%q) = %q", name, got)
		}
	}
}

// hostile are texts that encoders of JSON print differently.
func hostile() []string {
	texts := []string{
		"Förde <b>&'\u2028\u2029 \"1.0\" 🔑 \\ /", "\ufeff\ufffe\uffff", "\u00ad\u200b\u200e\u202e\u061c", "\ud7ff\ue000\U0010ffff",
		"not UTF-8: \xff\xc3\x28\xed\xa0\x80", "__proto__", "1e999", "</script><!--", "\x7f\u0080\u009f",
	}
	for r := range rune(0x20) {
		texts = append(texts, fmt.Sprintf("a%cb", r))
	}
	return texts
}

func TestAppendPrintsWhatJavaScriptPrints(t *testing.T) {
	node := testenv.Tool(t, "node")
	var lines bytes.Buffer
	var want []string
	for _, typ := range mfa.EventTypes {
		for _, text := range hostile() {
			e := event(t, typ)
			e.User, e.UserAgent, e.Reason, e.Caller, e.Request = text, text, text, text, text
			for _, e := range []events.Event{e, bare(t, typ)} {
				line := eventwire.Append(nil, e)
				want = append(want, string(line))
				lines.Write(append(line, '\n'))
			}
		}
	}
	const program = `
		for (const line of require("fs").readFileSync(0, "utf8").split("\n").slice(0, -1)) {
			console.log(JSON.stringify(JSON.parse(line)));
		}`
	cmd := exec.CommandContext(t.Context(), node, "-e", program)
	cmd.Stdin = &lines
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := bufio.NewScanner(bytes.NewReader(out))
	got.Split(func(data []byte, _ bool) (int, []byte, error) { // bufio.ScanLines would remove a carriage return
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, data[:i], nil
		}
		return 0, nil, nil
	})
	for i, w := range want {
		if !got.Scan() || got.Text() != w {
			t.Fatalf("line %d: JavaScript prints\n%q; Append prints\n%q", i, got.Text(), w)
		}
	}
}

func FuzzAppend(f *testing.F) {
	for _, text := range hostile() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := event(t, mfa.ChallengeSucceeded)
		e.User = text
		line := eventwire.Append(nil, e)
		var read struct {
			Data struct {
				User string `json:"user_id"`
			}
		}
		if err := json.Unmarshal(line, &read); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); read.Data.User != want && utf8.ValidString(text) {
			t.Errorf("%q is read as %q", text, read.Data.User)
		}
		if bytes.ContainsAny(line, "\n\r") {
			t.Errorf("%q is more than one line", line)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	e := event(b, mfa.ChallengeSucceeded)
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = eventwire.Append(buf[:0], e)
	}
}
