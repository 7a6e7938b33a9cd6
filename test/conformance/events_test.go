package conformance_test

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/test/executable"
)

// An eventClient is one version of a client library that can list events.
type eventClient struct {
	language, version string
	by                string // byLibrary or byReplay

	// types are the types that it lists, if not the two that WorkOS also has; why says why.
	types []string
	why   string

	https bool // it uses only https
	drive func(*testing.T, eventServer, plan, func(line))
}

// eventClients has a row for each client. Versions that the list lacks have no call for
// events, or have the same code as a listed one.
func eventClients() []eventClient {
	return slices.Concat([]eventClient{
		{language: "JavaScript", version: "7.0.0", by: byLibrary, drive: nodeEvents("workos-oldest")},
		{language: "JavaScript", version: "7.82.0", by: byLibrary, types: onlySuccess, why: noFailed, drive: nodeEvents("workos-7")},
		{language: "JavaScript", version: "8.13.0", by: byLibrary, types: onlySuccess, why: noFailed, drive: nodeEvents("workos-8")},
		{language: "JavaScript", version: "10.14.0", by: byLibrary, drive: nodeEvents("workos-10")},
		{language: "JavaScript", version: "11.0.0", by: byLibrary, drive: nodeEvents("workos-newest")},
		{language: "Go", version: "4.46.1", by: byLibrary, drive: goEvents("4")},
		{language: "Go", version: "6.5.0", by: byLibrary, drive: goEvents("6")},
		{language: "Go", version: "9.6.0", by: byLibrary, drive: goEvents("9")},
		{language: "Python", version: "4.16.0", by: byLibrary, drive: pythonEvents("4.16.0")},
		{language: "Python", version: "5.46.0", by: byLibrary, drive: pythonEvents("5.46.0")},
		{language: "Python", version: "10.8.0", by: byLibrary, drive: pythonEvents("10.8.0")},
		{language: "Java", version: "7.2.0", by: byLibrary, types: ownTypes, why: failsOnItsOwn, drive: javaEvents},
		{language: "Rust", version: "3.5.0", by: byLibrary, drive: rustEvents},
	}, replayedEventClients)
}

var (
	onlySuccess = []string{"authentication.mfa_succeeded", "factor.locked"}
	ownTypes    = []string{"factor.enrolled", "challenge.created"}
)

const (
	noFailed      = "does not know `authentication.mfa_failed`"
	failsOnItsOwn = "throws on every page with an event whose type it knows; a fault of this version. It lists the types of Countersign, and verifies deliveries of every type"
)

// eventSteps are the steps of every event client.
var eventSteps = []string{
	"list events",
	"list events page by page",
	"list events in a range",
	"list events after an event",
	"list events of an unknown type",
	"verify a delivery",
}

// A plan has the arguments of the steps. A client receives it as JSON in the variable
// COUNTERSIGN_PLAN, and reports the ids of the events that it received in the key "ids".
type plan struct {
	Types      []string `json:"types"`
	After      string   `json:"after"`       // the id of an event
	RangeStart string   `json:"range_start"` // the times of two events
	RangeEnd   string   `json:"range_end"`
	Unknown    string   `json:"unknown"` // no type of Countersign
	Delivery   received `json:"delivery"`
}

// A received is a delivery of authentication.mfa_succeeded as an endpoint received it.
type received struct {
	Secret    string            `json:"secret"`
	Signature string            `json:"signature"` // the header WorkOS-Signature
	Headers   map[string]string `json:"headers"`   // by their names in lower case
	Body      string            `json:"body"`
}

// An eventServer is a running server with events in its log.
type eventServer struct {
	server
	tls *tls.Config // if it uses https
	log []loggedEvent
}

type loggedEvent struct {
	ID        string
	Event     string
	CreatedAt string `json:"created_at"`

	text []byte
}

// TestEventClients makes each client list events with every filter that it can send, and
// verify a delivery. It compares the results with docs/clients.md.
func TestEventClients(t *testing.T) {
	t.Parallel()
	all := eventClients()
	notes := make([][]string, len(all)) // why each client skipped steps; nil if it did not run
	t.Run("client", func(t *testing.T) {
		for i, c := range all {
			t.Run(c.language+" "+c.version, func(t *testing.T) {
				t.Parallel()
				notes[i] = c.run(t)
			})
		}
	})
	if !t.Failed() && !slices.ContainsFunc(notes, func(n []string) bool { return n == nil }) {
		inPage(t, "events", eventTable(all, notes))
	}
}

