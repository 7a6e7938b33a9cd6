package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/server"
)

func TestServeNeedsOnlyAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, "--store", storeIn(t, dir))
	p.key = createKey(t, dir, "staging")
	api := p.api()
	enrolled := api.enrollTOTP()
	if !api.verify(api.challenge(enrolled.ID).ID, codeNow(t, enrolled.TOTP.Secret)) {
		t.Error("the right code is not valid")
	}
	api.want(http.StatusOK, "GET", "/readyz", "")
	api.want(http.StatusOK, "GET", "/openapi.yaml", "")
	// serve does not have the pages and routes that dev adds.
	api.want(http.StatusNotFound, "GET", "/dev/inbox", "")
	sms := api.enroll(`{"type":"sms","phone_number":"+16073517112"}`)
	refused := api.want(http.StatusForbidden, "POST", "/auth/factors/"+sms.ID+"/challenge", "")
	if refused.Code != "sms_sandbox_number_not_allowed" {
		t.Errorf("a message that nobody delivers: %s", refused.Code)
	}
}

func TestServeLogsJSON(t *testing.T) {
	t.Parallel()
	p := serveWith(t, nil, "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, t.TempDir()))
	p.apiAs("").want(http.StatusUnauthorized, "GET", "/auth/factors/x", "")
	p.stop()
	var messages []string
	for line := range strings.Lines(p.log.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Level == "" {
			t.Errorf("log line %q (%v)", line, err)
		}
		messages = append(messages, entry.Msg)
	}
	for _, want := range []string{"ready", "request", "shutting down", "stopped"} {
		if !strings.Contains(strings.Join(messages, "\n"), want) {
			t.Errorf("the log says %q; want %q too", messages, want)
		}
	}
	if p.out.String() != "" {
		t.Errorf("serve printed %q on standard output", p.out)
	}
}

// TestPrecedenceOfSettings checks the precedence of flags, environment
// variables and the configuration file.
func TestPrecedenceOfSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "countersign.yaml")
	store := func(name string) string { return "sqlite:" + filepath.Join(dir, name) }
	write(t, file, "addr: 127.0.0.1:0\nstore: "+store("file.db")+"\nchallenge_ttl: 3m\nlog-level: info\n")
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"the file", nil, nil, "file.db"},
		{"a variable before the file", []string{"COUNTERSIGN_STORE=" + store("env.db")}, nil, "env.db"},
		{"a flag before both", []string{"COUNTERSIGN_STORE=" + store("env.db")}, []string{"--store", store("flag.db")}, "flag.db"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// With none of the three, the address would be refused.
			p := serveWith(t, tc.env, append([]string{"serve", "--config", file}, tc.args...)...)
			if log := p.log.String(); !strings.Contains(log, store(tc.want)) {
				t.Errorf("the store is not %s:\n%s", tc.want, log)
			}
			if _, err := os.Stat(filepath.Join(dir, tc.want)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("the address", func(t *testing.T) {
		t.Parallel()
		p := serveWith(t, []string{"COUNTERSIGN_ADDR=[::1]:0", "COUNTERSIGN_STORE=" + store("addr.db")}, "serve", "--config", file)
		if !strings.HasPrefix(p.url, "http://[::1]:") {
			t.Errorf("it serves at %s; want [::1], as the variable says", p.url)
		}
		p.apiAs("").want(http.StatusOK, "GET", "/healthz", "")
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAChallengeExpires(t *testing.T) {
	t.Parallel()
	api := dev(t, t.TempDir(), "--challenge-ttl", "100ms").api()
	made := api.challenge(api.enroll(`{"type":"generic_otp"}`).ID)
	poll(t, "the challenge expires", func() bool {
		got, err := api.send(t.Context(), "POST", verifyPath(made.ID), codeBody(wrong), "")
		return err == nil && got.status == http.StatusUnprocessableEntity && got.Code == "authentication_challenge_expired"
	})
	if why := api.refused(http.StatusUnprocessableEntity, made.ID, made.Code); why != "authentication_challenge_expired" {
		t.Errorf("the right code, too late: %s", why)
	}
}

// TestFewFilesMayBeOpen keeps more connections open than the limit of open files
// allows.
func TestFewFilesMayBeOpen(t *testing.T) {
	t.Parallel()
	const files = 300
	p := launchBy(t, []string{"GOMAXPROCS=2"}, exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files),
		binary, "serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", storeIn(t, t.TempDir())))
	p.awaitServing()
	if log := p.log.String(); !strings.Contains(log, "max_connections=4096 open_files=300") {
		t.Errorf("the log does not say that too few files may be open:\n%s", log)
	}
	for i := range files + 50 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("caller %d was not answered: %v", i, err)
		}
	}
}

