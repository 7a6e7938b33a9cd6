package e2e_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

const unit = "../../deploy/systemd/countersign.service"

// TestTheDocumentNamesTheUnit checks that the document and the packages have the same unit.
func TestTheDocumentNamesTheUnit(t *testing.T) {
	document, file := string(readFile(t, "../../docs/install.md")), string(readFile(t, unit))
	if !strings.Contains(document, "](../deploy/systemd/countersign.service)") || strings.Contains(document, "[Unit]") {
		t.Errorf("docs/install.md does not name %s, or has a copy of it", unit)
	}
	if !strings.Contains(file, "\n[Install]\nWantedBy=multi-user.target\n") {
		t.Errorf("%s does not start the server at boot", unit)
	}
}

// TestTheUnitExposesLittle lets systemd rate the unit, from 0 (a service that can do
// nothing) to 100 (one that can do everything).
func TestTheUnitExposesLittle(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), testenv.Tool(t, "systemd-analyze"), "security", "--offline=true", "--threshold=15", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
