package mfa

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A TallyKey names what a Tally counts. All of an environment live in one bucket, so
// that one transaction sees them. A store finds a tally by Environment and Name, and
// does not keep Of: six digits of a phone number are personal.
type TallyKey struct {
	Environment EnvironmentID
	Name        string // a keyed hash of Of, in hexadecimal; Of itself in a row of an older release
	Of          string // a prefix, "+491512"; a country, "DE"; "all" or "abroad"
}

// tallyKey returns the key of the tally of an environment that counts messages to of.
func (s *Service) tallyKey(env EnvironmentID, of string) TallyKey {
	name := s.keys.Load().Index(fmt.Appendf(nil, "tally/%d/%s", env, of))
	return TallyKey{env, hex.EncodeToString(name[:16]), of}
}

func (k TallyKey) associated() []byte {
	return fmt.Appendf(nil, "tallies.name/%d/%s", k.Environment, k.Name)
}

// Bucket returns the partition in which the tally lives.
func (k TallyKey) Bucket() Bucket { return k.Environment.sendBucket() }

// A Tally counts the messages to numbers that have something in common, and how
// many of their challenges were verified.
type Tally struct {
	TallyKey
	Sealed      []byte    // Of, sealed; nil in a row of an older release
	Counts      []Count   // oldest first
	PausedUntil time.Time // no messages go there until then; zero: they do
	ExpiresAt   time.Time
}

// A Count is of the messages of one slot of time.
type Count struct {
	At       time.Time // when the slot began
	Sent     int
	Verified int // of those sent in this slot, whenever that was
}

const (
	tallyAll    = "all"
	tallyAbroad = "abroad"

	day        = 24 * time.Hour
	daySlot    = 30 * time.Minute
	prefixSlot = time.Minute
	// settling is how long a code may take to be typed before it counts as one that
	// was not.
	settling = 2 * time.Minute
	// prefixDigits is the length of a prefix. Numbers are rented to pumpers in blocks
	// that share more digits than that. Of a short number it leaves four out.
	prefixDigits = 6
)

// tallies names the tallies that count a message of a production environment to phone.
func (s *Service) tallies(env Environment, phone Phone) []TallyKey {
	number, country := phone.E164(), s.rulesOf(env).countryOf(phone)
	of := []string{number[:min(1+prefixDigits, len(number)-4)], country, tallyAll}
	if country != s.rulesOf(env).Home {
		of = append(of, tallyAbroad)
	}
	keys := make([]TallyKey, len(of))
	for i := range of {
		keys[i] = s.tallyKey(env.ID, of[i])
	}
	return keys
}

// sealName seals what a tally counts, for operators to see.
func (s *Service) sealName(t *Tally) (err error) {
	if t.Sealed, err = s.keys.Load().Seal([]byte(t.Of), t.associated()); err != nil {
		return fmt.Errorf("seal the name of a count: %w", err)
	}
	return nil
}

// Reference is how events name a prefix, which are kept for longer than it is counted:
// by the beginning of its keyed hash.
func (k TallyKey) Reference() string { return "prefix_" + k.Name[:min(12, len(k.Name))] }

// isPrefix reports whether the tally is of a prefix, which can be paused.
func (k TallyKey) isPrefix() bool { return strings.HasPrefix(k.Of, "+") }

func (k TallyKey) slot() time.Duration {
	if k.isPrefix() {
		return prefixSlot
	}
	return daySlot
}

// count counts a message in the tallies that are named by keys and were read into
// tx, or returns a *LimitError. What it finds out about a prefix is written also then.
func (s *Service) count(tx *Tx, keys []TallyKey, sh shipment, events journal) error {
	r := s.rulesOf(sh.env)
	for i, key := range keys {
		if tx.Tallies[i] == nil {
			tx.Tallies[i] = &Tally{TallyKey: key}
			if err := s.sealName(tx.Tallies[i]); err != nil {
				return err
			}
		}
		tx.Tallies[i].forget(r.span(key), sh.now)
	}
	wait := time.Duration(0)
	for _, t := range tx.Tallies {
		if t.isPrefix() {
			if sh.ref.source().proven() {
				continue // its number was proven: a pause is for others
			}
			if err := r.judge(tx, t, sh.now, events); err != nil {
				return err
			}
		} else if most := r.most(t.Of); most > 0 {
			wait = max(wait, t.full(most, sh.now))
		}
	}
	if wait > 0 {
		return &LimitError{Kind: ErrDailyLimit, After: wait}
	}
	for _, t := range tx.Tallies {
		if t.isPrefix() && !sh.judged() {
			continue
		}
		t.add(sh.now, 1)
		t.ExpiresAt = later(t.ExpiresAt, sh.now.Add(r.span(t.TallyKey)))
		if sent, _ := t.Sum(); sent == r.most(t.Of) {
			events.append(tx, Event{Type: DailyLimitReached, Reason: t.Of})
		}
		tx.put(PutTally{t})
	}
	return nil
}

// span is how far back a tally looks: never less than the limit says, for a slot
// counts as a whole.
func (r *smsRules) span(k TallyKey) time.Duration {
	if k.isPrefix() {
		return r.Pumping.Window + prefixSlot
	}
	return day + daySlot
}

