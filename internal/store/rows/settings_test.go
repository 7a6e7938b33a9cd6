package rows

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestSettingsAreReadAsTheyWereWritten(t *testing.T) {
	s, err := mfa.LoadSettings(map[string]string{"max_factors_per_user": "5", "from_a_newer_release": "\"x\" ü"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []mfa.Settings{{}, s} {
		if got, err := DecodeSettings(EncodeSettings(want)); err != nil || got != want {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
	}
	if text := EncodeSettings(mfa.Settings{}); text != "" {
		t.Errorf("no settings are written as %q", text)
	}
	for _, text := range []string{"x", "[]", `{"max_factors_per_user":5}`, `{"max_factors_per_user":"x"}`} {
		if s, err := DecodeSettings(text); err == nil {
			t.Errorf("DecodeSettings(%s) = %v; want an error", text, s)
		}
	}
}
