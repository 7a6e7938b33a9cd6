package conformance_test

import (
	"os/exec"
	"testing"
)

// curlClients is curl in bash, which sees the bytes that the libraries do not show.
// Whichever version is installed will do.
var curlClients = []client{
	{"curl", "", "any", byLibrary, driveCurl},
}

func driveCurl(t *testing.T, w world, report func(line)) {
	bash := bashWithCurl(t)
	run(t, report, "curl", w.environment(), bash, "life.sh")
}

var curlExamples = []example{
	{"curl", "curl/example.sh", "bash", func(t *testing.T) *exec.Cmd {
		return exec.CommandContext(t.Context(), bashWithCurl(t), "curl/example.sh")
	}},
}

// bashWithCurl makes sure of the programs that the scripts call, and returns the one
// that runs them.
func bashWithCurl(t *testing.T) string {
	for _, name := range []string{"curl", "jq", "oathtool", "openssl"} {
		tool(t, name)
	}
	installed(t, "curl")
	return tool(t, "bash")
}
