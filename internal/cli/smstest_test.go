package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/cli"
)

// TestSendTestMessage sends test messages through a gateway on this machine.
func TestSendTestMessage(t *testing.T) {
	var posted []map[string]any
	refuse := ""
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("the gateway was posted %q", body)
		}
		posted = append(posted, m)
		if refuse != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"refused":true,"reason":%q}`, refuse)
			return
		}
		fmt.Fprint(w, `{"id":"SM4711"}`)
	}))
	defer gateway.Close()
	dir := t.TempDir()
	file, store := filepath.Join(dir, "sms.yaml"), "sqlite:"+filepath.Join(dir, "s.db")
	// The name is that of a service whose codes have a meaning.
	text := "providers: [{ name: twilio-test, type: webhook, url: " + gateway.URL + ", secret: " + strings.Repeat("secret ", 8) + "}]\ncountries: [US]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) (out, stderr string) {
		t.Helper()
		var o, e strings.Builder
		if code := cli.Run(context.Background(), args, &o, &e); code != want {
			t.Fatalf("countersign %s = %d; want %d\n%s%s", strings.Join(args, " "), code, want, &o, &e)
		}
		return o.String(), e.String()
	}
	send := func(want int, number string, args ...string) (out, stderr string) {
		t.Helper()
		return run(want, append([]string{"sms", "send-test", number, "--sms", file, "--as", "ada", "--reason", "ticket-4711", "--store", store}, args...)...)
	}
	run(0, "environment", "create", "staging", "--store", store)
	run(0, "keyset", "create", filepath.Join(dir, "s.db.keyset"))

	if _, stderr := send(1, "+16073517112"); !strings.Contains(stderr, "there is no production environment") {
		t.Errorf("without a production environment: %s", stderr)
	}
	if _, stderr := send(1, "+16073517112", "--env", "staging"); !strings.Contains(stderr, "staging is a sandbox") {
		t.Errorf("in a sandbox: %s", stderr)
	}
	run(0, "environment", "create", "production", "--production", "--store", store)
	out, _ := send(0, "+16073517112")
	if out != "accepted by twilio-test: 1 segment to US in production\nthe provider's id: SM4711\n" {
		t.Errorf("send-test prints %q", out)
	}
	if len(posted) != 1 || posted[0]["to"] != "+16073517112" || posted[0]["text"] != "Countersign test message" {
		t.Errorf("the gateway was posted %v", posted)
	}
	if out, _ = run(0, "events", "list", "--env", "production", "--type", "message.test_sent", "--store", store); !strings.Contains(out, "operator:ada") || !strings.Contains(out, "ticket-4711") {
		t.Errorf("events list prints\n%s", out)
	}

	if _, stderr := send(1, "+16073517112"); !strings.Contains(stderr, "too many messages to this phone number; try again in") {
		t.Errorf("a second message at once: %s", stderr)
	}
	if _, stderr := send(1, "+33612345678"); !strings.Contains(stderr, "no messages go to this country; add it to 'countries'") {
		t.Errorf("to another country: %s", stderr)
	}
	if _, stderr := send(1, "33612345678"); !strings.Contains(stderr, "the number has no +") {
		t.Errorf("without a plus sign: %s", stderr)
	}
	if _, stderr := send(1, "tel"); !strings.Contains(stderr, "write it with + and the code of the country") {
		t.Errorf("not a number: %s", stderr)
	}
	refuse = "21610"
	out, stderr := send(1, "+16073517113", "--json")
	if !strings.Contains(stderr, "(21610: the phone opted out with STOP)") || strings.Contains(stderr, "6073517113") {
		t.Errorf("a refused number: %s", stderr)
	}
	var answer struct {
		Outcome, Provider, Error string
		Segments                 int
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Outcome != "recipient_refused" || answer.Provider != "" || answer.Segments != 1 || !strings.Contains(answer.Error, "21610") {
		t.Errorf("the JSON is %s, %v", out, err)
	}
	if len(posted) != 2 {
		t.Errorf("the gateway got %d messages; want 2", len(posted))
	}
}
