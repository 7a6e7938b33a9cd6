package conformance_test

import (
	"bufio"
	"net"
	"net/http"
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

// TestReceivers runs the receivers of docs/webhooks.md. Each accepts the deliveries of a real
// server, and refuses a request that the server did not sign.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		language, tag, source string
		command               func(t *testing.T) *exec.Cmd
	}{
		{"JavaScript", "js", "node/receiver.mjs", nodeExample("receiver.mjs", "workos-newest")},
		{"Python", "python", "receivers/receiver.py", program("python3", "receivers/receiver.py")},
		{"Ruby", "ruby", "receivers/receiver.rb", program("ruby", "receivers/receiver.rb")},
		{"Go", "go", "receivers/go/receiver.go", goReceiver},
		{"Java", "java", "receivers/Receiver.java", program("java", "receivers/Receiver.java")},
	} {
		t.Run(r.language, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(r.source)
			if err != nil {
				t.Fatal(err)
			}
			inDocument(t, "../../docs/webhooks.md", "receiver "+r.language, "```"+r.tag+"\n"+string(source)+"```\n")
			receives(t, r.command(t))
		})
	}
}

// program returns the command that runs a source file with an installed program.
func program(name, source string) func(*testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		return exec.CommandContext(t.Context(), testenv.Tool(t, name), source)
	}
}

// goReceiver builds the receiver first: a signal to 'go run' would not end it.
func goReceiver(t *testing.T) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "receiver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "receivers/go/receiver.go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exec.CommandContext(t.Context(), binary)
}

// receives starts a receiver, and checks which requests it accepts.
func receives(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	s := eventServer{server: start(t)}
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	url := "http://" + address + "/hook"
	var endpoint struct{ ID, Secret string }
	s.ask(t, http.DefaultClient, "POST", "/webhook_endpoints", `{"endpoint_url":"`+url+`","events":["factor.enrolled"]}`, &endpoint)
	logcapture.Secret(t, endpoint.Secret)

	cmd.Env = append(executable.Environment(), "SECRET="+endpoint.Secret, "PORT="+port)
	cmd.Stderr = logcapture.Log(t, t.Name())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := make(chan string, 10)
	go func() {
		for printed := bufio.NewScanner(out); printed.Scan(); {
			lines <- printed.Text()
		}
	}()
	awaitListener(t, address)

	forged, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(`{"event":"factor.enrolled","id":"event_forged"}`))
	if err != nil {
		t.Fatal(err)
	}
	forged.Header.Set("WorkOS-Signature", "t=1648358126432, v1="+strings.Repeat("5", 64))
	forged.Header.Set("webhook-id", "event_forged")
	forged.Header.Set("webhook-timestamp", "1648358126")
	forged.Header.Set("webhook-signature", "v1,"+strings.Repeat("A", 43)+"=")
	answer, err := http.DefaultClient.Do(forged)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a forged delivery was answered with %d; want 401", answer.StatusCode)
	}

	var factor struct{ ID string }
	s.ask(t, http.DefaultClient, "POST", "/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_42"}`, &factor)
	select {
	case line := <-lines:
		if !strings.Contains(line, "factor.enrolled") || !strings.Contains(line, "event_") || strings.Contains(line, "forged") {
			t.Errorf("the receiver printed %q", line)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the receiver accepted no delivery within 30 seconds")
	}
	var attempts struct{ Data []struct{ Outcome string } }
	for deadline := time.Now().Add(10 * time.Second); len(attempts.Data) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no attempt is listed within ten seconds")
		}
		s.ask(t, http.DefaultClient, "GET", "/webhook_endpoints/"+endpoint.ID+"/attempts", "", &attempts)
	}
	if got := attempts.Data[0].Outcome; got != "delivered" {
		t.Errorf("the outcome is %q; want delivered", got)
	}
}

// freeAddress returns an address on which no program listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitListener returns when a program listens on an address.
func awaitListener(t *testing.T, address string) {
	t.Helper()
	for deadline, tick := time.Now().Add(time.Minute), time.Tick(20*time.Millisecond); ; <-tick {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute the receiver does not listen: %v", err)
		}
	}
}
