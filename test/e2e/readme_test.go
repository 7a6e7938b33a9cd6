package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestTheReadmeCanBePasted runs the commands of "Five minutes with curl" in the README in one
// shell, with the address and the key of a server.
func TestTheReadmeCanBePasted(t *testing.T) {
	t.Parallel()
	bash := testenv.Tool(t, "bash")
	testenv.Tool(t, "curl")
	logcapture.Secret(t, "+16073517112")
	_, section, _ := strings.Cut(string(readFile(t, "../../README.md")), "## Five minutes with curl\n")
	section, _, ok := strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("the README has no such section")
	}
	dir := t.TempDir()
	p := dev(t, dir)
	commands := strings.NewReplacer("http://127.0.0.1:4100", p.url, "sk_test_…", p.key).Replace(indented(section))
	shell := newShell(t, bash, dir)
	said := shell.paste(commands)
	if !strings.Contains(said, `"valid":true`) {
		t.Errorf("the commands say:\n%s\nwant valid: true", said)
	}
	if !regexp.MustCompile(`"event":"authentication\.mfa_succeeded"`).MatchString(said) {
		t.Errorf("the commands show no event of the sign-in:\n%s", said)
	}
}
