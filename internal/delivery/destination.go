package delivery

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/countersign-mfa/countersign/internal/ids"
)

// CheckCountries returns an error with the first code that is not a country code of ISO
// 3166-1, such as US. It ignores case.
func CheckCountries(codes []string) error {
	known := phonenumbers.GetSupportedRegions()
	for i, code := range upper(codes) {
		if !known[code] {
			return fmt.Errorf("%q is not a country code of ISO 3166-1; use codes such as US or DE", codes[i])
		}
	}
	return nil
}

// upper returns the codes in upper case, as in ISO 3166-1.
func upper(codes []string) []string {
	all := make([]string, len(codes))
	for i, code := range codes {
		all[i] = strings.ToUpper(strings.TrimSpace(code))
	}
	return all
}

// A Destination says where the messages to a number go.
type Destination struct {
	sender Sender      // delivers them; nil for a test number without an inbox
	test   *testNumber // nil for other numbers
}

// Destination returns the destination of messages from env to phone, or why no message may
// be sent. Messages of a sandbox never reach a provider.
func (p *Policy) Destination(env ids.Environment, phone Phone) (Destination, error) {
	if env.Production {
		if err := p.of(env).refuse(phone); err != nil {
			return Destination{}, err
		}
		if p.opts.Sender == nil {
			return Destination{}, fmt.Errorf("%w: no SMS provider is configured", ErrNotDelivered)
		}
		return Destination{sender: p.opts.Sender}, nil
	}
	if number, ok := testNumbers[phone.E164()]; ok {
		return Destination{sender: p.opts.Sandbox, test: &number}, number.refusal
	}
	if p.opts.Sandbox == nil {
		return Destination{}, ErrSandboxNumber
	}
	return Destination{sender: p.opts.Sandbox}, nil
}

// IsTest reports whether the number is a test number: its messages are not counted, and
// their result is simulated.
func (d Destination) IsTest() bool { return d.test != nil }

// Simulated returns the state that a message to a test number gets; zero for other numbers.
func (d Destination) Simulated() Report {
	if d.test == nil {
		return Report{}
	}
	return Report{d.test.state, d.test.reason, d.test.after}
}

// refuse returns why no message may be sent to a number: the rules do not list its
// country, no phone has the number, or its owner earns money from messages.
func (r *ruleset) refuse(phone Phone) error {
	n, err := phonenumbers.Parse(phone.E164(), "")
	if err != nil {
		return errors.New("a stored phone number cannot be read")
	}
	if phone.IsFictional() {
		return ErrNumberType
	}
	if !slices.Contains(r.Countries, r.countryOf(phone)) {
		return ErrCountry
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST, phonenumbers.UAN, phonenumbers.VOICEMAIL, phonenumbers.PAGER, phonenumbers.TOLL_FREE:
		return ErrNumberType
	}
	return nil
}

// fictional matches valid numbers that are reserved for films and books: the blocks of North
// America (NANPA), Germany (BNetzA), Sweden (PTS) and Australia (ACMA).
var fictional = regexp.MustCompile(`^\+(1[2-9][0-9]{2}55501[0-9]{2}|1500555[0-9]{4}|4917139200[0-9]{2}|467017406[0-9]{2}|61491570[0-9]{3}|61491571(266|491|804))$`)

// IsFictional reports whether a number is reserved for films and books.
func (p Phone) IsFictional() bool { return fictional.MatchString(p.E164()) }

// A testNumber describes the simulated result of messages to a test number of a sandbox.
type testNumber struct {
	refusal error // of the challenge, or nil
	lost    bool  // no provider accepts the message
	state   State //  the state of the message
	reason  string
	after   time.Duration // how long until that state is reported
}

// TestCode is the code of every challenge of a test number.
const TestCode = "123456"

// testNumbers have the same meaning in every sandbox: a complete sign-in can be tested
// without a phone. No phone has these numbers, and production environments refuse them.
var testNumbers = map[string]testNumber{
	"+15005550006": {state: Delivered},
	"+15005550001": {lost: true},
	"+15005550002": {state: Undelivered, reason: "unreachable"},
	"+15005550003": {refusal: ErrCountry},
	"+15005550004": {refusal: ErrNumberType},
	"+15005550009": {refusal: ErrRecipientRefused},
	"+15005550007": {state: Delivered, after: 20 * time.Second},
	"+15005550008": {refusal: &LimitError{Kind: ErrSendLimit, After: 30 * time.Second}},
}
