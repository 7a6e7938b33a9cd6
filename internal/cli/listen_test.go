package cli_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/cli"
)

// A safeBuffer is the output of a command. It is safe for concurrent use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestListenForwardsSignedEvents has a server that ends the stream after two events.
func TestListenForwardsSignedEvents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const key = "sk_" + "test_0123456789ABCDEF"
	var connections []string
	event := func(n int) string {
		return fmt.Sprintf("id: event_%d\nevent: authentication.mfa_failed\ndata: {\"id\":\"event_%d\"}\n\n", n, n)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections = append(connections, r.URL.String()+" after "+r.Header.Get("Last-Event-ID"))
		if r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("Authorization: %s", r.Header.Get("Authorization"))
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if len(connections) == 1 {
			io.WriteString(w, "retry: 1000\n\n: heartbeat\n\n"+event(1)+event(2)+"id: event_2b\n\n")
			return
		}
		io.WriteString(w, event(3))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	type delivery struct{ body, workos, id, standard string }
	received := make(chan delivery, 10)
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- delivery{string(body), r.Header.Get("WorkOS-Signature"), r.Header.Get("webhook-id"),
			r.Header.Get("webhook-timestamp") + " " + r.Header.Get("webhook-signature")}
		w.WriteHeader(http.StatusTeapot)
	}))
	defer program.Close()

	var out, errOut safeBuffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, []string{"webhooks", "listen", "--url", server.URL + "/base", "--api-key", key, "--forward-to", program.URL + "/hook",
			"--events", "authentication.*"}, &out, &errOut)
	}()
	var got []delivery
	for range 3 {
		select {
		case d := <-received:
			got = append(got, d)
		case <-ctx.Done():
			t.Fatalf("received %v; printed\n%s%s", got, &out, &errOut)
		}
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("the exit code is %d: %s", c, &errOut)
	}
	secret := regexp.MustCompile(`whsec_\S+`).FindString(out.String())
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(raw) != 32 {
		t.Fatalf("the secret is %q", secret)
	}
	sign := func(key, text string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	for i, d := range got {
		if want := fmt.Sprintf(`{"id":"event_%d"}`, i+1); d.body != want || d.id != fmt.Sprintf("event_%d", i+1) {
			t.Errorf("delivery %d is %q with the id %s", i, d.body, d.id)
		}
		at, signature, _ := strings.Cut(strings.TrimPrefix(d.workos, "t="), ", v1=")
		if want := hex.EncodeToString(sign(secret, at+"."+d.body)); signature != want {
			t.Errorf("WorkOS-Signature is %q; want %s", d.workos, want)
		}
		stamp, standard, _ := strings.Cut(d.standard, " ")
		if want := "v1," + base64.StdEncoding.EncodeToString(sign(string(raw), d.id+"."+stamp+"."+d.body)); standard != want {
			t.Errorf("webhook-signature is %q; want %s", standard, want)
		}
	}
	want := "/base/events/stream?events=authentication.mfa_succeeded&events=authentication.mfa_failed after "
	if len(connections) != 2 || connections[0] != want || connections[1] != want+"event_2b" {
		t.Errorf("the connections are %q; want %q, and again after event_2b", connections, want)
	}
	if !strings.Contains(out.String(), "event_2  -> 418 I'm a teapot") || strings.Contains(out.String()+errOut.String(), key) {
		t.Errorf("printed\n%s%s", &out, &errOut)
	}
}

// TestListenTakesTheKeyOfDev has the file that dev writes next to its default store, and the
// one that it writes for a store that is not a file.
func TestListenTakesTheKeyOfDev(t *testing.T) {
	for _, name := range []string{"dev.db.apikey", "dev.apikey"} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			key := "sk_" + "test_" + name
			if err := errors.Join(os.Mkdir(".countersign", 0o700), os.WriteFile(".countersign/"+name, []byte(key+"\n"), 0o600)); err != nil {
				t.Fatal(err)
			}
			got := make(chan string, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r.Header.Get("Authorization")
				w.WriteHeader(http.StatusUnauthorized)
			}))
			defer server.Close()
			var out, errOut safeBuffer
			cli.Run(t.Context(), []string{"webhooks", "listen", "--url", server.URL, "--forward-to", "http://127.0.0.1:1/"}, &out, &errOut)
			select {
			case sent := <-got:
				if sent != "Bearer "+key {
					t.Errorf("Authorization: %s; want the key of the file", sent)
				}
			default:
				t.Errorf("listen called no server: %s", &errOut)
			}
		})
	}
}

func TestListenEndsWhenTheServerRefuses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"message":"Unauthorized"}`)
	}))
	defer server.Close()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--api-key", "x", "--url", server.URL, "--forward-to", "http://127.0.0.1:1/"}, "the server answers 401: Unauthorized"},
		{[]string{"--url", server.URL, "--forward-to", "http://127.0.0.1:1/"}, "give --api-key, or set COUNTERSIGN_API_KEY"},
		{[]string{"--api-key", "x", "--url", "http://example.com", "--forward-to", "http://127.0.0.1:1/"}, "unencrypted to example.com; use https://"},
		{[]string{"--api-key", "x", "--url", "https://ada:secret@example.com", "--forward-to", "http://127.0.0.1:1/"}, "must not contain a name or password"},
		{[]string{"--api-key", "x", "--url", "example.com", "--forward-to", "http://127.0.0.1:1/"}, `--url: "example.com" is not the URL of a server`},
		{[]string{"--api-key", "x", "--forward-to", "3000"}, `--forward-to: "3000" is not a URL`},
		{[]string{"--api-key", "x", "--events", "x", "--forward-to", "http://127.0.0.1:1/"}, `there is no type of event "x"`},
	} {
		var out, errOut safeBuffer
		if code := cli.Run(t.Context(), append([]string{"webhooks", "listen"}, tc.args...), &out, &errOut); code != 1 || !strings.Contains(errOut.String(), tc.want) {
			t.Errorf("%v: exit code %d, %s; want %q", tc.args, code, &errOut, tc.want)
		}
	}
}
