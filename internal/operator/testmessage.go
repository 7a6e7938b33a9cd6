package operator

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Tester sends test messages; every *mfa.Service with a sender is one.
type Tester interface {
	SendTest(ctx context.Context, by mfa.Caller, phone delivery.Phone) (mfa.TestMessage, error)
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
