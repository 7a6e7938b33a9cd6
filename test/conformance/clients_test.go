package conformance_test

import (
	"os"
	"slices"
	"testing"
)

// A client is one version of what the users of a language drive the API with.
type client struct {
	language   string
	version    string
	generation string // the years in which it was the current one
	by         string // byLibrary or byReplay

	// drive takes the client through every step, and reports each.
	drive func(*testing.T, world, func(line))
}

const (
	byLibrary = "library" // the published library itself, or curl
	byReplay  = "wire"    // its requests, byte for byte, and what its types can read
)

// A world is what one client is given: two servers and the network before each.
type world struct {
	server  server
	network *network

	// Challenges at brief expire after 50 ms, and it sends to one number as often
	// as once a second.
	brief        server
	briefNetwork *network
}

func newWorld(t *testing.T) world {
	w := world{
		server: watched(t, start(t)),
		brief:  watched(t, start(t, "--challenge-ttl", "50ms", "--sms-spacing", "1s")),
	}
	w.network = startNetwork(t, w.server.URL)
	w.briefNetwork = startNetwork(t, w.brief.URL)
	return w
}

// environment is how a runner learns of its world.
func (w world) environment() []string {
	return []string{
		"COUNTERSIGN_URL=" + w.server.URL,
		"COUNTERSIGN_API_KEY=" + w.server.APIKey,
		"COUNTERSIGN_NETWORK_URL=" + w.network.URL,
		"COUNTERSIGN_BRIEF_URL=" + w.brief.URL,
		"COUNTERSIGN_BRIEF_API_KEY=" + w.brief.APIKey,
		"COUNTERSIGN_BRIEF_NETWORK_URL=" + w.briefNetwork.URL,
	}
}

// clients has a row for each client, in the order of the table.
func clients() []client {
	return slices.Concat(curlClients, nodeClients, goClients, newGoClients, pythonClients, oldJavaClients, javaClients, rubyClients, phpClients, dotnetClients)
}

// TestClients takes every client through all steps, and holds docs/clients.md to
// what came of it. With COUNTERSIGN_CONFORMANCE_TABLE it leaves the table in the
// file of that name.
func TestClients(t *testing.T) {
	t.Parallel()
	rows := make([]row, len(clients()))
	t.Run("client", func(t *testing.T) {
		for i, c := range clients() {
			t.Run(c.language+" "+c.version, func(t *testing.T) {
				t.Parallel()
				rows[i] = row{client: c, lines: map[string]line{}}
				c.drive(t, newWorld(t), func(l line) { rows[i].record(t, l) })
				rows[i].complete(t)
			})
		}
	})
	rows = slices.DeleteFunc(rows, func(r row) bool { return len(r.lines) == 0 }) // left out by -run, or without its tools
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

// record takes the outcome of a step.
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

// complete makes sure that no step was left out.
func (r row) complete(t *testing.T) {
	for _, s := range steps {
		if _, ok := r.lines[s.name]; !ok {
			t.Errorf("step %q was not reported", s.name)
		}
	}
}
