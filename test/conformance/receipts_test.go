package conformance_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

const receiptIssuer = "https://mfa.example.com/environments/production"

// A verifier is a program that checks a receipt. It reads a line of JSON and prints "accepted"
// or "refused: …".
type verifier struct {
	name    string
	command func(t *testing.T) *exec.Cmd
}

var verifiers = []verifier{
	{"go-jose", func(t *testing.T) *exec.Cmd {
		dir := t.TempDir()
		testenv.Tool(t, "go")
		sums, err := os.ReadFile("../../go.sum")
		if err != nil {
			t.Fatal(err)
		}
		const library = "github.com/go-jose/go-jose/v4"
		version := ""
		for line := range strings.Lines(string(sums)) {
			if name, rest, _ := strings.Cut(line, " "); name == library && !strings.Contains(rest, "/go.mod") {
				version, _, _ = strings.Cut(rest, " ")
			}
		}
		put(t, dir, "main.go", []byte(fromPage(t, "go")))
		put(t, dir, "go.sum", sums)
		put(t, dir, "go.mod", fmt.Appendf(nil, "module receipts\n\ngo 1.26\n\nrequire %s %s\n", library, version))
		program := filepath.Join(dir, "receipts")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
		build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("the Go program of the page does not compile: %v\n%s", err, out)
		}
		return exec.CommandContext(t.Context(), program)
	}},
	{"jose", func(t *testing.T) *exec.Cmd {
		node := testenv.Tool(t, "node")
		installed(t, "node", "node_modules/jose")
		dir := t.TempDir()
		put(t, dir, "verify.mjs", []byte(fromPage(t, "js")))
		modules, err := filepath.Abs("node/node_modules")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), node, filepath.Join(dir, "verify.mjs"))
	}},
	{"PyJWT", func(t *testing.T) *exec.Cmd {
		python := testenv.Tool(t, "python3")
		installed(t, "python", "libraries/10.8.0/jwt")
		libraries, err := filepath.Abs("python/libraries/10.8.0")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		put(t, dir, "verify.py", []byte(fromPage(t, "python")))
		cmd := exec.CommandContext(t.Context(), python, filepath.Join(dir, "verify.py"))
		cmd.Env = []string{"PYTHONPATH=" + libraries}
		return cmd
	}},
	{"nimbus-jose-jwt", func(t *testing.T) *exec.Cmd {
		java, classes := javaPrograms(t)
		return exec.CommandContext(t.Context(), java, "-cp", classes, "Receipt")
	}},
}