func TestTheRateLimit(t *testing.T) {
	t.Parallel()
	const limit = 5
	p := dev(t, t.TempDir(), "--rate-limit", strconv.Itoa(limit))
	api := p.api()
	for range limit {
		api.want(http.StatusNotFound, "GET", "/auth/factors/x", "")
	}
	refused := api.want(http.StatusTooManyRequests, "GET", "/auth/factors/x", "")
	wait, err := strconv.Atoi(refused.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 60/limit {
		t.Errorf("Retry-After: %q; want 1 to %d seconds", refused.header.Get("Retry-After"), 60/limit)
	}
	// Health checks need no API key, and do not delay other requests.
	api.want(http.StatusOK, "GET", "/healthz", "")
	p.apiAs("sk_test_of_somebody_else").want(http.StatusUnauthorized, "GET", "/auth/factors/x", "")
}

func TestTheExpiryOfTOTPChallenges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		setting string
		shown   bool
	}{{"send", true}, {"omit", false}} {
		t.Run(tc.setting, func(t *testing.T) {
			t.Parallel()
			api := dev(t, t.TempDir(), "--totp-challenge-expires-at", tc.setting).api()
			if got := api.challenge(api.enrollTOTP().ID); (got.ExpiresAt != "") != tc.shown || strings.Contains(string(got.body), "expires_at") != tc.shown {
				t.Errorf("a totp challenge is %s", got.body)
			}
			if got := api.challenge(api.enroll(`{"type":"generic_otp"}`).ID); got.ExpiresAt == "" {
				t.Errorf("another challenge is %s; want expires_at", got.body)
			}
		})
	}
}

func TestServeWithACertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := server.MakeCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	// With TLS the server may listen on all interfaces.
	p := serve(t, "--addr", ":0", "--store", storeIn(t, dir), "--tls-cert", cert, "--tls-key", key)
	if !strings.HasPrefix(p.url, "https://localhost:") {
		t.Errorf("url %s", p.url)
	}
	resp, err := trusting(t, readFile(t, cert), true).Get(p.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("readyz = %d over %s", resp.StatusCode, resp.Proto)
	}
	plain, err := http.Get("http" + strings.TrimPrefix(p.url, "https") + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Body.Close()
	if text, err := io.ReadAll(plain.Body); plain.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP on the port of TLS = %d %s (%v)", plain.StatusCode, text, err)
	}
}

func TestPlainHTTPBeyondThisMachineMustBeMeant(t *testing.T) {
	t.Parallel()
	p := serve(t, "--addr", ":0", "--plain-http", "--store", storeIn(t, t.TempDir()))
	p.apiAs("").want(http.StatusOK, "GET", "/readyz", "")
}

