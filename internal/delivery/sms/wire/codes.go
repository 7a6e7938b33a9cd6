package wire

import "github.com/countersign-mfa/countersign/internal/delivery/sms"

// Codes is the table of a service's error codes and what each means for a message.
type Codes map[string]Meaning

// A Meaning is what an error code means for a message.
type Meaning struct {
	Kind   sms.Kind // or Unserved
	Reason string   // short words for logs and operators
}

// Unserved is the Kind of a code that is about the numbers of a country or of a kind:
// the account or its sender does not serve them, because the country is not enabled or
// requires a registered sender, for example. It becomes an sms.Error that is
// Unavailable and Healthy.
const Unserved sms.Kind = "unserved"

// Judge sets e by the service's own code and returns e. A code that is not in the table
// is shown and changes nothing else. Text that cannot be a code is ignored.
func (c Codes) Judge(e *sms.Error, code string) *sms.Error {
	if !IsCode(code) {
		return e
	}
	e.Code = code
	if known, ok := c[code]; ok {
		known.Apply(e)
	}
	return e
}

// Apply sets the kind, reason and health of e.
func (m Meaning) Apply(e *sms.Error) {
	e.Kind, e.Reason, e.Healthy = m.Kind, m.Reason, m.Kind == Unserved
	if e.Healthy {
		e.Kind = sms.Unavailable
	}
}
