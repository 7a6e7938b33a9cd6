package mfa

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A TestMessage is a text message without a code, with which an operator tries the providers.
type TestMessage struct {
	Country  string // of the phone number, by ISO 3166-1; "ZZ" if it is unknown
	Segments int    // the number of messages that carriers send and charge
	Provider string // that accepted it; "" if none did
	ID       string // the id that the provider gave it, or ""
}

const (
	testText  = "Countersign test message"
	testValid = 10 * time.Minute // for how long carriers try to deliver it
)

// SendTest sends a test message to a phone number through the providers of a production
// environment. The rules and limits for messages with codes apply. The message is counted, but
// not against its prefix, because it has no code that could be entered. An event with the
// caller records a message that was sent or may have been sent; its trace has no provider if
// none accepted the message. Receipts of the message are not kept.
// Errors: delivery.ErrSandboxNumber for a sandbox, whose messages never reach a provider, and
// otherwise the errors of Challenge for a message. The result has the country and the segments
// also with an error of the providers. An error with a provider in the result means that the
// message was sent, but not recorded.
func (s *Service) SendTest(ctx context.Context, by Caller, phone delivery.Phone) (TestMessage, error) {
	if !by.Production {
		return TestMessage{}, delivery.ErrSandboxNumber
	}
	id, err := s.ids.Next(s.now(), UserBucket(by.ID, ""))
	if err != nil {
		return TestMessage{}, err
	}
	d, err := s.plan(by, recipient{phone, delivery.NewSource(id)}, id, id, nil, s.now())
	if err != nil {
		return TestMessage{}, err
	}
	record := delivery.NewRecord(testText, d.keys, d.now)
	m := TestMessage{Country: record.Country, Segments: record.Segments}
	ctx = context.WithoutCancel(ctx) // a message must not be left half sent
	if err := s.reserve(ctx, &d); err != nil {
		return m, err
	}
	accepted, err := s.policy.Send(ctx, d.dest, delivery.Message{
		Environment: by.ID, Challenge: id, Number: 1, Channel: delivery.SMS, To: phone.Address(),
		Text: secret.NewString(testText), At: d.now, ExpiresAt: d.now.Add(testValid),
	})
	if err != nil {
		err = errors.Join(err, s.uncount(ctx, d, err))
		if !errors.Is(err, delivery.ErrUncertain) {
			return m, err
		}
	}
	m.Provider, m.ID, record.Provider = accepted.Provider, accepted.ID, accepted.Provider
	event := Event{Type: TestMessageSent, Reason: by.Reason, Message: record.Trace()}
	stored := s.store.Update(ctx, Read{Bucket: d.keys.Bucket}, func(tx *Tx) error {
		tx.put(by.Append(event, s.now(), d.keys.Bucket))
		return nil
	})
	if stored != nil {
		err = errors.Join(err, fmt.Errorf("record the message that was sent: %w", stored))
	}
	return m, err
}
