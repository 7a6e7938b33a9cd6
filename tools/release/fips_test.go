package main

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
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTheFIPSVariantVerifiesCodes builds the variant with the certified cryptographic module,
// and takes an authenticator app from its enrollment to a verified code.
func TestTheFIPSVariantVerifiesCodes(t *testing.T) {
	opts := optionsOfTests(repository, t.TempDir())
	binary := filepath.Join(opts.out, program)
	if err := build(t.Context(), opts, platform{"linux", "amd64", true}, binary); err != nil {
		t.Fatal(err)
	}
	recorded := outputLines(t, "go", "version", "-m", binary)
	for _, part := range []string{"GOFIPS140=" + fipsModule, "DefaultGODEBUG=fips140=on"} {
		if !slices.ContainsFunc(recorded, func(line string) bool { return strings.Contains(line, part) }) {
			t.Errorf("the binary was not built with %s", part)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "dev", "--addr", "127.0.0.1:0", "--json")
	cmd.Dir = t.TempDir()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GODEBUG=") })
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program: %v\n%s", err, log.String())
		}
	}()
	var ready struct {
		URL    string `json:"url"`
		APIKey string `json:"api_key"`
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		t.Fatalf("dev --json printed %q: %v", line, err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	call := func(path, body string, result any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, ready.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+ready.APIKey)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusCreated || json.Unmarshal(answer, result) != nil {
			t.Fatalf("POST %s: %s, %v\n%s", path, resp.Status, err, answer)
		}
	}
	var factor struct {
		ID   string
		TOTP struct{ Secret string }
	}
	var challenge struct{ ID string }
	var verification struct{ Valid bool }
	call("/auth/factors/enroll", `{"type":"totp","totp_issuer":"Example","totp_user":"ada"}`, &factor)
	call("/auth/factors/"+factor.ID+"/challenge", "", &challenge)
	code := outputLines(t, "oathtool", "--totp", "--base32", factor.TOTP.Secret)
	call("/auth/challenges/"+challenge.ID+"/verify", fmt.Sprintf(`{"code":%q}`, code[0]), &verification)
	if !verification.Valid {
		t.Error("the code is not valid")
	}
}
