package config_test

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
)

func TestErrorsInYAMLAreInPlainWords(t *testing.T) {
	type section struct {
		Count    int
		Wait     time.Duration
		Share    float64
		On       bool
		Name     string
		List     []string
		Settings map[string]any
		Section  struct{ Count *uint8 }
	}
	for _, tc := range []struct{ text, want string }{
		{"count: s3cret", "line 1: this must be a whole number"},
		{"\nwait: soon", "line 2: this must be a duration, such as 10m"},
		{"share: half", "line 1: this must be a number"},
		{"on: 7", "line 1: this must be true or false"},
		{"name: [a]", "line 1: this must be a text"},
		{"list: a", "line 1: this must be a list"},
		{"settings: a", "line 1: this must be a set of keys with values"},
		{"section: \"a\\n into b\"", "line 1: this must be a set of keys with values"},
		{"section: {count: many}", "line 1: this must be a whole number"},
		{"just text", "line 1: this must be a set of keys with values"},
		{"cuont: 1", "line 1: there is no setting cuont"},
		{"count: 1\ncount: 2", "line 2: count is given twice, first in line 1"},
		{"count: a\nwait: b", "line 1: this must be a whole number; line 2: this must be a duration, such as 10m"},
		{"count: [", "line 1: did not find expected node content"},
	} {
		decoder := yaml.NewDecoder(strings.NewReader(tc.text))
		decoder.KnownFields(true)
		err := decoder.Decode(new(section))
		if err == nil {
			t.Fatalf("%q is decoded", tc.text)
		}
		if got := config.YAMLError(err).Error(); got != tc.want {
			t.Errorf("%q: %q; want %q (from %v)", tc.text, got, tc.want, err)
		}
	}
}