// run takes the client through all steps and returns why it skipped some.
func (c eventClient) run(t *testing.T) (skipped []string) {
	s, p := newEventServer(t, c.https)
	if c.types != nil {
		p.Types = c.types
	}
	skipped = []string{}
	seen := map[string]bool{}
	c.drive(t, s, p, func(l line) {
		seen[l.Step] = true
		want := s.want(l.Step, p)
		switch {
		case l.Version != c.version:
			t.Errorf("step %q was done by version %s; want %s", l.Step, l.Version, c.version)
		case l.Skipped:
			skipped = appendNew(skipped, l.Detail)
		case l.OK && !slices.Equal(l.IDs, want):
			t.Errorf("step %q: the client received %q; want %q", l.Step, l.IDs, want)
		}
	})
	for _, name := range eventSteps {
		if !seen[name] {
			t.Errorf("step %q was not reported", name)
		}
	}
	if c.why != "" {
		skipped = append(skipped, c.why)
	}
	return skipped
}

// eventTable returns the table for docs/clients.md.
func eventTable(clients []eventClient, notes [][]string) string {
	var out strings.Builder
	out.WriteString("| client | proven by | |\n|---|---|---|\n")
	for i, c := range clients {
		fmt.Fprintf(&out, "| %s %s | %s | %s |\n", c.language, c.version, c.by, cmp.Or(strings.Join(notes[i], "; "), "✓"))
	}
	return out.String()
}

// TestStandardWebhooks verifies a delivery with the library of Standard Webhooks.
func TestStandardWebhooks(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	installed(t, "node", "node_modules/standardwebhooks")
	s, p := newEventServer(t, false)
	run(t, func(l line) {
		if want := s.want(l.Step, p); l.OK && !slices.Equal(l.IDs, want) {
			t.Errorf("the library received %q; want %q", l.IDs, want)
		}
	}, "node", s.environment(t, p), node, "standard.mjs")
}

// TestPollingExample runs the program of docs/events.md.
func TestPollingExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("node/poll.mjs")
	if err != nil {
		t.Fatal(err)
	}
	inDocument(t, "../../docs/events.md", "example JavaScript, poll", "```js\n"+string(source)+"```\n")
	s, p := newEventServer(t, false)
	poll := func(args ...string) (ids []string) {
		t.Helper()
		cmd := nodeExample("poll.mjs", "workos-newest")(t)
		cmd.Args = append(cmd.Args, args...)
		cmd.Env = append(executable.Environment(), s.environment(t, p)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for l := range strings.Lines(string(out)) {
			ids = append(ids, strings.Fields(l)[0])
		}
		return ids
	}
	if got, want := poll(), s.want("list events", p); !slices.Equal(got, want) {
		t.Errorf("the program printed %q; want %q", got, want)
	}
	if got, want := poll(p.After), s.want("list events after an event", p); !slices.Equal(got, want) {
		t.Errorf("after an event the program printed %q; want %q", got, want)
	}
}

// want returns the ids that a client receives in a step.
func (s eventServer) want(step string, p plan) (ids []string) {
	switch step {
	case "list events of an unknown type":
		return nil
	case "verify a delivery":
		return []string{idIn(p.Delivery.Body)}
	}
	passed := false
	for _, e := range s.log {
		inRange := e.CreatedAt >= p.RangeStart && e.CreatedAt < p.RangeEnd
		if slices.Contains(p.Types, e.Event) &&
			(step != "list events in a range" || inRange) &&
			(step != "list events after an event" || passed) {
			ids = append(ids, e.ID)
		}
		passed = passed || e.ID == p.After
	}
	return ids
}

func idIn(body string) string {
	var e loggedEvent
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return err.Error()
	}
	return e.ID
}

// device is the device of the user. Encoders of JSON print some of its characters
// differently.
const device = `"ip_address":"203.0.113.7","user_agent":"Förde <b>&' \"1.0\" 🔑 \\ /"`

// signIns is how often the user of newEventServer signs in, each time after a wrong code.
const signIns = 4

