package conformance_test

import (
	"os/exec"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// curlClients is curl in bash, which shows the bytes that libraries hide. Any installed
// version works.
var curlClients = []client{
	{"curl", "", "any", byLibrary, driveCurl},
}

func driveCurl(t *testing.T, f fixture, report func(line)) {
	bash := bashWithCurl(t)
	run(t, report, "curl", f.environment(), bash, "life.sh")
}

var curlExamples = []example{
	{"curl", "curl/example.sh", "bash", func(t *testing.T) *exec.Cmd {
		return exec.CommandContext(t.Context(), bashWithCurl(t), "curl/example.sh")
	}},
}

// bashWithCurl returns the path of bash, and checks that the programs that the scripts
// call are installed.
func bashWithCurl(t *testing.T) string {
	for _, name := range []string{"curl", "jq", "oathtool", "openssl"} {
		testenv.Tool(t, name)
	}
	installed(t, "curl")
	return testenv.Tool(t, "bash")
}
