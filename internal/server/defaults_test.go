package server

import (
	"reflect"
	"testing"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// TestTheDomainHasTheDefaultsOfTheConfiguration compares what a Service does without
// Options with what a server does without settings.
func TestTheDomainHasTheDefaultsOfTheConfiguration(t *testing.T) {
	want, err := limitsOf(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	got, err := mfa.Limits{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	want.Backoff = got.Backoff // there is no setting for it
	messages, err := delivery.Limits{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got.SendSpacing, got.Sends = messages.Spacing, messages.Windows
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the limits are\n%+v; want\n%+v", got, want)
	}
}
