package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// A kindClient is one version of a client library, which has no call for passkeys and recovery
// codes.
type kindClient struct {
	language, version string
	by                string // byLibrary or byReplay
	https             bool   // it uses only https

	open func(*testing.T, target) caller
}

// A caller makes calls with a library. An error means that the library throws an error, or
// cannot make the call.
type caller interface {
	// call makes a call by the methods of the library: enroll TYPE, challenge FACTOR, verify
	// CHALLENGE CODE. Of the result it has only the fields that the library shows.
	call(name string, args ...string) (kindResult, error)
	// post sends a request by the method of the library for any request.
	post(path string, body any) (kindResult, error)
}

type kindResult struct {
	ID, Code string
	Valid    bool
	Codes    []string
}

func kindClients() (all []kindClient) {
	for _, c := range []struct{ language, version, dir, program, name string }{
		{"JavaScript", "7.0.0", "node", "calls.mjs", "workos-oldest"},
		{"JavaScript", "7.82.0", "node", "calls.mjs", "workos-7"},
		{"JavaScript", "8.13.0", "node", "calls.mjs", "workos-8"},
		{"JavaScript", "10.14.0", "node", "calls.mjs", "workos-10"},
		{"JavaScript", "11.0.0", "node", "calls.mjs", "workos-newest"},
		{"Go", "1.21.0", "go", "life", "1"},
		{"Go", "4.46.1", "go", "life", "4"},
		{"Go", "6.5.0", "go", "life", "6"},
		{"Go", "9.6.0", "go", "life", "9"},
		{"Python", "1.12.0", "python", "calls.py", "1.12.0"},
		{"Python", "4.16.0", "python", "calls.py", "4.16.0"},
		{"Python", "5.46.0", "python", "calls.py", "5.46.0"},
		{"Python", "10.8.0", "python", "calls.py", "10.8.0"},
		{"Java", "7.2.0", "java", "Calls", ""},
		{"Rust", "3.5.0", "rust", "calls", ""},
	} {
		all = append(all, kindClient{c.language, c.version, byLibrary, false, func(t *testing.T, at target) caller {
			var cmd *exec.Cmd
			var env []string
			switch c.dir {
			case "node":
				installed(t, "node", "node_modules")
				cmd = exec.CommandContext(t.Context(), testenv.Tool(t, "node"), c.program, c.name)
			case "go":
				cmd = exec.CommandContext(t.Context(), goProgram(t, c.program), c.name, "calls")
			case "python":
				env = []string{workosOf(t, c.name)}
				cmd = exec.CommandContext(t.Context(), testenv.Tool(t, "python3"), "-B", "-S", c.program, c.name)
			case "java":
				java, classes := javaPrograms(t)
				cmd = exec.CommandContext(t.Context(), java, "-cp", classes, c.program)
			case "rust":
				buildRust(t)
				program, err := filepath.Abs("rust/libraries/debug/" + c.program)
				if err != nil {
					t.Fatal(err)
				}
				cmd = exec.CommandContext(t.Context(), program)
			}
			cmd.Dir = c.dir
			cmd.Env = append(executable.Environment(), append(env, "COUNTERSIGN_URL="+at.url, "COUNTERSIGN_API_KEY="+at.apiKey)...)
			return startCaller(t, cmd, c.version)
		}})
	}
	for _, w := range []*wire{&go10, &java2, &java4, &ruby2, &ruby5, &ruby10, &php4, &php7, &php9, &dotnet2, &dotnet6} {
		all = append(all, kindClient{w.language, w.version, byReplay, w.https, func(_ *testing.T, at target) caller {
			return wireCaller{w, at}
		}})
	}
	return all
}

// TestKindClients registers and uses a passkey of the software authenticator, and uses recovery
// codes, with every client: by the methods of the library if they allow it, or else by its
// method for any request, or else over HTTP without the library. docs/clients.md has the ways.
func TestKindClients(t *testing.T) {
	t.Parallel()
	all := kindClients()
	ways := make([]*kindWays, len(all))
	t.Run("client", func(t *testing.T) {
		for i, c := range all {
			t.Run(c.language+" "+c.version, func(t *testing.T) {
				t.Parallel()
				ways[i] = c.run(t)
			})
		}
	})
	var table strings.Builder
	table.WriteString("| client | proven by | enroll a passkey | challenge it, verify | create recovery codes, `accept_recovery` | challenge the codes, verify |\n|---|---|---|---|---|---|\n")
	for i, c := range all {
		if ways[i] == nil {
			return // it was excluded or it failed
		}
		fmt.Fprintf(&table, "| %s %s | %s | %s | ✓ | %s | ✓ |\n", c.language, c.version, c.by, ways[i].enroll, ways[i].codes)
	}
	inPage(t, "kinds", table.String())
}

