package httpapi_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

// overHTTP2 serves the API of w with TLS and HTTP/2, like a server with a certificate. It
// returns the URL and a function that makes clients with separate connections.
func (w *fixture) overHTTP2() (url string, newClient func() *http.Client) {
	w.t.Helper()
	server := httptest.NewUnstartedServer(w.api)
	server.EnableHTTP2 = true
	server.StartTLS()
	w.t.Cleanup(server.Close)
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return server.URL, func() *http.Client {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
		w.t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: 45 * time.Second}
	}
}

// One key opens 4,900 streams on 20 connections. Their bodies do not end.
func TestSlowBodiesOfOneKeyDoNotBlockOtherKeys(t *testing.T) {
	const connections, streams, limit = 20, 245, 4096
	w := newFixture(t, setup{api: httpapi.Options{MaxRequests: limit}})
	url, newClient := w.overHTTP2()
	id := w.generic()
	var (
		open    []*io.PipeWriter
		refused = make(chan int, connections*streams)
		all     sync.WaitGroup
	)
	for range connections {
		client := newClient()
		// The first request opens the connection that all others share.
		resp, err := client.Get(url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.ProtoMajor != 2 {
			t.Fatalf("the connection is HTTP/%d", resp.ProtoMajor)
		}
		for range streams {
			body, writer := io.Pipe()
			open = append(open, writer)
			all.Go(func() {
				defer body.Close()
				r, err := http.NewRequest(http.MethodPost, url+"/auth/factors/enroll", body)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+w.key)
				resp, err := client.Do(r)
				if err != nil {
					return // the test has ended and closed the body
				}
				defer resp.Body.Close()
				refused <- resp.StatusCode
			})
		}
	}
	// The server keeps the number of the limit, and refuses the others at once.
	for i := range connections*streams - limit {
		select {
		case status := <-refused:
			if status != http.StatusServiceUnavailable {
				t.Fatalf("a body that does not end is answered %d", status)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d requests were refused; want %d", i, connections*streams-limit)
		}
	}

	another := w.on(t)
	another.url, another.client = url, newClient()
	another.key, _ = w.newKey(w.environment("Another", false))
	start := time.Now()
	factors := make([]string, 100)
	mfatest.Together(len(factors), func(i int) { factors[i] = another.generic() })
	for _, factor := range factors[:10] {
		c := another.challenge(factor)
		another.verify(c.text("id"), c.text("code")).is(http.StatusCreated)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the requests of another environment took %v", took)
	}
	// The server also serves requests without a body of the same environment.
	w.get("/auth/factors/" + id).is(http.StatusOK)
	w.post("/auth/factors/"+id+"/challenge", `{}`).is(http.StatusServiceUnavailable)

	for _, writer := range open {
		writer.CloseWithError(io.ErrUnexpectedEOF)
	}
	all.Wait()
	// The server may detect the end of a stream a little later.
	for end := time.Now().Add(10 * time.Second); w.post("/auth/factors/"+id+"/challenge", `{}`).status != http.StatusCreated; {
		if time.Now().After(end) {
			t.Fatal("the places of the slow bodies do not come back")
		}
		w.clock.Advance(time.Second) // to stay below the rate limit
	}
}

// Requests that take long, such as messages with a slow provider, also leave places to
// other environments.
func TestSlowWorkOfOneKeyDoesNotBlockOtherKeys(t *testing.T) {
	const limit = 16
	w := newFixture(t, setup{api: httpapi.Options{MaxRequests: limit}})
	var phones []string
	for i := range limit {
		phones = append(phones, w.enroll(`{"type":"sms","phone_number":"+160735171`+strconv.Itoa(10+i)+`"}`))
	}
	arrived, leave := make(chan bool, limit), make(chan bool)
	w.carrier.Fail(func(int) error {
		arrived <- true
		<-leave
		return nil
	})
	var work sync.WaitGroup
	for _, id := range phones {
		work.Go(func() { w.challenge(id) })
	}
	for range limit {
		<-arrived
	}
	w.get("/auth/factors/" + phones[0]).is(http.StatusServiceUnavailable)
	another := w.on(t)
	another.key, _ = w.newKey(w.environment("Another", false))
	another.verify(another.challenge(another.generic()).text("id"), wrong).is(http.StatusCreated)
	close(leave)
	work.Wait()
	if body := w.get("/auth/factors/" + phones[0]).is(http.StatusOK).body; !strings.Contains(body, phones[0]) {
		t.Error("the environment is not served after its work is done")
	}
}