// most returns how many messages a tally may count, 0 for those without a limit.
func (r *smsRules) most(of string) int {
	switch of {
	case tallyAll:
		return r.Daily
	case tallyAbroad:
		return r.Abroad
	}
	return 0
}

// judge refuses a message to a prefix that is paused, and pauses one whose codes
// are seldom typed.
func (r *smsRules) judge(tx *Tx, t *Tally, now time.Time, events journal) error {
	if now.Before(t.PausedUntil) {
		return &LimitError{Kind: ErrPrefixPaused, After: t.PausedUntil.Sub(now)}
	}
	if !t.PausedUntil.IsZero() {
		t.PausedUntil, t.Counts = time.Time{}, nil
		tx.put(PutTally{t})
		events.append(tx, Event{Type: PrefixReleased, Reason: t.Reference()})
	}
	sent, verified := t.settled(now)
	if sent < r.Pumping.Sends || float64(verified)/float64(sent) >= r.Pumping.Verified {
		return nil
	}
	t.PausedUntil = now.Add(r.Pumping.Pause)
	t.ExpiresAt = later(t.ExpiresAt, t.PausedUntil.Add(day)) // the first message after it tells that it is over
	tx.put(PutTally{t})
	events.append(tx, Event{Type: PrefixPaused, Reason: t.Reference()})
	return &LimitError{Kind: ErrPrefixPaused, After: r.Pumping.Pause}
}

// settled sums up the slots whose codes had time to be typed.
func (t *Tally) settled(now time.Time) (sent, verified int) {
	for _, c := range t.Counts {
		if now.Sub(c.At) >= settling+prefixSlot {
			sent, verified = sent+c.Sent, verified+c.Verified
		}
	}
	return sent, verified
}

// full returns how long it takes until another message may be sent, 0 if it may now.
func (t *Tally) full(most int, now time.Time) (wait time.Duration) {
	sent, _ := t.Sum()
	over := sent - most + 1
	for _, c := range t.Counts {
		if over <= 0 {
			break
		}
		over -= c.Sent
		wait = c.At.Add(day + daySlot).Sub(now)
	}
	return wait
}

// add changes how many messages were sent at a time.
func (t *Tally) add(at time.Time, n int) {
	slot := at.Truncate(t.slot())
	i, found := t.find(slot)
	if !found {
		t.Counts = slices.Insert(t.Counts, i, Count{At: slot})
	}
	t.Counts[i].Sent += n
}

func (t *Tally) find(slot time.Time) (int, bool) {
	return slices.BinarySearchFunc(t.Counts, slot, func(c Count, at time.Time) int { return c.At.Compare(at) })
}

// uncount takes back what count added for a message, and reports whether there was
// any. judged says whether the message was counted in the tally of its prefix.
func (t *Tally) uncount(at time.Time, judged bool) bool {
	i, found := t.find(at.Truncate(t.slot()))
	if !found || t.Counts[i].Sent == 0 || t.isPrefix() && !judged {
		return false
	}
	t.Counts[i].Sent--
	return true
}

