package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestDevPrintsOneLineOfJSON(t *testing.T) {
	t.Parallel()
	p := dev(t, t.TempDir())
	p.api().enrollTOTP()
	p.stop()
	if out := p.out.String(); strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
		t.Errorf("dev --json printed %q; want one line", out)
	}
	if !strings.HasPrefix(p.url, "http://127.0.0.1:") || !strings.HasPrefix(p.key, "sk_test_") {
		t.Errorf("url %q, api_key %q", p.url, p.key)
	}
}

// dev of this test listens on port 0.
func TestReceiptsOfDevNameTheAddressThatItListensOn(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"HTTP": nil, "TLS": {"--tls"}} {
		t.Run(name, func(t *testing.T) {
			p := dev(t, t.TempDir(), flags...)
			api := p.api()
			made := api.challenge(api.enroll(`{"type":"generic_otp"}`).ID)
			reply := api.want(http.StatusCreated, http.MethodPost, verifyPath(made.ID), `{"code":"`+made.Code+`","receipt":{"aud":"https://pay.example.com"}}`)
			parts := strings.Split(reply.Receipt, ".")
			if len(parts) != 3 {
				t.Fatalf("the receipt has %d parts", len(parts))
			}
			text, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			var claims struct{ Iss string }
			if err := json.Unmarshal(text, &claims); err != nil {
				t.Fatal(err)
			}
			if want := p.url + "/environments/sandbox"; claims.Iss != want {
				t.Errorf("iss is %q; want %q", claims.Iss, want)
			}
		})
	}
}

func TestDevKeepsItsKeyAndFactors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := dev(t, dir)
	enrolled := first.api().enrollTOTP()
	if code := first.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	second := dev(t, dir)
	if second.key != first.key {
		t.Error("the API key is another one")
	}
	api := second.api()
	api.want(http.StatusOK, "GET", "/auth/factors/"+enrolled.ID, "")
	if !api.verify(api.challenge(enrolled.ID).ID, codeNow(t, enrolled.TOTP.Secret)) {
		t.Error("the code of a factor from before the restart is not valid")
	}
}

// documentedSeed returns the seed in docs/testing.md.
func documentedSeed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(string(text), "```yaml\n")
	seed, _, ok := strings.Cut(seed, "```\n")
	if !ok {
		t.Fatal("docs/testing.md has no seed")
	}
	return seed
}

// TestDevIsSeeded starts dev with a key and a seed that a test knows, twice: the second start
// adds nothing.
func TestDevIsSeeded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "seed.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seed := documentedSeed(t)
	write(seed)
	const key = "sk_test_ci_000000"
	for range 2 {
		p := dev(t, dir, "--api-key", key, "--seed", file)
		if p.key != key {
			t.Fatalf("api_key %q; want %q", p.key, key)
		}
		api := p.api()
		var list struct {
			Data []struct{ ID, Type, Name string }
		}
		if err := json.Unmarshal(api.want(http.StatusOK, "GET", "/user_management/users/user_42/auth_factors?order=asc", "").body, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Data) != 2 || list.Data[0].Type != "totp" || list.Data[1].Name != "phone" {
			t.Fatalf("the factors are %+v; want totp and the phone", list.Data)
		}
		newAPI(t, p.url, "sk_test_events_000").want(http.StatusForbidden, "GET", "/auth/factors/"+list.Data[0].ID, "")
		newAPI(t, p.url, "sk_test_other_0000").want(http.StatusNotFound, "GET", "/auth/factors/"+list.Data[0].ID, "")
		p.stop()
	}
	refused := func(dir, want string) {
		t.Helper()
		_, stderr, code := command(t, "dev", "--store", storeIn(t, dir), "--addr", "127.0.0.1:0", "--seed", file)
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("dev ended with %d and %q; want an error with %q", code, stderr, want)
		}
	}
	write(seed + "      - {key: sk_test_other_0001}\n")
	refused(dir, "another content")
	for text, want := range map[string]string{
		"environments: [{name: a, keyz: []}]":                                                    "line 1: keyz is not a key of a seed",
		"environments: [{keys: []}]":                                                             "environments[0]: name is required",
		`environments: [{name: a, keys: [{key: sk_live_000000000}]}]`:                            "environments[0].keys[0]: key must be sk_test_",
		`environments: [{name: a, users: [{id: u, factors: [{type: totp, totp_secret: "!"}]}]}]`: "environments[0].users[0].factors[0]: totp_secret",
		`environments: [{name: a, settings: {max_factors_per_user: many}}]`:                      "environments[0].settings: max_factors_per_user must be",
		`environments: [{name: a, webhooks: [{endpoint_url: x}]}]`:                               "environments[0].webhooks[0]: ",
	} {
		write(text)
		refused(t.TempDir(), want)
	}
}

