package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// A receiver is a developer's program that receives webhooks.
type receiver struct {
	*httptest.Server
	got chan delivery
}

type delivery struct{ body, signature, id string }

func newReceiver(t testing.TB) *receiver {
	r := &receiver{got: make(chan delivery, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.got <- delivery{string(body), req.Header.Get("WorkOS-Signature"), req.Header.Get("webhook-id")}
	}))
	t.Cleanup(r.Close)
	return r
}

// receives waits for an event of a type about a factor, and checks every signature until
// then.
func (r *receiver) receives(t testing.TB, secret, typ, factor string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case <-deadline:
			t.Fatalf("no webhook %s about %s", typ, factor)
		case d := <-r.got:
			at, signature, _ := strings.Cut(strings.TrimPrefix(d.signature, "t="), ", v1=")
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(at + "." + d.body))
			if signature != hex.EncodeToString(mac.Sum(nil)) {
				t.Errorf("the signature %q is not valid", d.signature)
			}
			var e struct {
				ID, Event string
				Data      struct {
					Factor string `json:"factor_id"`
				}
			}
			if err := json.Unmarshal([]byte(d.body), &e); err != nil || e.ID != d.id {
				t.Errorf("received %s with the id %s (%v)", d.body, d.id, err)
			}
			if e.Event == typ && e.Data.Factor == factor {
				return
			}
		}
	}
}

func TestDevSendsWebhooks(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), newReceiver(t)
	var secrets []string
	for range 2 {
		p := dev(t, dir, "--webhook", r.URL+"/hook")
		var ready struct {
			Secret string `json:"webhook_secret"`
		}
		if err := json.Unmarshal([]byte(p.out.String()), &ready); err != nil || !strings.HasPrefix(ready.Secret, "whsec_") {
			t.Fatalf("dev printed %s (%v)", p.out, err)
		}
		logcapture.Secret(t, ready.Secret)
		secrets = append(secrets, ready.Secret)
		factor := p.api().enroll(`{"type":"generic_otp"}`).ID
		r.receives(t, ready.Secret, "factor.enrolled", factor)
		p.api().verify(p.api().challenge(factor).ID, "12345")
		r.receives(t, ready.Secret, "authentication.mfa_failed", factor)
		p.stop()
	}
	if secrets[0] != secrets[1] {
		t.Error("the next start has another secret")
	}
}

func TestListenForwardsTheEventsOfAServer(t *testing.T) {
	t.Parallel()
	r, server := newReceiver(t), dev(t, t.TempDir())
	listen := launch(t, []string{"COUNTERSIGN_API_KEY=" + server.key}, "webhooks", "listen", "--url", server.url, "--forward-to", r.URL+"/hook")
	secret := listen.await(listen.out, `Secret for verification: (whsec_\S+)\n`)[1]
	logcapture.Secret(t, secret)
	var factor string
	poll(t, "the stream", func() bool { // it begins with the next event
		factor = server.api().enroll(`{"type":"generic_otp"}`).ID
		return len(r.got) > 0
	})
	r.receives(t, secret, "factor.enrolled", factor)
	listen.await(listen.out, `factor.enrolled +event_\S+ +-> 200 OK\n`)
	listen.signal(os.Interrupt)
	if code := listen.wait(); code != 0 {
		t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, listen.log.tail())
	}
}