// fromPage returns the program in a language that docs/receipts.md shows.
func fromPage(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n```"+language+"\n")
	program, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("docs/receipts.md has no program in %s", language)
	}
	return program + "\n"
}

func put(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// check runs a verifier with the keys at url.
func (v verifier) check(t *testing.T, cmd *exec.Cmd, url, issuer string, input map[string]string) string {
	t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), cmd.Path, cmd.Args[1:]...)
	run.Env = append(executable.Environment(), append(cmd.Env, "COUNTERSIGN_URL="+url, "RECEIPT_ISSUER="+issuer)...)
	run.Stdin = bytes.NewReader(append(text, '\n'))
	out, err := run.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", v.name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// A forgery is a receipt, or a text that looks like one.
type forgery struct {
	name     string
	receipt  string
	change   func(map[string]string) // of the expected values; may be nil
	accepted bool
}

// TestReceiptsWithIndependentLibraries checks good and bad receipts with the programs of
// docs/receipts.md and with a library for Java.
func TestReceiptsWithIndependentLibraries(t *testing.T) {
	t.Parallel()
	old, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	retired, err := promoted.Retire()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	var keys atomic.Pointer[secret.Keyset]
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set, err := receipt.Keys(keys.Load())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(set)
	}))
	t.Cleanup(jwks.Close)

	hash := strings.Repeat("0a", 32)
	request := receipt.Request{Audience: "https://pay.example.com", Nonce: "n-1", FirstFactor: "pwd", ExpiresIn: 3600, Action: receipt.Action{Title: "Pay 10 €", SHA256: hash}}
	claims := receipt.Claims{
		Issuer: receiptIssuer, Subject: "user_42", ID: "auth_challenge_1", At: time.Now(), Methods: []string{"otp"}, FactorID: "auth_factor_1", FactorType: "totp",
	}
	sign := func(k *secret.Keyset, change func(*receipt.Request, *receipt.Claims)) string {
		r, c := request, claims
		if change != nil {
			change(&r, &c)
		}
		text, err := receipt.Sign(k.Signer(), &r, c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(old, nil)
	forgeries := []forgery{
		{"good, of the old key", good, nil, true},
		{"good, of the new key", sign(promoted, nil), nil, true},
		{"of another installation", sign(stranger, nil), nil, false},
		{"of another environment", sign(old, func(_ *receipt.Request, c *receipt.Claims) { c.Issuer = "https://mfa.example.com/environments/sandbox" }), nil, false},
		{"for another audience", sign(old, func(r *receipt.Request, _ *receipt.Claims) { r.Audience = "https://other.example.com" }), nil, false},
		{"expired", sign(old, func(_ *receipt.Request, c *receipt.Claims) { c.At = c.At.Add(-61 * time.Minute) }), nil, false},
		{"for another nonce", good, func(e map[string]string) { e["nonce"] = "n-2" }, false},
		{"for another user", good, func(e map[string]string) { e["user"] = "user_43" }, false},
		{"without a user", sign(old, func(_ *receipt.Request, c *receipt.Claims) { c.Subject = "" }), func(e map[string]string) { e["user"] = "" }, false},
		{"for another action", good, func(e map[string]string) { e["sha256"] = strings.Repeat("0b", 32) }, false},
		{"for no action", sign(old, func(r *receipt.Request, _ *receipt.Claims) { r.Action = receipt.Action{} }), nil, false},
		{"of a bypass code", sign(old, func(_ *receipt.Request, c *receipt.Claims) { c.Recovery = true }), nil, false},
		{"with another payload", changed(t, good, nil, map[string]any{"sub": "admin"}), func(e map[string]string) { e["user"] = "admin" }, false},
		{"of another type", resigned(t, old, good, map[string]any{"typ": "JWT"}), nil, false},
		{"with the algorithm none", unsigned(t, good), nil, false},
		{"with HS256 and the public key", confused(t, old, good), nil, false},
		{"no receipt", "x", nil, false},
	}
	for _, v := range verifiers {
		t.Run(v.name, func(t *testing.T) {
			cmd := v.command(t)
			try := func(name string, f forgery, accepted bool) {
				t.Helper()
				input := map[string]string{"receipt": f.receipt, "user": "user_42", "nonce": "n-1", "sha256": hash}
				if f.change != nil {
					f.change(input)
				}
				got := v.check(t, cmd, jwks.URL, receiptIssuer, input)
				if accepted && got != "accepted" || !accepted && !strings.HasPrefix(got, "refused: ") {
					t.Errorf("%s: it said %q; want accepted: %v", name, got, accepted)
				}
			}
			keys.Store(promoted)
			for _, f := range forgeries {
				try(f.name, f, f.accepted)
			}
			keys.Store(retired)
			try("of the old key, after the end of the rotation", forgeries[0], false)
			try("of the new key, after the end of the rotation", forgeries[1], true)
		})
	}
}

// segments splits a receipt into its decoded header and payload, and its signature.
func segments(t *testing.T, text string) (header, payload map[string]any, signature string) {
	t.Helper()
	parts := strings.Split(text, ".")
	for i, to := range []*map[string]any{&header, &payload} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(b, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, payload, parts[2]
}

func encoded(t *testing.T, header, payload map[string]any) string {
	t.Helper()
	var parts []string
	for _, m := range []map[string]any{header, payload} {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(b))
	}
	return strings.Join(parts, ".")
}

// changed returns a receipt with other values under the same signature.
func changed(t *testing.T, text string, header, payload map[string]any) string {
	t.Helper()
	h, p, signature := segments(t, text)
	for name, value := range header {
		h[name] = value
	}
	for name, value := range payload {
		p[name] = value
	}
	return encoded(t, h, p) + "." + signature
}

// resigned returns a receipt with another header, and a right signature.
func resigned(t *testing.T, k *secret.Keyset, text string, header map[string]any) string {
	t.Helper()
	text = changed(t, text, header, nil)
	text = text[:strings.LastIndexByte(text, '.')]
	signature, err := k.Signer().Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature[:])
}

func unsigned(t *testing.T, text string) string {
	t.Helper()
	text = changed(t, text, map[string]any{"alg": "none"}, nil)
	return text[:strings.LastIndexByte(text, '.')+1]
}

// confused returns a receipt with an HMAC whose key is the public key, in the form in which the
// keys are served.
func confused(t *testing.T, k *secret.Keyset, text string) string {
	t.Helper()
	text = changed(t, text, map[string]any{"alg": "HS256"}, nil)
	text = text[:strings.LastIndexByte(text, '.')]
	key := k.PublicKeys()[0]
	mac := hmac.New(sha256.New, append(append([]byte{4}, key.X[:]...), key.Y[:]...))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestReceiptsOfAServer checks a receipt with the keys of the server that has signed it.
func TestReceiptsOfAServer(t *testing.T) {
	t.Parallel()
	s := start(t)
	post := func(path, body string, reply any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.APIKey)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(reply); err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("POST %s: %d, %v", path, resp.StatusCode, err)
		}
	}
	var factor, challenge struct{ ID, Code string }
	var verification struct{ Receipt string }
	post("/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_42"}`, &factor)
	hash := strings.Repeat("0a", 32)
	post("/auth/factors/"+factor.ID+"/challenge",
		`{"receipt":{"aud":"https://pay.example.com","nonce":"n-1","action":{"title":"Pay","sha256":"`+hash+`"}}}`, &challenge)
	post("/auth/challenges/"+challenge.ID+"/verify", `{"code":"`+challenge.Code+`"}`, &verification)
	_, claims, _ := segments(t, verification.Receipt)
	issuer, _ := claims["iss"].(string)
	if !strings.HasPrefix(issuer, s.URL+"/environments/") {
		t.Errorf("the issuer is %q; want one below %s", issuer, s.URL)
	}
	for _, v := range verifiers {
		t.Run(v.name, func(t *testing.T) {
			input := map[string]string{"receipt": verification.Receipt, "user": "user_42", "nonce": "n-1", "sha256": hash}
			if got := v.check(t, v.command(t), s.URL, issuer, input); got != "accepted" {
				t.Errorf("it said %q", got)
			}
		})
	}
}