// TestTestsMoveTheClockOfDev uses two codes of one app at once, and an expired challenge, and
// starts again.
func TestTestsMoveTheClockOfDev(t *testing.T) {
	t.Parallel()
	if pgtest.Chosen() {
		t.Skip("--clock needs a SQLite store")
	}
	dir := t.TempDir()
	p := dev(t, dir, "--clock")
	api := p.api()
	type clock struct {
		Object string
		Now    time.Time
		Ahead  int `json:"ahead_seconds"`
	}
	send := func(method, body string) (c clock) {
		t.Helper()
		if err := json.Unmarshal(api.want(http.StatusOK, method, "/dev/clock", body).body, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	factor := api.enrollTOTP()
	for range 3 {
		now := send("GET", "").Now
		code := codeAt(t, factor.TOTP.Secret, totp.Step(now))
		if !api.verify(api.challenge(factor.ID).ID, code) {
			t.Errorf("the code of the clock at %v is not valid", now)
		}
		send("POST", `{"advance_seconds":30}`)
	}
	old := api.challenge(factor.ID).ID
	if c := send("POST", `{"advance_seconds":600}`); c.Object != "clock" || c.Ahead != 690 {
		t.Errorf("the clock is %+v; want it 690 s ahead", c)
	}
	api.want(http.StatusUnprocessableEntity, "POST", verifyPath(old), `{"code":"123456"}`)
	later := send("GET", "").Now.Add(24 * time.Hour).Truncate(time.Second)
	if c := send("POST", `{"now":"`+later.Format(time.RFC3339)+`"}`); c.Now.Sub(later).Abs() > patience {
		t.Errorf("the clock is %+v; want %v", c, later)
	}
	for _, body := range []string{``, `{"advance_seconds":-1}`, `{"advance_seconds":1.5}`, `{"now":"2020-01-01T00:00:00Z"}`, `{"now":"soon"}`,
		`{"now":"9999-01-01T00:00:00Z"}`, `{"advance_seconds":1,"now":"2099-01-01T00:00:00Z"}`, `{"advance":1}`} {
		api.want(http.StatusUnprocessableEntity, "POST", "/dev/clock", body)
	}
	newAPI(t, p.url, "sk_test_unknown").want(http.StatusUnauthorized, "POST", "/dev/clock", `{"advance_seconds":1}`)
	p.stop()

	p = dev(t, dir) // the clock stays, and nothing moves it
	p.api().want(http.StatusNotFound, "GET", "/dev/clock", "")
	if made := p.api().challenge(factor.ID); !strings.HasPrefix(made.ExpiresAt, later.Format("2006-01-02T")) && !strings.HasPrefix(made.ExpiresAt, later.AddDate(0, 0, 1).Format("2006-01-02T")) {
		t.Errorf("after a restart a challenge expires at %s; want it after %v", made.ExpiresAt, later)
	}
}

func TestDevKeepsItsFilesToItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev(t, dir, "--tls").stop()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 && !strings.HasSuffix(e.Name(), ".crt") {
			t.Errorf("%s has mode %v; want none but its owner to read it", e.Name(), info.Mode())
		}
	}
}

func TestTheLifeOfASMSFactor(t *testing.T) {
	t.Parallel()
	const phone, others = "+16073517112", "+16073517113"
	logcapture.Secret(t, phone, others)
	api := dev(t, t.TempDir()).api()
	ask := func(phone string) string {
		enrolled := api.enroll(`{"type":"sms","phone_number":"` + phone + `"}`)
		return api.want(http.StatusCreated, "POST", "/auth/factors/"+enrolled.ID+"/challenge",
			`{"sms_template":"{{code}} is for Example"}`).ID
	}
	before := time.Now()
	challenge := ask(phone)
	ask(others)

	all, his := api.inbox(""), api.inbox("?to="+url.QueryEscape(phone))
	if len(all) != 2 || all[0].To != others {
		t.Errorf("the inbox holds %d messages, the newest to %s; want 2, the newest to %s", len(all), all[0].To, others)
	}
	if len(his) != 1 || his[0].To != phone || his[0].Text != his[0].Code+" is for Example" {
		t.Fatalf("the messages to %s are %+v", phone, his)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000Z", his[0].SentAt); err != nil || at.Before(before.Truncate(time.Millisecond)) {
		t.Errorf("sent_at is %s (%v)", his[0].SentAt, err)
	}
	if none := api.inbox("?to=%2B16073510000"); none == nil || len(none) != 0 {
		t.Errorf("the messages to nobody are %v; want an empty list", none)
	}
	const testNumber = "+15005550006"
	ask(testNumber)
	if got := api.inbox("?to=" + url.QueryEscape(testNumber)); len(got) != 1 || got[0].Code != "123456" || got[0].Text != "123456 is for Example" {
		t.Errorf("the messages to a test number are %+v", got)
	}
	if api.verify(challenge, wrong) {
		t.Error("a wrong code is valid")
	}
	if !api.verify(challenge, his[0].Code) {
		t.Error("the code of the message is not valid")
	}
	if why := api.refused(http.StatusUnprocessableEntity, challenge, his[0].Code); why != "authentication_challenge_previously_verified" {
		t.Errorf("the same code again: %s", why)
	}
}

func TestDevOverTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir, "--tls")
	if !strings.HasPrefix(p.url, "https://") {
		t.Fatalf("url %q; want https", p.url)
	}
	for _, tc := range []struct {
		name  string
		http2 bool
		proto string
	}{
		{"HTTP/2", true, "HTTP/2.0"},
		{"HTTP/1.1", false, "HTTP/1.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := trusting(t, p.cert, tc.http2)
			resp, err := client.Get(p.url + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK || resp.Proto != tc.proto {
				t.Errorf("healthz = %s %d; want %s 200", resp.Proto, resp.StatusCode, tc.proto)
			}
			api := &api{t: t, url: p.url, key: p.key, client: client}
			made := api.challenge(api.enroll(`{"type":"generic_otp"}`).ID)
			if !api.verify(made.ID, made.Code) {
				t.Error("the right code is not valid")
			}
		})
	}
	if _, err := http.Get(p.url + "/healthz"); err == nil {
		t.Error("a client that does not know the certificate trusts it")
	}
	p.stop()
	if again := dev(t, dir, "--tls"); !bytes.Equal(again.cert, p.cert) {
		t.Error("a restart made another certificate; those who trust the first cannot connect")
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// trusting returns a client that trusts only one certificate.
func trusting(t testing.TB, pem []byte, http2 bool) *http.Client {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the certificate is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// TestTheWelcomeCanBePasted runs the commands that dev prints, unchanged, in one
// shell.
func TestTheWelcomeCanBePasted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		flags []string
	}{
		{"plain", nil},
		{"with TLS", []string{"--tls"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			bash, zbarimg := testenv.Tool(t, "bash"), testenv.Tool(t, "zbarimg")
			testenv.Tool(t, "curl")
			dir := t.TempDir()
			p := launch(t, nil, append([]string{"dev", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir)}, tc.flags...)...)
			welcome := p.await(p.out, `(?s)^.*Ctrl-C stops the server.*`)[0]
			logcapture.Secret(t, regexp.MustCompile(`sk_test_\w+`).FindString(welcome))
			enroll, verify := commandsOf(t, welcome)

			shell := newShell(t, bash, dir)
			shell.paste(enroll)
			enrolled := answerIn(t, readFile(t, filepath.Join(dir, "factor.json")))
			uri := enrolled.TOTP.URI
			if !strings.HasPrefix(uri, "otpauth://totp/Example:you@example.com?") {
				t.Fatalf("uri %q", uri)
			}
			read, err := exec.CommandContext(t.Context(), zbarimg, "--quiet", "--raw", "--nodbus", filepath.Join(dir, "qr.png")).Output()
			if err != nil || strings.TrimSuffix(string(read), "\n") != uri {
				t.Errorf("zbarimg reads %q (%v) in qr.png; want %q", read, err, uri)
			}

			said := shell.paste(strings.ReplaceAll(verify, "123456", codeNow(t, enrolled.TOTP.Secret)))
			if !strings.Contains(said, `"valid":true`) {
				t.Errorf("the pasted commands say:\n%s\nwant valid: true", said)
			}
		})
	}
}

// commandsOf returns the commands of the welcome in two parts: before and after a
// person types a code.
func commandsOf(t *testing.T, welcome string) (enroll, verify string) {
	t.Helper()
	_, steps, ok := strings.Cut(welcome, "Enroll an authenticator app.")
	enroll, verify, both := strings.Cut(steps, "Challenge it")
	if !ok || !both {
		t.Fatalf("the welcome has other steps than these:\n%s", welcome)
	}
	return indented(enroll), indented(verify)
}

// indented returns the indented lines of text.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func answerIn(t *testing.T, body []byte) entity {
	t.Helper()
	e, err := readEntity(body)
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	logcapture.Secret(t, e.TOTP.Secret)
	return e
}

// A shell is a running bash that commands can be pasted into.
type shell struct {
	t    *testing.T
	in   io.Writer
	out  *output
	done int // pastes
}

func newShell(t *testing.T, bash, dir string) *shell {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, bash, "--noprofile", "--norc")
	s := &shell{t: t, out: newOutput(io.Discard)}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, s.out, s.out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return s
}

// paste runs commands in the shell and returns their output.
func (s *shell) paste(commands string) string {
	s.t.Helper()
	s.done++
	marker := strings.Repeat("-", s.done) + "done"
	if _, err := io.WriteString(s.in, commands+"echo; echo "+marker+"\n"); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.After(patience)
	for {
		text, more := s.out.look()
		if strings.Contains(text, "\n"+marker+"\n") {
			return text
		}
		select {
		case <-more:
		case <-deadline:
			s.t.Fatalf("the shell is not done with:\n%s\nit said:\n%s", commands, text)
		}
	}
}