// forget drops the counts of what lies further back than span.
func (t *Tally) forget(span time.Duration, now time.Time) {
	t.Counts = slices.DeleteFunc(t.Counts, func(c Count) bool { return now.Sub(c.At) >= span })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// countVerified counts a challenge of a production environment that was verified,
// where its first message was counted: with its prefix only if the factor was not
// proven before.
func (s *Service) countVerified(ctx context.Context, env Environment, phone Phone, c *Challenge, proven bool) {
	r := Read{Bucket: env.ID.sendBucket(), Tallies: s.tallies(env, phone)}
	err := s.store.Update(context.WithoutCancel(ctx), r, func(tx *Tx) error {
		for _, t := range tx.Tallies {
			if t == nil || t.isPrefix() && proven {
				continue
			}
			if i, found := t.find(c.CreatedAt.Truncate(t.slot())); found {
				t.Counts[i].Verified++
				tx.put(PutTally{t})
			}
		}
		return nil
	})
	if err != nil {
		// The code was right, and is spent. The prefix looks a little worse for it.
		s.opts.Logger.Warn("count a verified message", "challenge", c.ID.String(), "error", err)
	}
}

// Tallies lists what was sent to each prefix and country of an environment of
// late, and how much of it was verified.
func (s *Service) Tallies(ctx context.Context, env Environment) ([]Tally, error) {
	all, err := s.store.Tallies(ctx, env.ID)
	if err != nil {
		return nil, err
	}
	rules, now := s.rulesOf(env), s.now()
	for i := range all {
		if err := s.openName(&all[i]); err != nil {
			return nil, err
		}
		all[i].forget(rules.span(all[i].TallyKey), now)
		if !now.Before(all[i].PausedUntil) {
			all[i].PausedUntil = time.Time{}
		}
	}
	return slices.DeleteFunc(all, func(t Tally) bool { return len(t.Counts) == 0 && t.PausedUntil.IsZero() }), nil
}

func (s *Service) openName(t *Tally) error {
	if t.Sealed == nil {
		t.Of = t.Name // in a row of an older release
		return nil
	}
	of, err := s.keys.Load().Open(t.Sealed, t.associated())
	if err != nil {
		return fmt.Errorf("open the name of a count: %w", err)
	}
	t.Of = string(of)
	return nil
}

// SealTallies seals the names of all tallies under the newest key, and reports whether an
// older release has left some in plain. Call it before messages are sent: the limits do
// not see those. A node of that release may still be counting.
func (s *Service) SealTallies(ctx context.Context) (plain bool, err error) {
	if s.opts.Environments == nil {
		return false, nil
	}
	environments, err := s.opts.Environments(ctx)
	if err != nil {
		return false, err
	}
	for _, env := range environments {
		all, err := s.store.Tallies(ctx, env)
		if err != nil {
			return plain, err
		}
		for i := range all {
			t := &all[i]
			if t.Sealed != nil && !s.keys.Load().Stale(t.Sealed) {
				continue
			}
			plain = plain || t.Sealed == nil
			if err := s.openName(t); err != nil {
				return plain, err
			}
			if err := s.sealTally(ctx, t.TallyKey); err != nil {
				return plain, err
			}
		}
	}
	return plain, nil
}

// sealTally seals the name of a tally again, or moves one with a plain name to its keyed
// hash.
func (s *Service) sealTally(ctx context.Context, stored TallyKey) error {
	key := s.tallyKey(stored.Environment, stored.Of)
	old := TallyKey{Environment: stored.Environment, Name: stored.Name}
	r := Read{Bucket: key.Bucket(), Tallies: []TallyKey{key}}
	if old.Name != key.Name {
		r.Tallies = append(r.Tallies, old)
	}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		t := tx.Tallies[0]
		if len(tx.Tallies) == 2 && tx.Tallies[1] != nil {
			if t == nil {
				t = &Tally{TallyKey: key}
			}
			t.merge(tx.Tallies[1])
			tx.put(DeleteTally{old})
		}
		if t == nil {
			return nil // it has expired, or another node was faster
		}
		if err := s.sealName(t); err != nil {
			return err
		}
		tx.put(PutTally{t})
		return nil
	})
}

// merge adds what another tally has counted of the same.
func (t *Tally) merge(other *Tally) {
	for _, c := range other.Counts {
		t.add(c.At, c.Sent)
		i, _ := t.find(c.At.Truncate(t.slot()))
		t.Counts[i].Verified += c.Verified
	}
	t.PausedUntil, t.ExpiresAt = later(t.PausedUntil, other.PausedUntil), later(t.ExpiresAt, other.ExpiresAt)
}

// PumpingWindow returns the span of time over which the prefixes of an environment are
// judged.
func (s *Service) PumpingWindow(env Environment) time.Duration { return s.rulesOf(env).Pumping.Window }

// ReleasePrefix ends the pause of a prefix, "+491512", for an operator. What was
// sent there before is forgotten. It reports whether the prefix was paused.
func (s *Service) ReleasePrefix(ctx context.Context, env Environment, prefix string) (bool, error) {
	now := s.now()
	key := s.tallyKey(env.ID, prefix)
	events, err := s.journal(env.ID, now, key.Bucket())
	if err != nil {
		return false, err
	}
	released := false
	err = s.store.Update(ctx, Read{Bucket: key.Bucket(), Tallies: []TallyKey{key}}, func(tx *Tx) error {
		t := tx.Tallies[0]
		if released = t != nil && now.Before(t.PausedUntil); !released {
			return nil
		}
		t.PausedUntil, t.Counts = time.Time{}, nil
		tx.put(PutTally{t})
		events.append(tx, Event{Type: PrefixReleased, Reason: key.Reference()})
		return nil
	})
	return released, err
}

// Sum adds up all counts.
func (t *Tally) Sum() (sent, verified int) {
	for _, c := range t.Counts {
		sent, verified = sent+c.Sent, verified+c.Verified
	}
	return sent, verified
}

// EncodeCounts writes counts as stores keep them: 16 bytes each, the time in
// milliseconds and two numbers.
func EncodeCounts(counts []Count) []byte {
	b := make([]byte, 0, 16*len(counts))
	for _, c := range counts {
		b = binary.BigEndian.AppendUint64(b, uint64(c.At.UnixMilli()))
		b = binary.BigEndian.AppendUint32(b, uint32(c.Sent))
		b = binary.BigEndian.AppendUint32(b, uint32(c.Verified))
	}
	return b
}

// DecodeCounts reads what EncodeCounts wrote.
func DecodeCounts(b []byte) ([]Count, error) {
	if len(b)%16 != 0 {
		return nil, fmt.Errorf("counts: %d bytes are no whole number of records", len(b))
	}
	counts := make([]Count, 0, len(b)/16)
	for ; len(b) > 0; b = b[16:] {
		counts = append(counts, Count{
			At:       time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(),
			Sent:     int(binary.BigEndian.Uint32(b[8:])),
			Verified: int(binary.BigEndian.Uint32(b[12:])),
		})
	}
	return counts, nil
}
