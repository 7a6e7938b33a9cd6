package conformance_test

import (
	"bufio"
	"bytes"
	"io"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// An example is a program that docs/clients.md shows: it enrolls a TOTP factor,
// prints its URI, asks for a code, and says "Signed in." or "Wrong code."
type example struct {
	name    string // the name of the section of the page that shows it
	file    string // relative to this directory
	fence   string // the language of the code block
	command func(t *testing.T) *exec.Cmd
}

func examples() []example {
	return slices.Concat(curlExamples, nodeExamples, goExamples, pythonExamples, javaExamples)
}

// TestExamples runs each example as a reader would: first with a wrong code, then with
// a code of the authenticator app.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, e := range examples() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(e.file)
			if err != nil {
				t.Fatal(err)
			}
			inPage(t, "example "+e.name, "```"+e.fence+"\n"+string(source)+"```\n")
			oathtool := testenv.Tool(t, "oathtool")
			app := func(secret string) string {
				code, err := exec.CommandContext(t.Context(), oathtool, "--totp", "--base32", secret).Output()
				if err != nil {
					t.Fatal(err)
				}
				return string(bytes.TrimSpace(code))
			}
			s := watched(t, start(t))
			if got := e.signIn(t, s, func(string) string { return "12345" }); !strings.Contains(got, "Wrong code.") {
				t.Errorf("a wrong code: it said %q", got)
			}
			if got := e.signIn(t, s, app); !strings.Contains(got, "Signed in.") {
				t.Errorf("the right code: it said %q", got)
			}
		})
	}
}

var otpauth = regexp.MustCompile(`otpauth://totp/\S+`)

// signIn runs an example, types the code that it asks for, and returns the output after
// that.
func (e example) signIn(t *testing.T, s server, code func(secret string) string) string {
	t.Helper()
	cmd := e.command(t)
	cmd.Env = append(executable.Environment(), append(cmd.Env, "COUNTERSIGN_URL="+s.URL, "COUNTERSIGN_API_KEY="+s.APIKey)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()

	out := bufio.NewReader(stdout)
	for typed := false; !typed; {
		said, err := out.ReadString('\n')
		if uri := otpauth.FindString(said); uri != "" {
			secret := secretOf(t, uri)
			logcapture.Secret(t, secret)
			io.WriteString(stdin, code(secret)+"\n")
			typed = true
		} else if err != nil {
			cmd.Wait()
			t.Fatalf("it printed no URI; it wrote: %s", stderr.Bytes())
		}
	}
	rest, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v; it wrote: %s", err, stderr.Bytes())
	}
	return string(rest)
}

func secretOf(t *testing.T, uri string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("secret")
}
