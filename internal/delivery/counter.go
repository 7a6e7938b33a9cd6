package delivery

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A CounterKey names the messages that a Counter counts. All counters of an environment are in one
// bucket, so one transaction can read them. A store finds a counter by Environment and Name,
// and does not store Of: six digits of a phone number are personal.
type CounterKey struct {
	Environment ids.EnvironmentID
	Name        string // a keyed hash of Of, in hexadecimal; Of itself in a row of an older release
	Of          string // a prefix, "+491512"; a country, "DE"; "all" or "abroad"
}

// NewCounterKey returns the key of the counter of an environment that counts messages to of.
func NewCounterKey(keys *secret.Keyset, env ids.EnvironmentID, of string) CounterKey {
	name := keys.Index(fmt.Appendf(nil, "tally/%d/%s", env, of))
	return CounterKey{env, hex.EncodeToString(name[:16]), of}
}

func (k CounterKey) associated() []byte {
	return fmt.Appendf(nil, "tallies.name/%d/%s", k.Environment, k.Name)
}

// Bucket returns the partition of the counter.
func (k CounterKey) Bucket() ids.Bucket { return bucketOf(k.Environment) }

// A Counter counts the messages to a group of numbers, and their verified challenges.
type Counter struct {
	CounterKey
	Sealed      []byte    // Of, sealed; nil in a row of an older release
	Counts      []Count   // oldest first
	PausedUntil time.Time // no messages are sent there before; zero: not paused
	ExpiresAt   time.Time
}

// A Count is the number of messages in one slot of time.
type Count struct {
	At       time.Time // the start of the slot
	Sent     int
	Verified int // of the messages sent in this slot, verified at any time
}

const (
	countAll    = "all"
	countAbroad = "abroad"

	day        = 24 * time.Hour
	daySlot    = 30 * time.Minute
	prefixSlot = time.Minute
	// settling is the time that a user has to enter a code before it counts as not entered.
	settling = 2 * time.Minute
	// prefixDigits is the length of a prefix. The blocks of numbers that attackers rent share
	// more digits. A prefix of a short number omits its last four digits.
	prefixDigits = 6
)

// counters returns the keys of the counters of a message of a production environment to a
// phone of a country. The first is that of the prefix.
func (r *ruleset) counters(keys *secret.Keyset, env ids.EnvironmentID, phone Phone, country string) []CounterKey {
	number := phone.E164()
	of := []string{number[:min(1+prefixDigits, len(number)-4)], country, countAll}
	if country != r.Home {
		of = append(of, countAbroad)
	}
	all := make([]CounterKey, len(of))
	for i := range of {
		all[i] = NewCounterKey(keys, env, of[i])
	}
	return all
}

// Seal seals Of, which operators can see.
func (c *Counter) Seal(keys *secret.Keyset) (err error) {
	if c.Sealed, err = keys.Seal([]byte(c.Of), c.associated()); err != nil {
		return fmt.Errorf("seal the name of a count: %w", err)
	}
	return nil
}

// Reference returns the name of a prefix in events, which are kept longer than the counter:
// the first digits of its keyed hash.
func (k CounterKey) Reference() string { return "prefix_" + k.Name[:min(12, len(k.Name))] }

// IsPrefix reports whether the counter counts a prefix, which can be paused.
func (k CounterKey) IsPrefix() bool { return strings.HasPrefix(k.Of, "+") }

func (k CounterKey) slot() time.Duration {
	if k.IsPrefix() {
		return prefixSlot
	}
	return daySlot
}

// span returns how far back a counter counts: at least the period of its limit, because a slot
// counts as a whole. window is the period over which prefixes are judged.
func (k CounterKey) span(window time.Duration) time.Duration {
	if k.IsPrefix() {
		return window + prefixSlot
	}
	return day + daySlot
}

// settled returns the sums of the slots whose codes users had time to enter.
func (c *Counter) settled(now time.Time) (sent, verified int) {
	for _, n := range c.Counts {
		if now.Sub(n.At) >= settling+prefixSlot {
			sent, verified = sent+n.Sent, verified+n.Verified
		}
	}
	return sent, verified
}

// full returns the wait until another message may be sent, 0 if it may be sent now.
func (c *Counter) full(most int, now time.Time) (wait time.Duration) {
	sent, _ := c.Sum()
	over := sent - most + 1
	for _, n := range c.Counts {
		if over <= 0 {
			break
		}
		over -= n.Sent
		wait = n.At.Add(day + daySlot).Sub(now)
	}
	return wait
}

// add adds n to the messages that were sent at a time.
func (c *Counter) add(at time.Time, n int) {
	slot := at.Truncate(c.slot())
	i, found := c.find(slot)
	if !found {
		c.Counts = slices.Insert(c.Counts, i, Count{At: slot})
	}
	c.Counts[i].Sent += n
}

func (c *Counter) find(slot time.Time) (int, bool) {
	return slices.BinarySearchFunc(c.Counts, slot, func(n Count, at time.Time) int { return n.At.Compare(at) })
}

// uncount removes a message from the counter, and reports whether the message was counted.
func (c *Counter) uncount(at time.Time) bool {
	i, found := c.find(at.Truncate(c.slot()))
	if !found || c.Counts[i].Sent == 0 {
		return false
	}
	c.Counts[i].Sent--
	return true
}

// forget removes the counts that are older than span.
func (c *Counter) forget(span time.Duration, now time.Time) {
	c.Counts = slices.DeleteFunc(c.Counts, func(n Count) bool { return now.Sub(n.At) >= span })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Open opens the name of the counter, which a store has only sealed.
func (c *Counter) Open(keys *secret.Keyset) error {
	if c.Sealed == nil {
		c.Of = c.Name // in a row of an older release
		return nil
	}
	of, err := keys.Open(c.Sealed, c.associated())
	if err != nil {
		return fmt.Errorf("open the name of a count: %w", err)
	}
	c.Of = string(of)
	return nil
}

// Expire removes the counts that are too old to count at now, and a pause that has ended.
// It reports whether anything is left. window is Pumping.Period of the environment.
func (c *Counter) Expire(window time.Duration, now time.Time) bool {
	c.forget(c.span(window), now)
	if !now.Before(c.PausedUntil) {
		c.PausedUntil = time.Time{}
	}
	return len(c.Counts) > 0 || !c.PausedUntil.IsZero()
}

// Release ends the pause of a prefix and removes its counts. It reports whether the prefix
// was paused at now.
func (c *Counter) Release(now time.Time) bool {
	if !now.Before(c.PausedUntil) {
		return false
	}
	c.PausedUntil, c.Counts = time.Time{}, nil
	return true
}

// Merge adds the counts of another counter of the same group.
func (c *Counter) Merge(other *Counter) {
	for _, n := range other.Counts {
		c.add(n.At, n.Sent)
		i, _ := c.find(n.At.Truncate(c.slot()))
		c.Counts[i].Verified += n.Verified
	}
	c.PausedUntil, c.ExpiresAt = later(c.PausedUntil, other.PausedUntil), later(c.ExpiresAt, other.ExpiresAt)
}

// Sum adds up all counts.
func (c *Counter) Sum() (sent, verified int) {
	for _, n := range c.Counts {
		sent, verified = sent+n.Sent, verified+n.Verified
	}
	return sent, verified
}
