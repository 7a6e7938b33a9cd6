package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/test/executable"
)

// patience is the time that a test waits for an event that should come soon.
const patience = 20 * time.Second

// A program is one running process of countersign.
type program struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *output       // standard output
	log    *output       // standard error
	exited chan struct{} // closed when the process has ended
	code   int           // how it ended; -1 if killed
	url    string        // where it serves
	key    string        // dev: the API key that it printed
	cert   []byte        // dev --tls: the certificate to trust, in PEM
	began  time.Time
	ready  time.Duration // from its begin until it was
}

// launch starts the program with args. At the end of the test it stops the program,
// which must exit with 0.
func launch(t testing.TB, env []string, args ...string) *program {
	t.Helper()
	return launchBy(t, env, exec.Command(binary, args...))
}

// launchBy is launch with a command that becomes the program.
func launchBy(t testing.TB, env []string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{
		t:      t,
		cmd:    cmd,
		out:    newOutput(io.Discard),
		log:    newOutput(logcapture.Log(t, t.Name())),
		exited: make(chan struct{}),
		began:  time.Now(),
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	// By default the race detector delays the exit of the program by a second.
	p.cmd.Env = append(executable.Environment(), "GORACE=atexit_sleep_ms=0")
	if dir := directoryOf(cmd.Args); dir != "" {
		p.cmd.Dir = dir
		p.cmd.Env = append(p.cmd.Env, "COUNTERSIGN_KEYSET=file:"+filepath.Join(dir, "countersign.db.keyset"))
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() {
		if p.isRunning() {
			if code := p.stop(); code != 0 {
				t.Errorf("the program ended with exit code %d:\n%s", code, p.log.tail())
			}
		}
		if log := p.log.String(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic: ") {
			t.Errorf("the program has a fault:\n%s", p.log.tail())
		}
	})
	return p
}

// dev starts 'countersign dev --json' over a database in dir and waits until it
// is ready.
func dev(t testing.TB, dir string, flags ...string) *program {
	t.Helper()
	return devBy(t, binary, dir, flags...)
}

// devBy is dev with a program that was built in another way.
func devBy(t testing.TB, binary, dir string, flags ...string) *program {
	t.Helper()
	args := []string{"dev", "--json", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir)}
	p := launchBy(t, nil, exec.Command(binary, append(args, flags...)...))
	var ready struct {
		URL    string
		APIKey string `json:"api_key"`
	}
	line := p.await(p.out, `(?m)^(.+)\n`)[1]
	err := json.Unmarshal([]byte(line), &ready)
	if err != nil || ready.URL == "" || ready.APIKey == "" {
		t.Fatalf("dev --json printed %q (%v); want its url and api_key", line, err)
	}
	logcapture.Secret(t, ready.APIKey)
	p.url, p.key, p.ready = ready.URL, ready.APIKey, time.Since(p.began)
	if strings.HasPrefix(p.url, "https:") {
		p.cert = certificateIn(t, dir)
	}
	return p
}

// serve starts 'countersign serve' and waits until it is ready. It uses a free port
// unless flags name an address.
func serve(t testing.TB, flags ...string) *program {
	t.Helper()
	// The log is text, because a duration in JSON is a number that may look like a
	// code.
	args := []string{"serve", "--addr", "127.0.0.1:0", "--log-format", "text"}
	return serveWith(t, nil, append(args, flags...)...)
}

func serveWith(t testing.TB, env []string, args ...string) *program {
	t.Helper()
	p := launch(t, env, args...)
	p.awaitServing()
	return p
}

// awaitServing waits until serve is ready.
func (p *program) awaitServing() {
	p.t.Helper()
	p.url = p.await(p.log, `msg"?[=:]"?ready"?[ ,]"?url"?[=:]"?([^" ]+)`)[1]
	p.ready = time.Since(p.began)
}

// await waits until pattern matches the output of the program, and returns the match
// and its parts.
func (p *program) await(from *output, pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		text, changed := from.look()
		if m := re.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-p.exited:
			if m := re.FindStringSubmatch(from.String()); m != nil {
				return m
			}
			p.t.Fatalf("the program ended with exit code %d before it wrote %q:\n%s", p.code, pattern, p.log.tail())
		case <-ctx.Done():
			p.t.Fatalf("the program did not write %q in %v:\n%s", pattern, patience, p.log.tail())
		}
	}
}

func (p *program) isRunning() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("send %v: %v", s, err)
	}
}

// stop asks the program to end, and returns its exit code.
func (p *program) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.wait()
}

// kill ends the program at once, like a loss of power.
func (p *program) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// wait waits for the program's end, and returns its exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience + 20*time.Second):
		p.cmd.Process.Kill()
		<-p.exited
		p.t.Errorf("the program did not end:\n%s", p.log.tail())
	}
	return p.code
}

// api returns a caller with the program's key.
func (p *program) api() *api { return p.apiAs(p.key) }

func (p *program) apiAs(key string) *api {
	a := newAPI(p.t, p.url, key)
	if p.cert != nil {
		a.client = trusting(p.t, p.cert, true)
	}
	return a
}

// command runs the program to its end and returns its output.
func command(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	p := launch(t, nil, args...)
	p.wait()
	return p.out.String(), p.log.String(), p.code
}

// succeed runs the program to its end and returns its standard output without the
// last newline. The exit code must be 0.
func succeed(t testing.TB, args ...string) string {
	t.Helper()
	stdout, stderr, code := command(t, args...)
	if code != 0 {
		t.Fatalf("countersign %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return strings.TrimSuffix(stdout, "\n")
}

// createKey returns a new API key of an environment in the store of dir.
func createKey(t testing.TB, dir, environment string) string {
	t.Helper()
	key := succeed(t, "key", "create", "--env", environment, "--store", storeIn(t, dir))
	logcapture.Secret(t, key)
	return key
}

// An output keeps all written bytes, and forwards them.
type output struct {
	also io.Writer

	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed at the next write
}

func newOutput(also io.Writer) *output {
	return &output{also: also, changed: make(chan struct{})}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	close(o.changed)
	o.changed = make(chan struct{})
	return o.also.Write(b)
}

// look returns the text so far, and a channel that is closed at the next write.
func (o *output) look() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text), o.changed
}

func (o *output) String() string {
	text, _ := o.look()
	return text
}

// tail returns the end of the text, for the message of a failed test.
func (o *output) tail() string {
	text := o.String()
	return text[max(0, len(text)-4000):]
}
