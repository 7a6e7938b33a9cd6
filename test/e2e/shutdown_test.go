package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAShutdownLosesNothing ends the server under load. Requests that have begun are
// answered, and unanswered requests have no effect.
func TestAShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	const customers = 16
	dir := t.TempDir()
	p := dev(t, dir, unlocking...)
	all := newCrowd(t, customers)
	all.moveTo(p.api())
	all.liveUntil(t.Context(), 500, func() {
		asked := time.Now()
		if code := p.stop(); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.log.tail())
		}
		t.Logf("under load it stopped within %v", time.Since(asked))
	})
	if torn := all.count(func(c *customer) int { return c.torn }); torn > 0 {
		t.Errorf("%d answers began and did not end", torn)
	}

	p = dev(t, dir, unlocking...)
	all.moveTo(p.api())
	for _, c := range all {
		if op := c.unanswered; op != nil {
			c.unanswered = nil
			got, err := c.api.send(t.Context(), op.method, op.path, op.body, op.key)
			if err != nil || got.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s got no answer, but was carried out (%v)", op.path, err)
			}
			if err := op.learn(got); err != nil {
				t.Errorf("%s: %v", op.path, err)
			}
		}
		for _, f := range c.factors {
			if f.deleted == maybe {
				f.deleted = no // a DELETE without an answer was not carried out
			}
			for _, ch := range f.challenges {
				ch.lost = 0
				if ch.verified == maybe {
					ch.verified = no
				}
			}
		}
	}
	all.audit(t.Context())
}

// dial opens a bare connection, on which a test can send a part of a request.
func dial(t *testing.T, p *program) net.Conn {
	t.Helper()
	_, address, _ := strings.Cut(p.url, "://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

// reply reads an answer from a bare connection.
func reply(t *testing.T, conn net.Conn) (status int, body string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// enrollHead returns the head of an enrollment request, with additional headers.
func enrollHead(p *program, length int, more string) string {
	return fmt.Sprintf("POST /auth/factors/enroll HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n%s\r\n",
		p.key, length, more)
}

// inFlight begins an enrollment and returns when the server asks for its body.
func inFlight(t *testing.T, p *program, length int) net.Conn {
	t.Helper()
	conn := dial(t, p)
	say(t, conn, enrollHead(p, length, "Expect: 100-continue\r\n"))
	if status, body := reply(t, conn); status != http.StatusContinue {
		t.Fatalf("an enrollment is answered %d %s before its body; want 100", status, body)
	}
	return conn
}

func TestARequestInFlightFinishes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir)
	const body = `{"type":"generic_otp"}`
	idle, slow := dial(t, p), inFlight(t, p, len(body))
	say(t, slow, body[:10])

	p.signal(syscall.SIGTERM)
	p.await(p.log, `shutting down`)
	poll(t, "the server takes no more connections", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	// A connection that was open gets a moment for its request, and then ends.
	io.WriteString(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") // an error means that it is closed already
	if text, err := io.ReadAll(idle); len(text) > 0 && !bytes.Contains(text, []byte("\r\nConnection: close\r\n")) {
		t.Errorf("a request after the end of the listener is answered %q (%v); want that the connection ends", text, err)
	}
	say(t, slow, body[10:])
	status, text := reply(t, slow)
	if status != http.StatusCreated {
		t.Errorf("the request in flight was answered %d %s; want 201", status, text)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	_, id, _ := strings.Cut(text, `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	dev(t, dir).api().want(http.StatusOK, "GET", "/auth/factors/"+id, "")
}

func TestAShutdownWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	p := dev(t, t.TempDir(), "--shutdown-timeout", "100ms")
	say(t, inFlight(t, p, 100), "{")
	asked := time.Now()
	code := p.stop()
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if code != 1 || !strings.Contains(p.log.String(), "still in progress after 100ms") {
		t.Errorf("exit code %d; want 1, and why:\n%s", code, p.log.tail())
	}
}

func TestAnIdleServerStopsAtOnce(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := dev(t, t.TempDir())
		p.api().want(http.StatusOK, "GET", "/healthz", "") // and keep the connection
		asked := time.Now()
		p.signal(s)
		if code := p.wait(); code != 0 {
			t.Errorf("exit code after %v is %d", s, code)
		}
		t.Logf("ready within %v, stopped within %v of %v", p.ready, time.Since(asked), s)
	}
}

// TestASecondCtrlCDoesNotWait checks that a second Ctrl-C ends the program although
// a request is stuck.
func TestASecondCtrlCDoesNotWait(t *testing.T) {
	t.Parallel()
	p := dev(t, t.TempDir())
	say(t, inFlight(t, p, 100), "{")
	p.signal(syscall.SIGINT)
	p.await(p.log, `shutting down`)
	again := time.NewTicker(100 * time.Millisecond) // people press it more than once
	defer again.Stop()
	for deadline := time.After(5 * time.Second); p.isRunning(); {
		select {
		case <-again.C:
			p.cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		case <-p.exited:
		case <-deadline:
			p.kill()
			t.Error("it goes on waiting")
		}
	}
}
