package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// TestTestsResetDev changes everything that a reset takes back, and works with the seed after
// each of some resets.
func TestTestsResetDev(t *testing.T) {
	t.Parallel()
	if pgtest.Chosen() {
		t.Skip("POST /dev/reset needs a SQLite store")
	}
	received := make(chan string, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			received <- string(body)
		}
	}))
	t.Cleanup(receiver.Close)
	dir := t.TempDir()
	seed := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(seed, []byte(documentedSeed(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := dev(t, dir, "--api-key", "sk_test_ci_000000", "--seed", seed, "--clock", "--webhook", receiver.URL)
	api := p.api()
	factors := func() string {
		return string(api.want(http.StatusOK, "GET", "/user_management/users/user_42/auth_factors?order=asc", "").body)
	}
	now := func() (at struct {
		Ahead int `json:"ahead_seconds"`
	}) {
		if err := json.Unmarshal(api.want(http.StatusOK, "GET", "/dev/clock", "").body, &at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := factors()
	endpoints := string(api.want(http.StatusOK, "GET", "/webhook_endpoints", "").body)
	for range 3 {
		api.want(http.StatusOK, "POST", "/dev/clock", `{"advance_seconds":86400}`)
		made := api.enroll(`{"type":"sms","phone_number":"+16073517112"}`)
		api.challenge(made.ID)
		api.want(http.StatusOK, "POST", "/dev/faults", `{"route":"POST /auth/factors/enroll","fault":"500","count":9}`)
		for await := true; await; {
			select {
			case body := <-received:
				await = !strings.Contains(body, made.ID)
			case <-time.After(patience):
				t.Fatal("the receiver got no webhook of the factor")
			}
		}
		api.want(http.StatusNoContent, "POST", "/dev/reset", "")

		api.want(http.StatusNotFound, "GET", "/auth/factors/"+made.ID, "")
		if got := factors(); got != before {
			t.Errorf("after a reset the factors are %s; want %s", got, before)
		}
		if got := string(api.want(http.StatusOK, "GET", "/webhook_endpoints", "").body); got != endpoints {
			t.Errorf("after a reset the endpoints are %s; want %s", got, endpoints)
		}
		if got := api.inbox(""); len(got) != 0 {
			t.Errorf("after a reset the inbox holds %d messages", len(got))
		}
		if ahead := now().Ahead; ahead != 0 {
			t.Errorf("after a reset the clock is %d s ahead", ahead)
		}
	}
	newAPI(t, p.url, "sk_test_unknown").want(http.StatusUnauthorized, "POST", "/dev/reset", "")
	newAPI(t, p.url, "sk_test_events_000").want(http.StatusForbidden, "POST", "/dev/reset", "")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range namesIn(t, dir) {
		if strings.Contains(name, ".start") {
			t.Errorf("dev left %s", name)
		}
	}
	p = dev(t, dir, "--api-key", "sk_test_ci_000000", "--seed", seed)
	if got := string(p.api().want(http.StatusOK, "GET", "/user_management/users/user_42/auth_factors?order=asc", "").body); got != before {
		t.Errorf("after a restart the factors are %s; want %s", got, before)
	}
}

// TestAResetEndsRequestsCleanly resets while other requests are in progress: enrollments get
// their answers, a stream and a request that times out end.
func TestAResetEndsRequestsCleanly(t *testing.T) {
	t.Parallel()
	if pgtest.Chosen() {
		t.Skip("POST /dev/reset needs a SQLite store")
	}
	p := dev(t, t.TempDir())
	api := p.api()
	api.want(http.StatusOK, "POST", "/dev/faults", `{"route":"GET /auth/factors/{id}","fault":"timeout"}`)
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.key)
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	var work sync.WaitGroup
	work.Go(func() {
		for lines := bufio.NewScanner(stream.Body); lines.Scan(); {
		}
	})
	work.Go(func() {
		if got, err := newAPI(t, p.url, p.key).send(t.Context(), "GET", "/auth/factors/auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M", "", ""); err == nil {
			t.Errorf("a request with a timeout was answered %d", got.status)
		}
	})
	poll(t, "the timeout begins", func() bool {
		return strings.HasSuffix(string(api.want(http.StatusOK, "GET", "/dev/faults", "").body), `"data":[]}`)
	})
	for range 4 {
		work.Go(func() {
			for range 10 {
				api.enroll(`{"type":"generic_otp"}`)
			}
		})
	}
	var resets sync.WaitGroup
	for range 3 {
		resets.Go(func() { api.want(http.StatusNoContent, "POST", "/dev/reset", "") })
	}
	resets.Wait()
	work.Wait()
	api.want(http.StatusNoContent, "POST", "/dev/reset", "")
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestDevStopsIfAResetFails removes the copy of the store that a reset needs.
func TestDevStopsIfAResetFails(t *testing.T) {
	t.Parallel()
	if pgtest.Chosen() {
		t.Skip("POST /dev/reset needs a SQLite store")
	}
	dir := t.TempDir()
	p := dev(t, dir)
	copies, err := filepath.Glob(filepath.Join(dir, "*.start"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies of the store: %q, %v", copies, err)
	}
	if err := os.Remove(copies[0]); err != nil {
		t.Fatal(err)
	}
	p.api().want(http.StatusInternalServerError, "POST", "/dev/reset", "")
	if code := p.wait(); code == 0 {
		t.Error("dev ended with code 0")
	}
	if log := p.log.String(); !strings.Contains(log, "reset: ") {
		t.Errorf("dev does not say that a reset failed:\n%s", log)
	}
}

// TestAWrongSeedLeavesNoStore starts with a seed whose last part is wrong, and again with the
// correct one.
func TestAWrongSeedLeavesNoStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "seed.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(documentedSeed(t) + "    webhooks: [{endpoint_url: x}]\n")
	refuses(t, "environments[1].webhooks[0]", "dev", "--store", storeIn(t, dir), "--addr", "127.0.0.1:0", "--seed", file, "--api-key", "sk_test_ci_000000")
	if names := namesIn(t, dir); len(names) != 0 {
		t.Errorf("a wrong seed left %q", names)
	}
	write(documentedSeed(t))
	p := dev(t, dir, "--seed", file, "--api-key", "sk_test_ci_000000")
	if got := string(p.api().want(http.StatusOK, "GET", "/user_management/users/user_42/auth_factors", "").body); strings.Count(got, `"auth_factor_`) != 2 {
		t.Errorf("the factors of the seed are %s; want two", got)
	}
}
