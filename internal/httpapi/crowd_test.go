package httpapi_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// TestTooManyAtOnce has a carrier that keeps the maximum number of requests in progress.
func TestTooManyAtOnce(t *testing.T) {
	var log safeBuffer
	w := newFixture(t, setup{log: &log, api: httpapi.Options{MaxRequests: 2}})
	factors := []string{w.phone(), w.enroll(`{"type":"sms","phone_number":"+16073517113"}`)}
	other := w.generic()
	arrived, leave := make(chan bool, len(factors)), make(chan bool)
	w.carrier.Fail(func(int) error {
		arrived <- true
		<-leave
		return nil
	})
	var work sync.WaitGroup
	for _, id := range factors {
		work.Go(func() { w.challenge(id) })
	}
	for range factors {
		<-arrived
	}
	const refusals = 20
	for range refusals {
		r := w.post("/auth/factors/"+other+"/challenge", `{}`)
		r.says(http.StatusServiceUnavailable, `{"message":"Too many requests are being answered. Try again.","code":"unavailable","retry_after":1}`)
		if r.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q; want 1", r.header.Get("Retry-After"))
		}
	}
	w.get("/auth/factors/"+other, "Authorization:").is(http.StatusUnauthorized) // a request without a key does not need a place
	another := w.on(t)
	another.key, _ = w.newKey(w.environment("Another", false))
	another.verify(another.challenge(another.generic()).text("id"), wrong).is(http.StatusCreated)
	w.get("/healthz").is(http.StatusOK)
	w.get("/readyz").is(http.StatusOK)
	close(leave)
	work.Wait()
	w.carrier.Fail(nil)

	// Every request has left its place, including the refused requests.
	w.challenge(other)
	if n := strings.Count(log.String(), "requests are refused"); n != 1 {
		t.Errorf("%d lines of the log tell of %d refusals; want 1", n, refusals)
	}
	if strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Error("a refusal is logged as an error")
	}
}

// TestARefusalEndsItsConnection checks that a refusal closes its connection: another try
// then needs a new connection.
func TestARefusalEndsItsConnection(t *testing.T) {
	w := newFixture(t, setup{api: httpapi.Options{MaxRequests: 1}})
	id := w.phone()
	arrived, leave := make(chan bool, 1), make(chan bool)
	w.carrier.Fail(func(int) error {
		arrived <- true
		<-leave
		return nil
	})
	var work sync.WaitGroup
	work.Go(func() { w.challenge(id) })
	<-arrived
	r, err := http.NewRequest(http.MethodGet, w.url+"/auth/factors/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.key)
	resp, err := w.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !resp.Close {
		t.Errorf("status %d, the connection ends: %t; want 503 and its end", resp.StatusCode, resp.Close)
	}
	close(leave)
	work.Wait()
}