// TestAKeysetIsReplacedWithoutAPause rotates the keyset while the server runs.
func TestAKeysetIsReplacedWithoutAPause(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keyset := filepath.Join(dir, "countersign.db.keyset")
	p := serve(t, "--store", storeIn(t, dir), "--totp-window", "2")
	p.key = createKey(t, dir, "staging")
	api := p.api()

	enrolled := []answer{api.enrollTOTP()}
	made := []answer{api.challenge(api.enroll(`{"type":"generic_otp"}`).ID)}
	for _, step := range []string{"add", "promote"} {
		reloads := strings.Count(p.log.String(), "reloaded the keyset")
		succeed(t, "keyset", step, keyset)
		p.signal(syscall.SIGHUP)
		p.await(p.log, `(?s)(reloaded the keyset.*){`+strconv.Itoa(reloads+1)+`}`)
		enrolled = append(enrolled, api.enrollTOTP())
		made = append(made, api.challenge(api.enroll(`{"type":"generic_otp"}`).ID))
	}
	for i, e := range enrolled {
		if !api.verify(api.challenge(e.ID).ID, codeNow(t, e.TOTP.Secret)) {
			t.Errorf("the totp factor of turn %d does not verify", i)
		}
	}
	for i, c := range made {
		if !api.verify(c.ID, c.Code) {
			t.Errorf("the challenge of turn %d does not verify", i)
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	next := serve(t, "--store", storeIn(t, dir))
	for _, e := range enrolled {
		next.apiAs(p.key).want(http.StatusOK, "GET", "/auth/factors/"+e.ID, "")
	}

	// After an invalid keyset the old one stays in use.
	write(t, keyset, "{}")
	next.signal(syscall.SIGHUP)
	next.await(next.log, `the old one stays in use`)
	again := next.apiAs(p.key)
	c := again.challenge(again.enroll(`{"type":"generic_otp"}`).ID)
	if !again.verify(c.ID, c.Code) {
		t.Error("after a reload that went wrong, nothing verifies")
	}
}

// TestServeRefusesTheWrongKeyset removes the keyset of a store, and then replaces it
// with another.
func TestServeRefusesTheWrongKeyset(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir := t.TempDir()
	keyset := filepath.Join(dir, "countersign.db.keyset")
	serve(t, "--store", storeIn(t, dir)).stop()
	if err := os.Rename(keyset, keyset+".away"); err != nil {
		t.Fatal(err)
	}
	refuses(t, "its keyset is gone", "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir))
	if _, err := os.Stat(keyset); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a keyset was made in place of the one that is gone (%v)", err)
	}
	succeed(t, "keyset", "create", keyset)
	refuses(t, "not the one that the store is sealed with", "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir))
	refuses(t, "is not set", "serve", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir), "--keyset", "env:NO_SUCH_KEYSET")
	serve(t, "--store", storeIn(t, dir), "--keyset", "file:"+keyset+".away")
	serve(t, "--store", storeIn(t, dir), "--keyset", "exec:cat "+keyset+".away")
}

// refuses runs the program, which must exit with 1 and print the reason.
func refuses(t *testing.T, why string, args ...string) {
	t.Helper()
	stdout, stderr, code := command(t, args...)
	if code != 1 || stdout != "" || !strings.Contains(stderr, why) {
		t.Errorf("countersign %s: exit code %d, %q, %q; want exit code 1 and %q",
			strings.Join(args, " "), code, stdout, stderr, why)
	}
}

func TestServeRefusesAnAddressInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, "--store", storeIn(t, dir))
	refuses(t, "address already in use", "serve", "--addr", strings.TrimPrefix(p.url, "http://"), "--store", storeIn(t, dir))
	p.apiAs("").want(http.StatusOK, "GET", "/readyz", "")
}

// TestTwoServersOverOneStore checks that two servers share all facts, including
// failures.
func TestTwoServersOverOneStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := serve(t, "--store", storeIn(t, dir)), serve(t, "--store", storeIn(t, dir))
	key := createKey(t, dir, "staging")
	first, second := one.apiAs(key), two.apiAs(key)
	made := first.challenge(first.enroll(`{"type":"generic_otp"}`).ID)
	for i := range attempts - 1 {
		if i%2 == 0 {
			first.verify(made.ID, wrong)
		} else {
			second.verify(made.ID, wrong)
		}
	}
	if !second.verify(made.ID, made.Code) {
		t.Error("the right code is not valid")
	}
	if why := first.refused(http.StatusUnprocessableEntity, made.ID, made.Code); why != "authentication_challenge_previously_verified" {
		t.Errorf("the same code at the other server: %s", why)
	}
}

func TestTheDefaultAddressIsRefusedInTheClear(t *testing.T) {
	t.Parallel()
	refuses(t, "give --domain, or --tls-cert and --tls-key, or --plain-http", "serve", "--store", storeIn(t, t.TempDir()))
}
