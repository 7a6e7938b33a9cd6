package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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
	"github.com/countersign-mfa/countersign/internal/testenv"
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
			api := &api{t, p.url, p.key, client}
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
