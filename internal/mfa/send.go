package mfa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/smstext"
)

// A Sender delivers text messages.
type Sender interface {
	// Send hands m over. A nil error means accepted, not read. An ErrRecipientRefused means
	// that another try would have the same result.
	Send(ctx context.Context, m Message) (Accepted, error)
}

// A Message is a text message with a one-time code.
type Message struct {
	Environment EnvironmentID
	Challenge   ChallengeID
	Number      int // in the challenge; 1 is the first message
	To          Phone
	Text        secret.String // the whole text, with the code
	Code        secret.String
	At          time.Time
	ExpiresAt   time.Time // when the code expires
	Avoid       string    // the provider of an earlier message that probably did not arrive, or ""
}

// An Accepted names the provider that accepted a message.
type Accepted struct {
	Provider string        // as receipts name it, or ""
	ID       string        // the id that the provider gave the message; "" if there are no receipts
	State    DeliveryState // if it is already known; "" means Queued
}

// A recipient is the phone number of a factor, and the budget of the messages to it.
type recipient struct {
	phone  Phone
	source SendSource
}

// recipient returns the recipient of the codes of a factor, nil if Countersign does not
// send them.
func (s *Service) recipient(f *Factor, now time.Time) (*recipient, error) {
	m, ok := f.messenger()
	if !ok {
		return nil, nil
	}
	phone, err := m.recipient(s, f)
	if err != nil {
		return nil, err
	}
	return &recipient{phone, f.source(now)}, nil
}

// A dispatch is a message on its way from a request to a phone.
type dispatch struct {
	recipient
	by   Caller
	dest destination
	once *idempotency.Operation[IssuedChallenge]

	about [16]byte // the id of its factor, or of its challenge for a resend
	ref   SendRef
	keep  time.Duration // how long another request with ref is not counted
	now   time.Time

	first     bool      // the first message of its challenge
	countedAt time.Time // when the message was counted; an earlier try of the request may have counted it
}

// plan decides where a message goes and under which name it is counted. about is its
// factor or challenge, and unique a new id.
func (s *Service) plan(by Caller, to recipient, about, unique [16]byte, once *idempotency.Operation[IssuedChallenge], now time.Time) (dispatch, error) {
	d := dispatch{recipient: to, by: by, once: once, about: about, ref: newSendRef(unique[:]).from(to.source), now: now}
	var err error
	if d.dest, err = s.destination(by.Environment, to.phone); err != nil || once == nil {
		return d, err
	}
	d.ref, d.keep = d.refOf(once), once.Keep
	if once.Derived {
		// The same key may come again with another sign-in, whose message is counted. It finds
		// the answer of this one until the answer may be swept.
		d.keep -= sweepEvery
	}
	return d, nil
}

// refOf returns the name under which the message of a request with a key is counted.
func (d dispatch) refOf(once *idempotency.Operation[IssuedChallenge]) SendRef {
	return newSendRef(d.about[:], once.Identity()).from(d.source)
}

// judged reports whether the message counts for the prefix of its number: prefixes are
// judged by the first messages of factors that are not proven.
func (d dispatch) judged() bool { return d.first && !d.source.proven() }

// createAndSend makes c a challenge of a factor and sends its code.
func (s *Service) createAndSend(ctx context.Context, by Caller, id FactorID, c IssuedChallenge, p ChallengeParams, to recipient, once *idempotency.Operation[IssuedChallenge], now time.Time) (IssuedChallenge, error) {
	d, err := s.plan(by, to, id, c.ID, once, now)
	if err != nil {
		return IssuedChallenge{}, err
	}
	d.first = true
	if d.dest.test != nil {
		c.sent = secret.NewString(testCode)
	}
	text := s.rulesOf(by.Environment).text(p, to.phone, c.sent.Reveal())
	c.text = secret.NewString(text)
	c.Messages = []Delivery{newDelivery(text, now)}
	return s.dispatch(ctx, d, func(ctx context.Context, once *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error) {
		return s.createCounted(ctx, by, id, c, once, now)
	})
}

func newDelivery(text string, now time.Time) Delivery {
	return Delivery{State: Queued, Segments: smstext.Measure(text).Segments, At: now, UpdatedAt: now}
}

