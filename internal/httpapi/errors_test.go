package httpapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/httpapi"
)

// TestErrorsAreDocumented compares the codes of the API with the headings of docs/errors.md.
func TestErrorsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Codes of the API\n")
	section, _, ok := strings.Cut(section, "## Codes of the operator API\n")
	if !ok {
		t.Fatal("docs/errors.md has other sections")
	}
	var documented []string
	for _, heading := range regexp.MustCompile("(?m)^### `(.*)`$").FindAllStringSubmatch(section, -1) {
		documented = append(documented, heading[1])
	}
	known := append(httpapi.Codes(), "invalid_phone_number", "malformed_request") // not in the table
	for _, code := range known {
		if code != "" && !slices.Contains(documented, code) {
			t.Errorf("docs/errors.md does not explain %s", code)
		}
	}
	for _, code := range documented {
		if !slices.Contains(known, code) {
			t.Errorf("docs/errors.md explains %s, which the API never answers", code)
		}
	}
}
