package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// A bridge passes the code of a user to the server, configured as docs/bridges.md shows.
type bridge struct {
	name string
	// set up returns a function that signs in, and reports whether the code was accepted.
	// authority is a file with the certificate to trust, or "" for that of the document.
	setUp func(t *testing.T, p *program, authority string) func(user, code string) bool
}

var bridges = []bridge{{"FreeRADIUS", setUpRADIUS}, {"PAM", setUpPAM}}

// bridgesPage returns the text of docs/bridges.md.
func bridgesPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/bridges.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// shownFile returns the content of a file that docs/bridges.md shows.
func shownFile(t *testing.T, path string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)\n`" + regexp.QuoteMeta(path) + "`[^\n]*:\n\n```[a-z]*\n(.*?)```\n").FindStringSubmatch(bridgesPage(t))
	if m == nil {
		t.Fatalf("docs/bridges.md does not show %s", path)
	}
	return m[1]
}

// adapt replaces words of text, each of which must occur in it.
func adapt(t *testing.T, text string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("docs/bridges.md does not have %q in\n%s", oldNew[i], text)
		}
		text = strings.ReplaceAll(text, oldNew[i], oldNew[i+1])
	}
	return text
}

// createKeyFile runs the commands with which the section of docs/bridges.md creates the file
// of the key, and returns an error if another account can read the file.
func createKeyFile(t *testing.T, section, path string, oldNew ...string) {
	t.Helper()
	page := bridgesPage(t)
	_, after, _ := strings.Cut(page, "\n## "+section+"\n")
	m := regexp.MustCompile("(?s)\n```sh\n(install .*?)```\n").FindStringSubmatch(after)
	if m == nil {
		t.Fatalf("the section %s of docs/bridges.md does not create the file of the key", section)
	}
	if out, err := exec.Command("sh", "-ec", adapt(t, m[1], oldNew...)).CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", m[1], err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file of the key has the mode %o; want 600", mode)
	}
}

// fill writes text into a file, and keeps the mode of a file that exists.
func fill(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

const (
	shownServer    = "https://countersign.example.com"
	shownAuthority = "/etc/ssl/certs/ca-certificates.crt"
	shownKey       = "sk_live_..."
)

func setUpRADIUS(t *testing.T, p *program, authority string) func(user, code string) bool {
	program, err := exec.LookPath("freeradius")
	if err != nil {
		program = testenv.Tool(t, "/usr/sbin/freeradius")
	}
	client := testenv.Tool(t, "radclient")
	const shown = "/etc/freeradius/3.0"
	raddb := t.TempDir()
	port := freeUDPPort(t)
	if authority == "" {
		authority = shownAuthority
	}

	key := filepath.Join(raddb, "countersign.key")
	createKeyFile(t, "FreeRADIUS", key, shown, raddb, " -o freerad -g freerad", "")
	fill(t, key, adapt(t, shownFile(t, shown+"/countersign.key"), shownKey, p.key), 0)
	fill(t, filepath.Join(raddb, "mods-enabled/countersign"), adapt(t, shownFile(t, shown+"/mods-enabled/countersign"),
		shownServer, p.url, shownAuthority, authority), 0o600)
	fill(t, filepath.Join(raddb, "sites-enabled/countersign"), adapt(t, shownFile(t, shown+"/sites-enabled/countersign"),
		"ipaddr = *", "ipaddr = 127.0.0.1", "port = 1812", fmt.Sprint("port = ", port), "192.0.2.10", "127.0.0.1"), 0o600)
	secret := filepath.Join(raddb, "secret")
	fill(t, secret, "a long random text", 0o600)
	// The rest of the configuration, which Debian's package has in the same places.
	fill(t, filepath.Join(raddb, "dictionary"), "", 0o600)
	fill(t, filepath.Join(raddb, "radiusd.conf"), fmt.Sprintf(`
confdir = %[1]s
raddbdir = %[1]s
logdir = %[1]s
run_dir = %[1]s
libdir = /usr/lib/freeradius
log {
	destination = stdout
}
modules {
	always ok {
		rcode = ok
	}
	always reject {
		rcode = reject
	}
	$INCLUDE mods-enabled/
}
$INCLUDE sites-enabled/
`, raddb), 0o600)

	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-f", "-X", "-d", raddb)
	out := newOutput(bytes.NewBuffer(nil)) // has codes, so it is not one of the logs to search
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cmd.Wait()
		if t.Failed() {
			t.Logf("freeradius:\n%s", out.tail())
		}
	})
	poll(t, "FreeRADIUS is ready", func() bool { return strings.Contains(out.String(), "Ready to process requests") })

	return func(user, code string) bool {
		t.Helper()
		quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
		cmd := exec.CommandContext(t.Context(), client, "-x", "-r", "1", "-t", "15", "-S", secret, fmt.Sprint("127.0.0.1:", port), "auth")
		cmd.Stdin = strings.NewReader(fmt.Sprintf("User-Name = \"%s\"\nUser-Password = \"%s\"\nMessage-Authenticator = 0x00\n", quote(user), quote(code)))
		answer, err := cmd.CombinedOutput()
		switch accepted := bytes.Contains(answer, []byte("Received Access-Accept")); {
		case accepted == (err == nil) && accepted != bytes.Contains(answer, []byte("Received Access-Reject")):
			return accepted
		default:
			t.Fatalf("radclient: %v\n%s", err, answer)
			return false
		}
	}
}

