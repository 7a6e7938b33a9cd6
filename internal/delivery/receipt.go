package delivery

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Receipt is the report of a provider about a message that it accepted.
type Receipt struct {
	Provider string // its name, as in Accepted
	ID       string // of the message, as in Accepted
	Also     string // another reading of the id, if no message has the first; or ""
	State    State
	Reason   string // the provider's own code for a failure, or ""
}

// Check returns an error if the state of r is unknown.
func (r Receipt) Check() error {
	if rank[r.State] == 0 {
		return fmt.Errorf("receipt of %s: no such state %q", r.Provider, r.State)
	}
	return nil
}

// Keys returns the keys that the message of r may have: one for each reading of its id.
func (r Receipt) Keys(keys *secret.Keyset) []MessageKey {
	all := []MessageKey{newMessageKey(keys, r.Provider, r.ID)}
	if r.Also != "" {
		all = append(all, newMessageKey(keys, r.Provider, r.Also))
	}
	return all
}

// A Report is a known state of a message, which applies at once or after a while.
type Report struct {
	State  State
	Reason string
	After  time.Duration
}

// A MessageKey is the keyed hash of a provider's name and the id that it gave a message.
// The zero value means no message.
type MessageKey [32]byte

func newMessageKey(keys *secret.Keyset, provider, id string) MessageKey {
	return keys.Index(fmt.Appendf(nil, "message/%d/%s/%s", len(provider), provider, id))
}

// Bucket returns the partition of the reference.
func (k MessageKey) Bucket() ids.Bucket {
	return ids.Bucket(binary.BigEndian.Uint16(k[:])) % ids.Buckets
}

// Key returns the key of an accepted message.
func (a Accepted) Key(keys *secret.Keyset) MessageKey { return newMessageKey(keys, a.Provider, a.ID) }

// Name returns the part of a message's id that its Record keeps. With the whole id, a
// reader of the database could ask the provider for the phone number.
func (a Accepted) Name(keys *secret.Keyset) string {
	if a.ID == "" {
		return ""
	}
	key := a.Key(keys)
	return hex.EncodeToString(key[:8])
}

// A MessageRef leads from a provider's message to its challenge. A receipt may arrive before
// the answer of the provider: then it waits here.
type MessageRef struct {
	Bucket    ids.Bucket
	Key       MessageKey
	Challenge ids.ChallengeID // zero while only the receipt is known
	Number    int             // the index in the records of the challenge
	State     State           // of a receipt that waits, or ""
	Reason    string
	ExpiresAt time.Time
}

// keepEarly is how long a receipt waits for the answer of its provider. A receipt that is
// left then belongs to a message that another program sent through the same account.
const keepEarly = time.Hour

// NewMessageRef returns the reference of a message that is not known yet.
func NewMessageRef(key MessageKey, now time.Time) *MessageRef {
	return &MessageRef{Bucket: key.Bucket(), Key: key, ExpiresAt: now.Add(keepEarly)}
}

// Await lets a receipt wait in m. It reports whether m changed.
func (m *MessageRef) Await(r Receipt) bool {
	if rank[r.State] <= rank[m.State] {
		return false
	}
	m.State, m.Reason = r.State, r.Reason
	return true
}

// Waiting returns the receipt that waits in m; zero if m is nil or has no receipt.
func (m *MessageRef) Waiting() Report {
	if m == nil {
		return Report{}
	}
	return Report{State: m.State, Reason: m.Reason}
}