// kindWays are the ways in which a client makes the calls for which libraries have no method.
type kindWays struct{ enroll, codes way }

// A way is a way to make a call.
type way string

const (
	byMethod way = "✓"
	byPost   way = "raw"
	byHTTP   way = "HTTP"
)

func (c kindClient) run(t *testing.T) *kindWays {
	flags := []string{}
	if c.https {
		flags = append(flags, "--tls")
	}
	s := start(t, flags...)
	k := &kindRun{t: t, at: target{url: s.URL, apiKey: s.APIKey}, http: http.DefaultClient}
	if c.https {
		var err error
		if k.at.tls, err = trustOf(s.URL); err != nil {
			t.Fatal(err)
		}
		k.http = &http.Client{Transport: &http.Transport{TLSClientConfig: k.at.tls}}
		t.Cleanup(k.http.CloseIdleConnections)
	}
	k.caller = c.open(t, k.at)
	var w kindWays
	const user = "user_42"

	// A passkey.
	w.enroll = byMethod
	factor, err := k.call("enroll", "webauthn")
	if err != nil {
		t.Logf("enroll by its method: %v", err)
		factor, w.enroll = k.anyWay("/auth/factors/enroll", map[string]any{"type": "webauthn", "user_id": user, "webauthn_user": "ada@example.com"})
	}
	for _, ceremony := range []string{"rp", "rpId"} { // in the options of a registration, and of a sign-in
		challenge := k.must("challenge", factor.ID)
		if challenge.Code != "" { // some libraries have no field for it
			var options map[string]any
			if err := json.Unmarshal([]byte(challenge.Code), &options); err != nil || options[ceremony] == nil {
				t.Errorf("the challenge has the code %q (%v); want options with %s", challenge.Code, err, ceremony)
			}
		}
		var answer struct{ Credential json.RawMessage }
		k.ask("/dev/webauthn/answer", map[string]any{"challenge_id": challenge.ID}, &answer)
		for _, try := range []struct {
			code  string
			right bool
		}{
			{strings.Replace(string(answer.Credential), `"clientDataJSON":"`, `"clientDataJSON":"A`, 1), false},
			{string(answer.Credential), true},
		} {
			if got := k.must("verify", challenge.ID, try.code); got.Valid != try.right {
				t.Errorf("%s with a credential: valid = %t; want %t", ceremony, got.Valid, try.right)
			}
		}
	}

	// Recovery codes, as a factor and in the input of another factor.
	set, created := k.anyWay("/user_management/users/"+user+"/recovery_codes", map[string]any{"allow_sole": true})
	logcapture.Secret(t, set.Codes...)
	if len(set.Codes) != 10 {
		t.Fatalf("%d recovery codes; want 10", len(set.Codes))
	}
	for _, right := range []bool{true, false} { // each code works once
		if got := k.must("verify", k.must("challenge", set.ID).ID, set.Codes[0]); got.Valid != right {
			t.Errorf("a recovery code: valid = %t; want %t", got.Valid, right)
		}
	}
	var other kindResult
	k.ask("/auth/factors/enroll", map[string]any{"type": "generic_otp", "user_id": user}, &other)
	accepting, accepted := k.anyWay("/auth/factors/"+other.ID+"/challenge", map[string]any{"accept_recovery": true})
	logcapture.Secret(t, accepting.Code)
	if got := k.must("verify", accepting.ID, strings.ToLower(set.Codes[1])); !got.Valid {
		t.Error("a recovery code in the input of another factor is not valid")
	}
	if w.codes = created; created != accepted {
		t.Errorf("it creates codes by %s, and a challenge by %s", created, accepted)
	}
	return &w
}

// A kindRun is a client with its server.
type kindRun struct {
	caller
	t    *testing.T
	at   target
	http *http.Client
}

// must makes a call that has to succeed. The libraries that derive an idempotency key from
// the request are given another one by their callers.
func (k *kindRun) must(name string, args ...string) kindResult {
	k.t.Helper()
	got, err := k.call(name, args...)
	if err != nil {
		k.t.Fatalf("%s: %v", name, err)
	}
	return got
}

// anyWay sends a request by the method of the library for any request, or else without the library.
func (k *kindRun) anyWay(path string, body any) (kindResult, way) {
	k.t.Helper()
	got, err := k.post(path, body)
	if err == nil {
		return got, byPost
	}
	k.t.Logf("%s by its method for any request: %v", path, err)
	k.ask(path, body, &got)
	return got, byHTTP
}