// freeUDPPort returns a port that was free a moment ago.
func freeUDPPort(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

// setUpPAM shows pamtester a directory of the test as /etc/pam.d, in a separate mount namespace.
func setUpPAM(t *testing.T, p *program, authority string) func(user, code string) bool {
	tester := testenv.Tool(t, "pamtester")
	unshare := testenv.Tool(t, "unshare")
	testenv.Tool(t, "curl")
	dir := t.TempDir()
	if authority == "" {
		authority = shownAuthority
	}

	const shownDir, shownProgram = "/etc/countersign", "/usr/local/sbin/countersign-pam"
	key, program, services := filepath.Join(dir, "etc/pam.curl"), filepath.Join(dir, "countersign-pam"), filepath.Join(dir, "pam.d")
	createKeyFile(t, "PAM", key, shownDir, filepath.Dir(key))
	fill(t, key, adapt(t, shownFile(t, shownDir+"/pam.curl"), shownKey, p.key, shownAuthority, authority), 0)
	fill(t, program, adapt(t, shownFile(t, shownProgram), shownServer, p.url, shownDir+"/pam.curl", key), 0o755)
	fill(t, filepath.Join(services, "countersign"), adapt(t, shownFile(t, "/etc/pam.d/countersign"), shownProgram, program), 0o644)

	namespace := []string{"--mount"}
	if os.Getuid() != 0 {
		namespace = append(namespace, "--map-root-user")
	}
	if out, err := exec.Command(unshare, append(namespace, "true")...).CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Errorf("unshare %s: %w: %s", namespace, err, out))
	}
	return func(user, code string) bool {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), unshare, append(namespace, "sh", "-ec",
			`mount --bind "$1" /etc/pam.d; exec "$2" countersign "$3" authenticate`, "sh", services, tester, user)...)
		cmd.Stdin = strings.NewReader(code + "\n")
		answer, err := cmd.CombinedOutput()
		// pam_exec returns PAM_SYSTEM_ERR if its program ends with another status than 0.
		switch accepted := bytes.Contains(answer, []byte("successfully authenticated")); {
		case accepted == (err == nil) && accepted != bytes.Contains(answer, []byte("pamtester: System error")):
			return accepted
		default:
			t.Fatalf("pamtester: %v\n%s", err, answer)
			return false
		}
	}
}

// userWithApp enrolls an authenticator app of a user, and returns a function with its current code.
func userWithApp(t *testing.T, a *api, user string) (code func() string) {
	t.Helper()
	e := a.enroll(fmt.Sprintf(`{"type":"totp","user_id":%q}`, user))
	return func() string { return codeNow(t, e.TOTP.Secret) }
}

// bypassCode issues a bypass code to a user.
func bypassCode(t *testing.T, dir, user string) string {
	t.Helper()
	code := succeed(t, "bypass", "create", user, "--env", "sandbox", "--reason", "lost phone", "--store", storeIn(t, dir))
	logcapture.Secret(t, code)
	return code
}

func TestBridges(t *testing.T) {
	t.Parallel()
	binary, err := releasedBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bridges {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := devBy(t, binary, dir, "--tls", "--user-failures", "3")
			authority := filepath.Join(t.TempDir(), "authority.pem")
			fill(t, authority, string(p.cert), 0o600)
			api := p.api()
			signIn := b.setUp(t, p, authority)
			want := func(accepted bool, what, user, code string) {
				t.Helper()
				if got := signIn(user, code); got != accepted {
					t.Errorf("%s: accepted = %t; want %t", what, got, accepted)
				}
			}

			ada := userWithApp(t, api, "ada")
			code := ada()
			want(true, "the code of the app", "ada", code)
			want(false, "the same code again", "ada", code)
			set := api.want(http.StatusCreated, "POST", "/user_management/users/ada/recovery_codes", "")
			recovery := regexp.MustCompile(`"codes":\["([^"]+)"`).FindSubmatch(set.body)
			if recovery == nil {
				t.Fatalf("recovery codes: %s", set.body)
			}
			logcapture.Secret(t, string(recovery[1]))
			want(true, "a recovery code", "ada", string(recovery[1]))
			want(false, "the same recovery code again", "ada", string(recovery[1]))
			bypass := bypassCode(t, dir, "ada")
			want(true, "a bypass code", "ada", bypass)
			want(false, "the same bypass code again", "ada", bypass)

			userWithApp(t, api, "bob")
			want(false, "a wrong code", "bob", "000000x")
			want(false, "no code", "bob", "")

			carl := userWithApp(t, api, "carl")
			for range 3 { // not even sent, or the user would be locked
				want(false, "a code with keys of JSON", "carl", carl()+`","ip_address":"192.0.2.1`)
			}
			want(false, "a user that is a path", "x/../carl", carl())
			want(false, "an unknown user", "zoe", carl())
			want(true, "the code after these", "carl", carl())

			dora := userWithApp(t, api, "dora")
			for range 3 {
				want(false, "a wrong code", "dora", wrong+"x")
			}
			want(false, "the right code of a locked user", "dora", dora())

			eve := userWithApp(t, api, "eve")
			untrusting := b.setUp(t, p, "")
			if untrusting("eve", eve()) {
				t.Error("a code was accepted from a server whose certificate is not trusted")
			}
			if p.stop() != 0 {
				t.Fatal("the server did not stop")
			}
			want(false, "a server that is down", "eve", eve())
			again := devBy(t, binary, dir, "--tls", "--user-failures", "3", "--addr", strings.TrimPrefix(p.url, "https://"))
			if again.url != p.url {
				t.Fatalf("the server is at %s; want %s", again.url, p.url)
			}
			want(true, "the server is up again", "eve", eve())

			other := *again
			other.key = "sk_test_unknown"
			fay := userWithApp(t, again.api(), "fay")
			if b.setUp(t, &other, authority)("fay", fay()) {
				t.Error("a code was accepted with an unknown API key")
			}
			want(true, "the same user with the right key", "fay", fay())
		})
	}
}
