package conformance_test

import (
	"os"
	"slices"
	"testing"
)

// A client is one version of a client library of a language, or curl.
type client struct {
	language   string
	version    string
	generation string // the years in which this version was current
	by         string // byLibrary or byReplay

	// drive takes the client through every step, and reports each.
	drive func(*testing.T, fixture, func(line))
}

const (
	byLibrary = "library" // the published library itself, or curl
	byReplay  = "wire"    // the requests of the library, byte for byte, and the fields that its types can read
)

// A fixture is the environment of one client: two servers, with a network in front of
// each.
type fixture struct {
	server  server
	network *network

	// At brief, challenges expire after 50 ms, and one number may receive a message
	// every three seconds.
	brief        server
	briefNetwork *network
}

func newFixture(t *testing.T) fixture {
	f := fixture{
		server: watched(t, start(t)),
		brief:  watched(t, start(t, "--challenge-ttl", "50ms", "--sms-spacing", "3s")),
	}
	f.network = startNetwork(t, f.server.URL)
	f.briefNetwork = startNetwork(t, f.brief.URL)
	return f
}

// environment returns the variables that describe the fixture to a runner.
func (f fixture) environment() []string {
	return []string{
		"COUNTERSIGN_URL=" + f.server.URL,
		"COUNTERSIGN_API_KEY=" + f.server.APIKey,
		"COUNTERSIGN_NETWORK_URL=" + f.network.URL,
		"COUNTERSIGN_BRIEF_URL=" + f.brief.URL,
		"COUNTERSIGN_BRIEF_API_KEY=" + f.brief.APIKey,
		"COUNTERSIGN_BRIEF_NETWORK_URL=" + f.briefNetwork.URL,
	}
}

// clients has a row for each client, in the order of the table.
func clients() []client {
	return slices.Concat(curlClients, nodeClients, goClients, newGoClients, pythonClients, oldJavaClients, javaClients, rubyClients, phpClients, dotnetClients)
}

// TestClients takes every client through all steps, and compares the results with
// docs/clients.md. If COUNTERSIGN_CONFORMANCE_TABLE names a file, the test writes the
// table there.
func TestClients(t *testing.T) {
	t.Parallel()
	rows := make([]row, len(clients()))
	t.Run("client", func(t *testing.T) {
		for i, c := range clients() {
			t.Run(c.language+" "+c.version, func(t *testing.T) {
				t.Parallel()
				rows[i] = row{client: c, lines: map[string]line{}}
				c.drive(t, newFixture(t), func(l line) { rows[i].record(t, l) })
				rows[i].complete(t)
			})
		}
	})
	rows = slices.DeleteFunc(rows, func(r row) bool { return len(r.lines) == 0 }) // excluded by -run, or its tools are missing
	table := text(rows)
	t.Logf("\n%s", table)
	if path := os.Getenv("COUNTERSIGN_CONFORMANCE_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(rows) == len(clients()) && !t.Failed() {
		inPage(t, "table", markdown(rows))
		sameSkips(t, skips(rows))
	}
}

// record stores the outcome of a step and checks the report itself.
func (r row) record(t *testing.T, l line) {
	known := slices.ContainsFunc(steps, func(s step) bool { return s.name == l.Step })
	_, again := r.lines[l.Step]
	switch {
	case !known:
		t.Errorf("there is no step %q", l.Step)
	case again:
		t.Errorf("step %q was reported twice", l.Step)
	case l.Skipped && l.Detail == "":
		t.Errorf("step %q was skipped without a reason", l.Step)
	case l.Version != r.client.version:
		t.Errorf("step %q was done by version %s; want %s", l.Step, l.Version, r.client.version)
	}
	r.lines[l.Step] = l
}

// complete checks that the runner reported every step.
func (r row) complete(t *testing.T) {
	for _, s := range steps {
		if _, ok := r.lines[s.name]; !ok {
			t.Errorf("step %q was not reported", s.name)
		}
	}
}