// ask sends a request without the library.
func (k *kindRun) ask(path string, body, reply any) {
	k.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		k.t.Fatal(err)
	}
	eventServer{server: server{URL: k.at.url, APIKey: k.at.apiKey}}.ask(k.t, k.http, "POST", path, string(text), reply)
}

// A programCaller is a program that makes calls with a library. It first prints the version of the
// library. Then it reads a call as a line of JSON, an array of its name and its arguments, and prints
// the result as a line of JSON: {"value":{…}} or {"error":"…"}.
type programCaller struct {
	in  io.Writer
	out *bufio.Reader
}

func startCaller(t *testing.T, cmd *exec.Cmd, version string) caller {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil || t.Failed() {
			t.Logf("the program ended with %v:\n%s", err, stderr.Bytes())
		}
	})
	p := programCaller{in, bufio.NewReader(out)}
	var installed struct{ Version string }
	if err := p.read(&installed); err != nil || installed.Version != version {
		t.Fatalf("version %q (%v); want %s", installed.Version, err, version)
	}
	return p
}

func (p programCaller) read(value any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the program printed no line: %w", err)
	}
	return json.Unmarshal(line, value)
}

func (p programCaller) send(call ...any) (kindResult, error) {
	line, err := json.Marshal(call)
	if err != nil {
		return kindResult{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return kindResult{}, err
	}
	var result struct {
		Value kindResult
		Error string
	}
	if err := p.read(&result); err != nil {
		return kindResult{}, err
	}
	if result.Error != "" {
		return kindResult{}, fmt.Errorf("the library: %s", result.Error)
	}
	return result.Value, nil
}

func (p programCaller) call(name string, args ...string) (kindResult, error) {
	call := []any{name}
	for _, a := range args {
		call = append(call, a)
	}
	return p.send(call...)
}

func (p programCaller) post(path string, body any) (kindResult, error) {
	return p.send("post", path, body)
}

// A wireCaller replays the calls of a library.
type wireCaller struct {
	*wire
	at target
}

func (w wireCaller) call(name string, args ...string) (kindResult, error) {
	var o outcome
	switch name {
	case "enroll":
		c, ok := w.calls[enrollUnknown]
		if !ok || c.refuses != "" {
			return kindResult{}, fmt.Errorf("the library does not send the type %s", args[0])
		}
		other := *w.wire
		c.sends = strings.ReplaceAll(c.sends, "hotp", args[0])
		other.calls = map[string]wireCall{enrollUnknown: c}
		o = other.do(w.at, enrollUnknown, nil)
	case "challenge":
		o = w.do(w.at, challengePlain, map[string]string{"factor": args[0]})
	case "verify":
		o = w.do(w.at, verifyCode, map[string]string{"challenge": args[0], "code": args[1]})
	}
	switch {
	case o.fault != nil:
		return kindResult{}, o.fault
	case o.refusal != nil:
		return kindResult{}, fmt.Errorf("%s: %s %s", o.refusal.class, o.refusal.message, o.reply.body)
	case o.reply.status >= 300:
		return kindResult{}, fmt.Errorf("status %d: %s", o.reply.status, o.reply.body)
	}
	valid, _ := o.value["valid"].(bool)
	return kindResult{ID: o.value.text("id"), Code: o.value.text("code"), Valid: valid}, nil
}

// post uses the call with which a caller can request any path.
func (w wireCaller) post(path string, body any) (result kindResult, err error) {
	if _, ok := w.calls[getUnknown]; !ok {
		return result, fmt.Errorf("the replay has no method for any request")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return result, err
	}
	answer, err := w.exchange(w.at, "POST", path, string(text), "")
	if err != nil {
		return result, err
	}
	if answer.status >= 300 {
		return result, fmt.Errorf("status %d: %s", answer.status, answer.body)
	}
	return result, json.Unmarshal(answer.body, &result)
}

// buildRust compiles the programs that use the crate workos, which scripts/setup downloads.
func buildRust(t *testing.T) {
	t.Helper()
	cargo := testenv.Tool(t, "cargo")
	if _, err := os.Stat("rust/libraries/debug/events"); os.IsNotExist(err) {
		t.Skip("scripts/setup did not compile the program, because this machine has no Rust that is new enough")
	}
	cmd := exec.CommandContext(t.Context(), cargo, "build", "--quiet", "--locked", "--offline", "--target-dir", "libraries")
	cmd.Dir = "rust"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
