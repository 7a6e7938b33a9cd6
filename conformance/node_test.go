// Package conformance_test drives the built server with programs that were not
// written for it: the client libraries of the hosted service, old and new, and a
// browser. README.md tells how to run one alone.
package conformance_test

import "testing"

// TestNode runs the whole life of factors with each generation of the Node
// library.
func TestNode(t *testing.T) {
	t.Parallel()
	node := tool(t, "node")
	runners(t, "node")

	var results table
	t.Run("library", func(t *testing.T) {
		for _, library := range []string{"workos-oldest", "workos-7", "workos-newest"} {
			t.Run(library, func(t *testing.T) {
				t.Parallel()
				s := start(t)
				brief := start(t, "--challenge-ttl", "50ms", "--sms-spacing", "1s")
				run(t, results.add, "node", []string{
					"COUNTERSIGN_URL=" + s.URL,
					"COUNTERSIGN_API_KEY=" + s.APIKey,
					"COUNTERSIGN_BRIEF_URL=" + brief.URL,
					"COUNTERSIGN_BRIEF_API_KEY=" + brief.APIKey,
				}, node, "life.mjs", library)
			})
		}
	})
	t.Logf("\n%s", &results)
}
