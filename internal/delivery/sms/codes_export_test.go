package sms

import (
	"fmt"
	"maps"
	"slices"
)

// Unserved returns the codes that the tables of a provider say are about some
// numbers alone.
func Unserved(provider string) []string {
	found := map[string]bool{}
	for _, table := range map[string][]verdicts{
		"aws":         {awsReasons},
		"messagebird": {messageBirdErrors, messageBirdFailures},
		"plivo":       {plivoErrors},
		"telnyx":      {telnyxErrors},
		"twilio":      {twilioErrors},
		"vonage":      {vonageErrors},
	}[provider] {
		for code, m := range table {
			if m.kind == unserved {
				found[code] = true
			}
		}
	}
	if provider == "smpp" {
		for status, m := range smppStatuses {
			if m.kind == unserved {
				found[fmt.Sprintf("0x%08X", status)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