// dispatch reserves a message, stores it, sends it and settles it. store makes the message
// part of its challenge, as its last. If a step fails, the limits do not count the message,
// unless it may have been sent.
func (s *Service) dispatch(ctx context.Context, d dispatch, store func(context.Context, *idempotency.Operation[IssuedChallenge]) (IssuedChallenge, error)) (IssuedChallenge, error) {
	// From here on, a client that disconnects must not leave a message half sent.
	ctx = context.WithoutCancel(ctx)
	if err := s.reserve(ctx, &d); err != nil {
		return IssuedChallenge{}, err
	}
	if d.once != nil {
		d.once = d.once.Sending(s.now().Add(s.opts.SendTimeout).Truncate(time.Millisecond))
	}
	c, err := store(ctx, d.once)
	if c.Replayed != nil || errors.Is(err, ErrKeyReused) || errors.Is(err, errPending) {
		return c, err // another request with the key came first, and counted the message
	}
	if err != nil {
		return IssuedChallenge{}, errors.Join(err, s.uncount(ctx, d, err))
	}
	finished := false
	defer func() {
		if !finished {
			s.undo(ctx, d, c, nil) // the sender panicked
		}
	}()
	accepted, err := s.send(ctx, d, c)
	finished = true
	if err != nil {
		return IssuedChallenge{}, errors.Join(err, s.undo(ctx, d, c, err))
	}
	c.sent, c.text = secret.String{}, secret.String{}
	if err := s.settle(ctx, d, c, accepted); err != nil {
		// The challenge is valid and its message was sent. But receipts do not find the
		// message, and a repeated request waits until PendingUntil.
		s.opts.Logger.Warn("settle a message that was sent", "challenge", c.ID.String(), "error", err)
	}
	return c, nil
}

// undo undoes the reserving and storing of a message that was not sent, or may not have
// been sent. The count comes first: after the record is deleted, the same request may come
// again and must then be counted.
func (s *Service) undo(ctx context.Context, d dispatch, c IssuedChallenge, why error) error {
	return errors.Join(s.uncount(ctx, d, why), s.markUnsent(ctx, d, c, why))
}

// send hands the last message of c to its sender.
func (s *Service) send(ctx context.Context, d dispatch, c IssuedChallenge) (Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.SendTimeout)
	defer cancel()
	if d.dest.test != nil && d.dest.test.lost {
		return Accepted{}, fmt.Errorf("%w: %w", ErrDelivery, ErrSimulated)
	}
	if d.dest.sender == nil {
		return Accepted{}, nil // a test number needs no sender
	}
	m := Message{
		Environment: d.by.ID, Challenge: c.ID, Number: len(c.Messages), To: d.phone,
		Text: c.text, Code: c.sent, At: d.now, ExpiresAt: c.ExpiresAt,
	}
	if n := len(c.Messages) - 2; n >= 0 && c.Messages[n].State != Delivered {
		m.Avoid = c.Messages[n].Provider
	}
	accepted, err := d.dest.sender.Send(ctx, m)
	switch {
	case err == nil && d.dest.test != nil:
		return Accepted{}, nil // the test number decides the state of the message
	case err == nil:
		return accepted, nil
	}
	kind := ErrDelivery
	if errors.Is(err, ErrRecipientRefused) {
		kind = ErrRecipientRefused
	}
	if isUncertain(err) {
		kind = fmt.Errorf("%w: %w", kind, errUncertain)
	}
	return Accepted{}, fmt.Errorf("%w: %s", kind, redact(err, d.phone, c.sent))
}

// errUncertain means that a message may have been sent, although its sender failed.
var errUncertain = errors.New("may have been sent")

// isUncertain reports whether a message may have been sent before the error of its sender:
// after a timeout, or after a connection that broke without an answer.
func isUncertain(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// redact returns the text of a sender's error without the number and the code. Errors of
// HTTP clients quote URLs, and the URLs of some gateways contain both.
func redact(err error, phone Phone, code secret.String) string {
	digits := strings.TrimPrefix(phone.E164(), "+")
	return strings.NewReplacer(digits, "[phone]", code.Reveal(), "[code]").Replace(err.Error())
}

// settle records the provider of the last message of c, and makes the recorded answer
// final.
func (s *Service) settle(ctx context.Context, d dispatch, c IssuedChallenge, accepted Accepted) error {
	early, err := s.refer(ctx, d, c, accepted)
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events := journal{d.by, now, bucket}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if d.once != nil {
		r.Replay = d.once.Key
	}
	return errors.Join(err, s.store.Update(ctx, r, func(tx *Tx) error {
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) {
			m := &tx.Challenge.Messages[number]
			m.Provider, m.ID = accepted.Provider, s.messageName(accepted)
			events.append(tx, Event{Type: messageEvent(Queued), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: m.Provider})
			for _, known := range []receipt{{state: accepted.State}, early, d.dest.test.receipt()} {
				if m.advance(known.state, known.reason, now.Add(known.after)) && known.after == 0 {
					events.append(tx, Event{Type: messageEvent(m.State), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: m.Reason})
				}
			}
			tx.put(tx.Challenge.Update())
		}
		if d.once != nil && d.once.Owns(tx.Replay.record(), c.ID) {
			tx.Replay.Confirm()
			tx.put(PutReplay{tx.Replay})
		}
		return nil
	}))
}

