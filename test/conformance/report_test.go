package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// A line is the output of a runner: the outcome of a step, or secrets.
type line struct {
	Library string `json:"library"`
	Version string `json:"version"`
	Step    string `json:"step"`
	OK      bool   `json:"ok"`
	Skipped bool   `json:"skipped"` // the step does not apply to this library
	Detail  string `json:"detail"`

	QRCode string `json:"qr_code"` // a picture that the server returned, as a data URI
	Text   string `json:"text"`    // the text that its QR code must contain

	IDs []string `json:"ids"` // of the events that the client received

	Secrets []string `json:"secrets"`
}

// run starts a runner and makes a subtest of each step that the runner reports. It also
// passes every step to seen.
func run(t *testing.T, seen func(line), dir string, env []string, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(executable.Environment(), env...)
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps, failed, readErr := readLines(t, stdout, seen)
	switch err := cmd.Wait(); {
	case readErr != nil:
		t.Errorf("read the report: %v", readErr)
	case ctx.Err() != nil:
		t.Errorf("the runner did not end in time: %v", ctx.Err())
	case err != nil && !failed:
		t.Errorf("the runner ended with %v, but no step failed", err)
	case err == nil && failed:
		t.Error("the runner exited without an error, but a step failed")
	case steps == 0:
		t.Error("the runner reported no step")
	}
	if t.Failed() && stderr.Len() > 0 {
		t.Logf("it wrote:\n%s", stderr.Bytes())
	}
}

func readLines(t *testing.T, stdout io.Reader, seen func(line)) (steps int, failed bool, err error) {
	in := bufio.NewScanner(stdout)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			io.Copy(io.Discard, stdout) // the runner can end only if its output is read
			return steps, failed, fmt.Errorf("%w in %q", err, in.Text())
		}
		logcapture.Secret(t, l.Secrets...)
		if l.Step == "" {
			continue
		}
		steps++
		failed = failed || !l.OK
		ok := t.Run(l.Step, func(t *testing.T) { judge(t, l) })
		l.OK = l.OK && ok
		seen(l)
	}
	return steps, failed, in.Err()
}

// judge is the test of one step.
func judge(t *testing.T, l line) {
	switch {
	case l.Skipped:
		t.Skip(l.Detail)
	case !l.OK:
		t.Fatal(l.Detail)
	case l.QRCode != "":
		if got := scan(t, l.QRCode); got != l.Text {
			t.Errorf("the QR code says %q; want %q", got, l.Text)
		}
	}
}

// scan reads the QR code of a PNG image in a data URI with an independent program.
func scan(t *testing.T, dataURI string) string {
	t.Helper()
	zbarimg := testenv.Tool(t, "zbarimg")
	encoded, ok := strings.CutPrefix(dataURI, "data:image/png;base64,")
	if !ok {
		t.Fatalf("not a PNG image in a data URI: %.40q", dataURI)
	}
	image, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qr.png")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), zbarimg,
		"--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", path).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Logf("%s", exit.Stderr)
		}
		t.Fatalf("zbarimg reads no QR code: %v", err)
	}
	return strings.TrimSuffix(string(out), "\n")
}
