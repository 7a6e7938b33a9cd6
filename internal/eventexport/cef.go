package eventexport

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// appendCEF appends an event in the Common Event Format. The signature is the type of the
// event. A custom string has a label that names it.
func appendCEF(b []byte, version, env string, e *events.Event) []byte {
	b = append(b, "CEF:0|Countersign|Countersign|"...)
	b = appendCEFHeader(b, version)
	b = append(b, '|')
	b = appendCEFHeader(b, string(e.Type))
	b = append(b, '|')
	b = appendCEFHeader(b, Words(e.Type))
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(cefSeverity[severity(e.Type)]), 10)
	b = append(b, "|rt="...)
	b = strconv.AppendInt(b, e.At.UnixMilli(), 10)
	add := func(key, value string) {
		if value != "" {
			b = append(b, ' ')
			b = append(b, key...)
			b = append(b, '=')
			b = appendCEFValue(b, value)
		}
	}
	addLabeled := func(key, label, value string) {
		if value != "" {
			add(key+"Label", label)
			add(key, value)
		}
	}
	add("externalId", e.ID.String())
	add("duid", e.User)
	switch ip, err := netip.ParseAddr(e.IPAddress); {
	case err != nil:
	case ip.Unmap().Is4():
		add("src", ip.Unmap().String())
	default:
		addLabeled("c6a2", "Source IPv6 Address", ip.String())
	}
	add("requestClientApplication", e.UserAgent)
	switch outcome(e.Type) {
	case success:
		add("outcome", "success")
	case failure:
		add("outcome", "failure")
	}
	_, resource, reason := eventwire.Resource(e)
	add("reason", reason)
	addLabeled("cs1", "environment", env)
	addLabeled("cs2", "factor", factorID(e))
	addLabeled("cs3", "challenge", challengeID(e))
	addLabeled("cs4", "factor type", string(e.Kind))
	addLabeled("cs5", "caller", e.Caller)
	addLabeled("cs6", "request", e.Request)
	addLabeled("flexString1", "resource", resource)
	return append(b, '\n')
}

// appendCEFHeader appends a field of the header, which is one line.
func appendCEFHeader(b []byte, s string) []byte {
	return append(b, cefHeader.Replace(s)...)
}

// appendCEFValue appends the value of an extension.
func appendCEFValue(b []byte, s string) []byte {
	return append(b, cefValue.Replace(s)...)
}

var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\r", " ", "\n", " ")
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\r", `\r`, "\n", `\n`)
)

// A level is how much attention an event deserves.
type level int

const (
	informational level = iota + 1
	low
	medium
	high
)

// severity returns the level of a type of event.
func severity(t mfa.EventType) level {
	switch t {
	case mfa.ChallengeFailed, mfa.ChallengeRefused, mfa.ChallengeVoided, mfa.FactorDeleted, mfa.EndpointDisabled:
		return low
	case mfa.PrefixPaused, mfa.DailyLimitReached, mfa.KeyCreated, mfa.KeyRevoked, mfa.EndpointSecretRotated, mfa.KeysetRotated, mfa.StoreCopied:
		return medium
	case mfa.FactorLocked, mfa.UserLocked:
		return high
	}
	return informational
}

// cefSeverity has the severities of CEF, 0 to 10.
var cefSeverity = map[level]int{informational: 1, low: 3, medium: 5, high: 8}
