package operatorapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/operatorapi"
)

// TestErrorsAreDocumented compares the codes of the operator API with docs/errors.md.
func TestErrorsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	known := operatorapi.Codes()
	for _, code := range known {
		if code != "" && !strings.Contains(string(text), "### `"+code+"`\n") {
			t.Errorf("docs/errors.md does not explain %s", code)
		}
	}
	_, section, _ := strings.Cut(string(text), "## Codes of the operator API\n")
	own := regexp.MustCompile("(?m)^### `(.*)`$").FindAllStringSubmatch(section, -1)
	if len(own) == 0 {
		t.Error("docs/errors.md has no section of the operator API")
	}
	for _, heading := range own {
		if !slices.Contains(known, heading[1]) {
			t.Errorf("docs/errors.md explains %s, which the operator API never answers", heading[1])
		}
	}
}
