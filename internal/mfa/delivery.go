package mfa

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// A Delivery is one message of a challenge and its state.
type Delivery struct {
	Provider  string        // that accepted it; "" until a provider has
	ID        string        // a short keyed hash of the id that the provider gave it; "" without an id
	State     DeliveryState // Queued at first
	Reason    string        // the provider's own code for a failure, or ""
	Segments  int           // the number of messages that carriers send and charge
	Sealed    []byte        // of the first message: the code and then the whole text, while the code can be used
	At        time.Time     // when it was handed to the provider
	UpdatedAt time.Time     // when State changed; for a test number this can be in the future
}

// A DeliveryState is the state of a message.
type DeliveryState string

// The states of a message. Each state replaces the ones above it, in any order of the
// reports: a message that was reported as failed may still arrive.
const (
	Queued      DeliveryState = "queued"      // a provider has it, or will have it soon
	Sent        DeliveryState = "sent"        // a carrier has it
	Undelivered DeliveryState = "undelivered" // the carrier could not deliver it
	Failed      DeliveryState = "failed"      // no carrier has it
	Delivered   DeliveryState = "delivered"   // the phone has it
)

var deliveryRank = map[DeliveryState]int{Queued: 1, Sent: 2, Undelivered: 3, Failed: 3, Delivered: 4}

// advance moves d to a later state. It reports whether d changed.
func (d *Delivery) advance(to DeliveryState, reason string, now time.Time) bool {
	if deliveryRank[to] <= deliveryRank[d.State] {
		return false
	}
	d.State, d.Reason, d.UpdatedAt = to, reason, now
	return true
}

// Delivery returns the message that represents an sms challenge at now: the one that
// arrived, otherwise the last one that was sent, otherwise the last one. Segments is that
// of one message. ok is false for other challenges.
func (c *Challenge) Delivery(now time.Time) (d Delivery, ok bool) {
	for i, m := range c.Messages {
		if i > 0 && m.undone() && !d.undone() {
			continue
		}
		d = m
		if now.Before(d.UpdatedAt) {
			d.State, d.Reason, d.UpdatedAt = Queued, "", d.At
		}
		if d.State == Delivered {
			break
		}
	}
	return d, len(c.Messages) > 0
}

// undone reports whether d was certainly not sent: its challenge is valid, and another
// message may replace it.
func (d Delivery) undone() bool { return d.State == Failed && d.Provider == "" && d.ID == "" }

// resends counts the messages after the first.
func (c *Challenge) resends() int {
	n := len(c.Messages) - 1
	if n > 0 && c.Messages[n].undone() {
		n--
	}
	return n
}

// A MessageKey is the keyed hash of a provider's name and the id that it gave a message.
// The zero value means no message.
type MessageKey [32]byte

func (s *Service) messageKey(provider, id string) MessageKey {
	return s.keys.Load().Index(fmt.Appendf(nil, "message/%d/%s/%s", len(provider), provider, id))
}

// messageName returns the part of a message's id that a challenge keeps. With the whole id,
// a reader of the database could ask the provider for the phone number.
func (s *Service) messageName(a Accepted) string {
	if a.ID == "" {
		return ""
	}
	key := s.messageKey(a.Provider, a.ID)
	return hex.EncodeToString(key[:8])
}

// Bucket returns the partition of the reference.
func (k MessageKey) Bucket() Bucket { return Bucket(binary.BigEndian.Uint16(k[:])) % Buckets }

// A MessageRef leads from a provider's message to its challenge. A receipt may arrive before
// the answer of the provider: then it waits here.
type MessageRef struct {
	Bucket    Bucket
	Key       MessageKey
	Challenge ChallengeID   // zero while only the receipt is known
	Number    int           // the index in Challenge.Messages
	State     DeliveryState // of a receipt that waits, or ""
	Reason    string
	ExpiresAt time.Time
}