// newEventServer starts a server and makes a user sign in.
func newEventServer(t *testing.T, https bool) (eventServer, plan) {
	t.Helper()
	var s eventServer
	client := http.DefaultClient
	if https {
		s.server = start(t, "--tls")
		var err error
		if s.tls, err = trustOf(s.URL); err != nil {
			t.Fatal(err)
		}
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls}}
		t.Cleanup(client.CloseIdleConnections)
	} else {
		s.server = start(t)
	}
	ask := func(method, path, body string, reply any) {
		t.Helper()
		s.ask(t, client, method, path, body, reply)
	}

	var factor, challenge struct{ ID, Code string }
	ask("POST", "/auth/factors/enroll", `{"type":"generic_otp","user_id":"user_é"}`, &factor)
	hooks := newReceiver(t)
	var endpoint struct{ Secret string }
	ask("POST", "/webhook_endpoints", `{"endpoint_url":"`+hooks.url+`/hook","events":["authentication.mfa_succeeded"]}`, &endpoint)
	logcapture.Secret(t, endpoint.Secret)
	for range signIns {
		ask("POST", "/auth/factors/"+factor.ID+"/challenge", `{}`, &challenge)
		logcapture.Secret(t, challenge.Code)
		for _, code := range []string{"12345", challenge.Code} {
			ask("POST", "/auth/challenges/"+challenge.ID+"/verify", `{"code":"`+code+`",`+device+`}`, &struct{}{})
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(s.ofType("authentication.mfa_succeeded")) < signIns { // an event is readable a moment later
		if time.Now().After(deadline) {
			t.Fatalf("after ten seconds the log has only %d events", len(s.log))
		}
		var list struct{ Data []json.RawMessage }
		ask("GET", "/events?limit=100", "", &list)
		s.log = nil
		for _, text := range list.Data {
			e := loggedEvent{text: text}
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			s.log = append(s.log, e)
		}
	}
	succeeded := s.ofType("authentication.mfa_succeeded")
	delivery := hooks.next(t)
	delivery.Secret = endpoint.Secret
	if want := string(succeeded[0].text); delivery.Body != want {
		t.Errorf("the first delivery is\n%s; want the event of the list\n%s", delivery.Body, want)
	}
	return s, plan{
		Types:      []string{"authentication.mfa_succeeded", "authentication.mfa_failed"},
		After:      succeeded[1].ID,
		RangeStart: succeeded[1].CreatedAt,
		RangeEnd:   succeeded[3].CreatedAt,
		Unknown:    "user.created",
		Delivery:   delivery,
	}
}

func (s eventServer) ofType(typ string) (found []loggedEvent) {
	for _, e := range s.log {
		if e.Event == typ {
			found = append(found, e)
		}
	}
	return found
}

// ask sends a request and reads the JSON of its reply.
func (s eventServer) ask(t *testing.T, client *http.Client, method, path, body string, reply any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.APIKey)
	answer, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", method, path, answer.Status, text)
	}
	if err := json.Unmarshal(text, reply); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

// environment returns the variables that describe the server and the plan to a program.
func (s eventServer) environment(t *testing.T, p plan) []string {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"COUNTERSIGN_URL=" + s.URL, "COUNTERSIGN_API_KEY=" + s.APIKey, "COUNTERSIGN_PLAN=" + string(text)}
}

func nodeEvents(name string) func(*testing.T, eventServer, plan, func(line)) {
	return func(t *testing.T, s eventServer, p plan, report func(line)) {
		node := testenv.Tool(t, "node")
		installed(t, "node", "node_modules")
		run(t, report, "node", s.environment(t, p), node, "events.mjs", name)
	}
}

func pythonEvents(version string) func(*testing.T, eventServer, plan, func(line)) {
	return func(t *testing.T, s eventServer, p plan, report func(line)) {
		python := testenv.Tool(t, "python3")
		run(t, report, "python", append(s.environment(t, p), workosOf(t, version)), python, "-B", "-S", "events.py", version)
	}
}

func goEvents(major string) func(*testing.T, eventServer, plan, func(line)) {
	return func(t *testing.T, s eventServer, p plan, report func(line)) {
		run(t, report, "go", s.environment(t, p), goProgram(t, "events"), major)
	}
}

func javaEvents(t *testing.T, s eventServer, p plan, report func(line)) {
	java, classes := javaPrograms(t)
	run(t, report, "java", s.environment(t, p), java, "-cp", classes, "Events")
}

// rustEvents uses the crate workos, which scripts/setup downloads and compiles.
func rustEvents(t *testing.T, s eventServer, p plan, report func(line)) {
	buildRust(t)
	program, err := filepath.Abs("rust/libraries/debug/events")
	if err != nil {
		t.Fatal(err)
	}
	run(t, report, "rust", s.environment(t, p), program)
}

// A receiver is an endpoint for webhooks.
type receiver struct {
	url string
	got chan received
}

func newReceiver(t *testing.T) receiver {
	r := receiver{got: make(chan received, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("read a delivery: %v", err)
		}
		d := received{Signature: req.Header.Get("WorkOS-Signature"), Body: string(body), Headers: map[string]string{}}
		for name := range req.Header {
			d.Headers[strings.ToLower(name)] = req.Header.Get(name)
		}
		r.got <- d
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// next returns the next delivery.
func (r receiver) next(t *testing.T) received {
	t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(30 * time.Second):
		t.Fatal("no delivery arrived within 30 seconds")
		return received{}
	}
}
