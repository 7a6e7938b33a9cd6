package operator

import (
	"context"
	"errors"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Tester sends test messages; every *mfa.Service with a sender is one.
type Tester interface {
	SendTest(ctx context.Context, by mfa.Caller, phone delivery.Phone) (mfa.TestMessage, error)
}

// A TestOutcome is the result of a test message.
type TestOutcome string

// The outcomes.
const (
	TestAccepted         TestOutcome = "accepted"          // by a provider
	TestUncertain        TestOutcome = "uncertain"         // it may have been sent
	TestRecipientRefused TestOutcome = "recipient_refused" // no provider delivers to the phone number
	TestNotDelivered     TestOutcome = "not_delivered"     // no provider accepted it
	TestRefused          TestOutcome = "refused"           // it was not given to a provider
)

// TestOutcomeOf returns the outcome of what SendTest returned.
func TestOutcomeOf(m mfa.TestMessage, err error) TestOutcome {
	switch {
	case m.Provider != "":
		return TestAccepted
	case errors.Is(err, delivery.ErrUncertain):
		return TestUncertain
	case errors.Is(err, delivery.ErrRecipientRefused):
		return TestRecipientRefused
	case errors.Is(err, delivery.ErrNotDelivered):
		return TestNotDelivered
	}
	return TestRefused
}

// SendTest sends a test message to a phone number in international form through the providers
// of a production environment, as mfa.Service.SendTest does. Faces ask for
// access.ManageMessages. It needs the keyset.
// Errors: also a delivery.InvalidPhoneError.
func (s *Service) SendTest(ctx context.Context, by By, env mfa.Environment, phone string) (mfa.TestMessage, error) {
	if err := by.Check(); err != nil {
		return mfa.TestMessage{}, err
	}
	if !env.Production { // before the keyset and the providers are opened
		return mfa.TestMessage{}, delivery.ErrSandboxNumber
	}
	to, err := delivery.ParsePhone(phone, env.Production)
	if err != nil {
		return mfa.TestMessage{}, err
	}
	tester, err := s.opts.Tester(ctx)
	if err != nil {
		return mfa.TestMessage{}, err
	}
	return tester.SendTest(ctx, by.in(env), to)
}
