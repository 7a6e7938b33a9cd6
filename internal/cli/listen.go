package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

type listenWebhooks struct {
	ForwardTo string   `name:"forward-to" required:"" placeholder:"URL" help:"Where your program receives webhooks, such as http://127.0.0.1:3000/hook."`
	URL       string   `name:"url" default:"http://127.0.0.1:4100" placeholder:"URL" help:"The server. Default ${default}, where dev listens."`
	APIKey    string   `name:"api-key" placeholder:"KEY" help:"An API key of the environment. Default the key of dev, in the directory .countersign."`
	Events    []string `sep:"," placeholder:"TYPE" help:"Types of event to forward. Default all."`
}

func (listenWebhooks) Help() string {
	return `Receives the events of an environment from a server, also from a remote one, and sends each to your program as a webhook:
signed, with the headers of a real delivery. Your program verifies them with the secret that this command prints; it stays
the same for an API key. An event that your program does not accept is not sent again. Pass the key in the variable
COUNTERSIGN_API_KEY, since other users of the machine can see flags.

Examples:

  countersign webhooks listen --forward-to http://127.0.0.1:3000/hook
  countersign webhooks listen --forward-to http://127.0.0.1:3000/hook --url https://mfa.example.com --events authentication.mfa_failed`
}

func (c *listenWebhooks) Run(ctx context.Context, con console) error {
	to, err := url.Parse(c.ForwardTo)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return fmt.Errorf("--forward-to: %q is not a URL such as http://127.0.0.1:3000/hook", c.ForwardTo)
	}
	stream, err := c.stream()
	if err != nil {
		return err
	}
	key, err := c.key()
	if err != nil {
		return err
	}
	l := &listener{
		con: con, stream: stream, key: key, to: to.String(),
		signer: webhook.Secrets{Current: listenSecret(key)},
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	con.printf("Forwarding the events of %s to %s\nSecret for verification: %s\n", c.URL, l.to, l.signer.Current.Reveal())
	err = l.run(ctx)
	if ctx.Err() != nil {
		return nil // Ctrl-C
	}
	return err
}

// stream returns the URL of the stream of events.
func (c *listenWebhooks) stream() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("--url: %q is not the URL of a server, such as https://mfa.example.com", c.URL)
	}
	if u.User != nil {
		return "", errors.New("--url must not contain a name or password; pass the API key with --api-key or COUNTERSIGN_API_KEY")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return "", fmt.Errorf("--url: the API key would travel unencrypted to %s; use https://", u.Host)
	}
	u = u.JoinPath("events", "stream")
	types, err := eventTypes(c.Events)
	if err != nil {
		return "", fmt.Errorf("--events: %w", err)
	}
	query := url.Values{}
	for _, t := range types {
		query.Add("events", string(t))
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// key returns the API key of the flag, or the one that dev keeps.
func (c *listenWebhooks) key() (string, error) {
	if c.APIKey != "" {
		return c.APIKey, nil
	}
	text, err := os.ReadFile(devFiles + ".db.apikey") // of the default store
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(devFiles + ".apikey")
	}
	if err != nil {
		return "", errors.New("give --api-key, or set COUNTERSIGN_API_KEY: there is no key of 'countersign dev' in this directory")
	}
	return strings.TrimSpace(string(text)), nil
}

// listenSecret returns the secret that signs the deliveries of listen. It follows from the
// API key, so a developer configures it once.
func listenSecret(key string) secret.String {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("countersign webhooks listen"))
	return secret.NewString("whsec_" + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// A listener forwards events.
type listener struct {
	con             console
	stream, key, to string
	signer          webhook.Secrets
	client          *http.Client
	last            string // the id of the last event
}

// The pauses between two connections to the stream.
const (
	firstReconnect   = time.Second
	longestReconnect = 30 * time.Second
	forwardTimeout   = 15 * time.Second // as of a delivery
	silence          = 40 * time.Second // the stream has a comment every 15 s
)

// run forwards events until ctx ends or the server refuses the request.
func (l *listener) run(ctx context.Context) error {
	for pause := firstReconnect; ; pause = min(2*pause, longestReconnect) {
		began, before := wallclock.Start(), l.last
		err := l.follow(ctx)
		if refused, ok := errors.AsType[*refusedError](err); ok || ctx.Err() != nil {
			return cmp.Or[error](ctx.Err(), refused)
		}
		if l.last != before || began.Elapsed() > longestReconnect {
			pause = firstReconnect
		}
		l.con.notef("%v; connecting again in %v\n", err, pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// A refusedError means that another try cannot succeed.
type refusedError struct {
	status  int
	message string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the server answers %d: %s", e.status, e.message)
}

// follow forwards the events of one connection.
func (l *listener) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.stream, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+l.key)
	r.Header.Set("Accept", "text/event-stream")
	if l.last != "" {
		r.Header.Set("Last-Event-ID", l.last)
	}
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("the server is silent")) })
	defer quiet.Stop()
	answer, err := l.client.Do(r)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal(answer)
	}
	err = l.read(ctx, answer.Body, func() { quiet.Reset(silence) })
	return cmp.Or(context.Cause(ctx), err, errors.New("the server ended the stream"))
}

// refusal returns the error of an answer other than 200.
func refusal(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10)) // what arrives of it is shown
	var problem struct{ Message string }
	if json.Unmarshal(text, &problem) != nil || problem.Message == "" {
		problem.Message = http.StatusText(answer.StatusCode)
	}
	err := &refusedError{answer.StatusCode, printable(problem.Message)}
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
		return errors.New(err.Error()) // another try may succeed
	}
	return err
}

const maxEventLine = 1 << 20

// read reads server-sent events and forwards each. alive is called for every line.
func (l *listener) read(ctx context.Context, body io.Reader, alive func()) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEventLine)
	var id, typ string
	var data []string
	for lines.Scan() {
		alive()
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "event":
			typ = value
		case "data":
			data = append(data, value)
		case "":
			if lines.Text() != "" {
				continue // a comment
			}
			if len(data) > 0 {
				if err := l.forward(ctx, id, typ, []byte(strings.Join(data, "\n"))); err != nil {
					return err
				}
			}
			l.last = cmp.Or(id, l.last)
			id, typ, data = "", "", nil
		}
	}
	return lines.Err()
}

// forward sends an event to the developer's program and prints the answer.
func (l *listener) forward(ctx context.Context, id, typ string, body []byte) error {
	now := l.con.now()
	headers, err := l.signer.Headers(id, now, body)
	if err != nil {
		return err
	}
	trial, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(trial, http.MethodPost, l.to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		r.Header.Set(h.Name, h.Value)
	}
	result := ""
	answer, err := l.client.Do(r)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		result = err.Error()
	default:
		_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so the connection can be used again
		answer.Body.Close()
		result = fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	l.con.printf("%s  %-30s  %s  -> %s\n", now.UTC().Format(shownTime), printable(typ), printable(id), printable(result))
	return nil
}
