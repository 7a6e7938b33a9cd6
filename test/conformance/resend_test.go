package conformance_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/test/executable"
)

// TestResendExamples runs the program of docs/clients.md for the routes that no library
// has a method for, with each version of the library.
func TestResendExamples(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("node/resend.mjs")
	if err != nil {
		t.Fatal(err)
	}
	inPage(t, "example JavaScript, send again", "```js\n"+string(source)+"```\n")
	const phone = "+16073517115"
	logcapture.Secret(t, phone)
	for _, library := range []string{"workos-oldest", "workos-7", "workos-8", "workos-10", "workos-newest"} {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			s := start(t, "--sms-spacing", "1ms")
			factor := s.post(t, "/auth/factors/enroll", `{"type":"sms","phone_number":"`+phone+`"}`)
			challenge := s.post(t, "/auth/factors/"+factor+"/challenge", "{}")
			cmd := nodeExample("resend.mjs", library)(t)
			cmd.Args = append(cmd.Args, challenge)
			cmd.Env = append(executable.Environment(), "COUNTERSIGN_URL="+s.URL, "COUNTERSIGN_API_KEY="+s.APIKey)
			out, err := cmd.CombinedOutput()
			if want := "The message is delivered.\nSent again; 2 more are possible.\n"; err != nil || string(out) != want {
				t.Errorf("it said %q (%v); want %q", out, err, want)
			}
		})
	}
}

// post sends a request and returns the id of the created object.
func (s server) post(t *testing.T, path, body string) (id string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.APIKey)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s: %d (%v)", path, resp.StatusCode, err)
	}
	return made.ID
}
