package operatorapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestTheDocumentedExamplesWork runs all examples of docs/operator-api.md in one shell.
func TestTheDocumentedExamplesWork(t *testing.T) {
	bash := testenv.Tool(t, "bash")
	testenv.Tool(t, "curl")
	w := newFixture(t)
	page, err := os.ReadFile("../../docs/operator-api.md")
	if err != nil {
		t.Fatal(err)
	}
	script := []byte("set -e\n")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1)
	for _, block := range blocks {
		script = append(script, regexp.MustCompile(`(?m)^curl `).ReplaceAll(block[1], []byte("echo; curl "))...)
	}
	cmd := exec.CommandContext(t.Context(), bash)
	cmd.Stdin = bytes.NewReader(script)
	cmd.Env = append(os.Environ(), "URL="+w.url, "OPERATOR_KEY="+w.key, "USER_ID="+adaUser, "FACTOR_ID="+w.acme.factor, "CHALLENGE_ID="+w.acme.challenge)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answers := 0
	for line := range bytes.Lines(out) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var object struct {
			Object, Key, Secret, Code, Token string
		}
		if err := json.Unmarshal(line, &object); err != nil || object.Object == "" {
			t.Errorf("an example prints %s", line)
		}
		for _, secret := range []string{object.Key, object.Secret, object.Code, object.Token} {
			if secret != "" {
				logcapture.Secret(t, secret)
			}
		}
		answers++
	}
	if len(blocks) != 6 || answers != 17 {
		t.Errorf("%d answers to %d blocks; want 17 and 6", answers, len(blocks))
	}
}