// markUnsent undoes the storing of a message that was not sent, or may not have been sent. It
// removes the record of the answer, so the same request can be tried again, and with a
// first message also the challenge. If another request got the answer before, answer and
// challenge stay, and only the message is marked as failed.
func (s *Service) markUnsent(ctx context.Context, d dispatch, c IssuedChallenge, why error) error {
	now, bucket, number := s.now(), c.ID.Bucket(), len(c.Messages)-1
	events := journal{d.by, now, bucket}
	r := Read{Bucket: bucket, Challenge: c.ID}
	if d.once != nil {
		r.Replay = d.once.Key
	}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		pending := d.once != nil && d.once.Owns(tx.Replay.record(), c.ID)
		if pending {
			tx.put(DeleteReplay{bucket, d.once.Key})
		}
		if d.first && (pending || d.once == nil) {
			tx.put(DeleteChallenge{c.ID})
			events.append(tx, Event{Type: ChallengeVoided, Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: deliveryReason(why)})
			return nil
		}
		// A message that may have been sent keeps its state and its number.
		if tx.Challenge != nil && number < len(tx.Challenge.Messages) && !errors.Is(why, errUncertain) {
			tx.Challenge.Messages[number].advance(Failed, deliveryReason(why), now)
			tx.put(tx.Challenge.Update())
		}
		events.append(tx, Event{Type: messageEvent(Failed), Factor: c.Factor, Challenge: c.ID, Kind: c.Type, Reason: deliveryReason(why)})
		return nil
	})
}

// deliveryReason returns the reason of the event of a message that was not delivered.
func deliveryReason(why error) string {
	if errors.Is(why, ErrRecipientRefused) {
		return reasonRecipient
	}
	return reasonDelivery
}

// reserve counts a message against all limits in one transaction, or returns a
// *LimitError.
func (s *Service) reserve(ctx context.Context, d *dispatch) error {
	if d.dest.test != nil {
		return nil
	}
	r := s.readLimits(*d)
	events := journal{d.by, d.now, r.Bucket}
	var refused error
	var writes []Write
	err := s.store.Update(ctx, r, func(tx *Tx) error {
		refused = nil
		defer func() { writes = tx.Writes }()
		limit := tx.Phone
		if limit == nil {
			limit = &PhoneLimit{Bucket: r.Bucket, Key: r.Phone}
		}
		at, counted, err := limit.reserve(d.ref, d.keep, s.opts.Limits, d.now)
		if err != nil {
			return err
		}
		d.countedAt = at
		if counted && d.by.Production {
			if refused = s.count(tx, r.Tallies, *d, events); refused != nil {
				return nil // the pause or release of a prefix is stored
			}
		}
		tx.put(PutPhone{limit})
		return nil
	})
	for _, w := range writes {
		if e, ok := w.(AppendEvent); ok && err == nil {
			s.opts.Logger.Warn("a limit on messages changed", "event", string(e.Type), "of", e.Reason, "environment", d.by.Name)
		}
	}
	return errors.Join(err, refused)
}

// uncount undoes reserve for a message that was not sent; why is nil or the error of its
// store or sender. A message that may have been sent, or whose number was refused, stays
// counted, but not against its prefix, because no user can enter its code: another try is
// another message.
func (s *Service) uncount(ctx context.Context, d dispatch, why error) error {
	if d.dest.test != nil {
		return nil
	}
	stays := errors.Is(why, errUncertain) || errors.Is(why, ErrRecipientRefused)
	return s.store.Update(ctx, s.readLimits(d), func(tx *Tx) error {
		if tx.Phone == nil {
			return nil
		}
		change := tx.Phone.giveBack
		if stays {
			change = tx.Phone.keepFor
		}
		if !change(d.ref, d.countedAt) {
			return nil
		}
		if d.once != nil {
			// After the record is deleted, the same derived key has the ref of the first sign-in
			// under it again, whose message must not count for another one.
			if first := d.refOf(d.once.Past([16]byte{})); first != d.ref {
				tx.Phone.keepEarlier(first, d.countedAt, d.keep)
			}
		}
		tx.put(PutPhone{tx.Phone})
		for _, t := range tx.Tallies {
			if t != nil && (t.IsPrefix() || !stays) && t.uncount(d.countedAt, d.judged()) {
				tx.put(PutTally{t})
			}
		}
		return nil
	})
}

// readLimits names all rows that count a message: the limit of its number, by a
// keyed hash, and the tallies of a production environment.
func (s *Service) readLimits(d dispatch) Read {
	bucket := d.by.ID.sendBucket()
	key := PhoneKey(s.keys.Load().Index(fmt.Appendf(nil, "phone/%d/%s", d.by.ID, d.phone.E164())))
	binary.BigEndian.PutUint16(key[:], uint16(bucket))
	r := Read{Bucket: bucket, Phone: key}
	if d.by.Production {
		r.Tallies = s.tallies(d.by.Environment, d.phone)
	}
	return r
}
