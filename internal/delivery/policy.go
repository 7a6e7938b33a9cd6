package delivery

import (
	"errors"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A Policy decides about the messages of all environments: where they go, how many, and in
// which words. It is safe for concurrent use.
type Policy struct {
	opts  Options
	rules map[string]*ruleset // by the name of an environment; "" has the rules of all other environments
}

// Options say what a Policy allows; zero fields take their defaults.
type Options struct {
	Limits  Limits
	Rules   Rules            // of all environments that RulesOf does not name
	RulesOf map[string]Rules // by the name of an environment, in place of Rules
	Sender  Sender           // of production environments; nil: they send no messages
	Sandbox Sender           // of sandboxes, does not deliver; nil: sandboxes send only to test numbers
	Timeout time.Duration    // for handing over one message; default 12 s
}

// NewPolicy returns a Policy, or the faults of its options.
func NewPolicy(opts Options) (*Policy, error) {
	var err error
	if opts.Limits, err = opts.Limits.WithDefaults(); err != nil {
		return nil, err
	}
	rules, err := compileAll(opts.Rules, opts.RulesOf)
	if err != nil {
		return nil, err
	}
	if opts.Timeout == 0 {
		opts.Timeout = 12 * time.Second
	}
	if opts.Timeout < 0 {
		return nil, errors.New("the time for handing over a message must be positive")
	}
	return &Policy{opts, rules}, nil
}

// of returns the rules for the messages of an environment.
func (p *Policy) of(env ids.Environment) *ruleset {
	if r, ok := p.rules[env.Name]; ok {
		return r
	}
	return p.rules[""]
}

// Timeout returns how long handing over one message may take.
func (p *Policy) Timeout() time.Duration { return p.opts.Timeout }

// Keys name all rows that count the messages to a phone number. All are in Bucket.
type Keys struct {
	Bucket   ids.Bucket
	Phone    PhoneKey
	Counters []CounterKey // of a production environment
	Country  string       // of the number, by ISO 3166-1; "ZZ" if it is unknown
	Prefix   string       // the reference of the number's prefix; "" in a sandbox
}

// Keys returns the keys of the rows that count a message from env to phone.
func (p *Policy) Keys(keys *secret.Keyset, env ids.Environment, phone Phone) Keys {
	r := p.of(env)
	k := Keys{Bucket: bucketOf(env.ID), Phone: newPhoneKey(keys, env.ID, phone), Country: r.countryOf(phone)}
	if env.Production {
		k.Counters = r.counters(keys, env.ID, phone, k.Country)
		k.Prefix = k.Counters[0].Reference()
	}
	return k
}

// Rows are the rows of Keys; nil means that the row is not stored.
type Rows struct {
	Phone    *PhoneLimit
	Counters []*Counter // in the order of the keys
}

// Changes are the rows to store, and the notices for the log of events.
type Changes struct {
	Phone    *PhoneLimit // nil: unchanged
	Counters []*Counter
	Notices  []Notice
}

// A Notice reports a change of a limit.
type Notice struct {
	Kind   NoticeKind
	Reason string // the reference of a prefix, or the name of the counter
}

// A NoticeKind is the kind of a Notice.
type NoticeKind string

// The kinds of notices.
const (
	PrefixPaused      NoticeKind = "prefix_paused"
	PrefixReleased    NoticeKind = "prefix_released"
	DailyLimitReached NoticeKind = "daily_limit_reached"
)

// An Entry is a message to count.
type Entry struct {
	Ref   Ref
	Keep  time.Duration // how long another request with Ref is not counted
	First bool          // the first message of its challenge
}

// isJudged reports whether the message counts for the prefix of its number: prefixes are
// judged by the first messages of factors that are not proven.
func (e Entry) isJudged() bool { return e.First && !e.Ref.Source().IsProven() }

// Reserve counts a message at now in rows, which k names, or returns a *LimitError. It
// returns the time at which the message was counted: an earlier one if the same request was
// counted before. The pause and the release of a prefix are changes to store in both cases.
func (p *Policy) Reserve(keys *secret.Keyset, env ids.Environment, k Keys, rows Rows, e Entry, now time.Time) (at time.Time, c Changes, err error) {
	limit := rows.Phone
	if limit == nil {
		limit = &PhoneLimit{Bucket: k.Bucket, Key: k.Phone}
	}
	at, counted, err := limit.reserve(e.Ref, e.Keep, p.opts.Limits, now)
	if err != nil {
		return at, c, err
	}
	if counted && env.Production {
		if err := p.of(env).count(keys, &c, k.Counters, rows.Counters, e, now); err != nil {
			return at, c, err
		}
	}
	c.Phone = limit
	return at, c, nil
}

// count counts a message in all, the counters of keys, or returns a *LimitError.
func (r *ruleset) count(keyset *secret.Keyset, c *Changes, keys []CounterKey, all []*Counter, e Entry, now time.Time) error {
	for i, key := range keys {
		if all[i] == nil {
			all[i] = &Counter{CounterKey: key}
			if err := all[i].Seal(keyset); err != nil {
				return err
			}
		}
		all[i].forget(key.span(r.Pumping.Window), now)
	}
	wait := time.Duration(0)
	for _, counter := range all {
		if counter.IsPrefix() {
			if e.Ref.Source().IsProven() {
				continue // a pause does not apply to a proven number
			}
			if err := r.judge(c, counter, now); err != nil {
				return err
			}
		} else if most := r.most(counter.Of); most > 0 {
			wait = max(wait, counter.full(most, now))
		}
	}
	if wait > 0 {
		return &LimitError{Kind: ErrDailyLimit, After: wait}
	}
	for _, counter := range all {
		if counter.IsPrefix() && !e.isJudged() {
			continue
		}
		counter.add(now, 1)
		counter.ExpiresAt = later(counter.ExpiresAt, now.Add(counter.span(r.Pumping.Window)))
		if sent, _ := counter.Sum(); sent == r.most(counter.Of) {
			c.Notices = append(c.Notices, Notice{DailyLimitReached, counter.Of})
		}
		c.Counters = append(c.Counters, counter)
	}
	return nil
}

// most returns the limit of a counter, 0 for a counter without a limit.
func (r *ruleset) most(of string) int {
	switch of {
	case countAll:
		return r.Daily
	case countAbroad:
		return r.Abroad
	}
	return 0
}

// Wait returns the *LimitError that Reserve would return for a message from a source at now, or nil. It
// changes rows, which the caller must not store. A prefix that Reserve would pause counts as
// not paused.
func (p *Policy) Wait(env ids.Environment, rows Rows, from Source, now time.Time) *LimitError {
	if rows.Phone != nil {
		if wait := rows.Phone.wait(from, p.opts.Limits, now); wait > 0 {
			return &LimitError{Kind: ErrSendLimit, After: wait}
		}
	}
	rules := p.of(env)
	for _, counter := range rows.Counters {
		switch {
		case counter == nil:
		case counter.IsPrefix():
			if now.Before(counter.PausedUntil) && !from.IsProven() {
				return &LimitError{Kind: ErrPrefixPaused, After: counter.PausedUntil.Sub(now)}
			}
		case rules.most(counter.Of) > 0:
			counter.forget(counter.span(rules.Pumping.Window), now)
			if wait := counter.full(rules.most(counter.Of), now); wait > 0 {
				return &LimitError{Kind: ErrDailyLimit, After: wait}
			}
		}
	}
	return nil
}

// DailyKeys returns the keys of the counters of an environment that have a daily limit.
func (p *Policy) DailyKeys(keys *secret.Keyset, env ids.EnvironmentID) []CounterKey {
	return []CounterKey{NewCounterKey(keys, env, countAll), NewCounterKey(keys, env, countAbroad)}
}

// DailyUse returns the largest used share of the daily limits of an environment at now: 1 if no
// further message of that kind may be sent. counters are the rows of DailyKeys, nil for a missing one.
// DailyUse changes them, and the caller must not store them.
func (p *Policy) DailyUse(env ids.Environment, counters []*Counter, now time.Time) (used float64) {
	rules := p.of(env)
	for _, counter := range counters {
		if counter == nil {
			continue
		}
		if most := rules.most(counter.Of); most > 0 {
			counter.forget(counter.span(rules.Pumping.Window), now)
			sent, _ := counter.Sum()
			used = max(used, float64(sent)/float64(most))
		}
	}
	return used
}

// judge refuses a message to a paused prefix, and pauses a prefix whose codes are rarely
// entered.
func (r *ruleset) judge(c *Changes, prefix *Counter, now time.Time) error {
	if now.Before(prefix.PausedUntil) {
		return &LimitError{Kind: ErrPrefixPaused, After: prefix.PausedUntil.Sub(now)}
	}
	if !prefix.PausedUntil.IsZero() {
		prefix.PausedUntil, prefix.Counts = time.Time{}, nil
		c.Counters = append(c.Counters, prefix)
		c.Notices = append(c.Notices, Notice{PrefixReleased, prefix.Reference()})
	}
	sent, verified := prefix.settled(now)
	if sent < r.Pumping.Sends || float64(verified)/float64(sent) >= r.Pumping.Verified {
		return nil
	}
	prefix.PausedUntil = now.Add(r.Pumping.Pause)
	prefix.ExpiresAt = later(prefix.ExpiresAt, prefix.PausedUntil.Add(day)) // the first message after the pause appends an event
	c.Counters = append(c.Counters, prefix)
	c.Notices = append(c.Notices, Notice{PrefixPaused, prefix.Reference()})
	return &LimitError{Kind: ErrPrefixPaused, After: r.Pumping.Pause}
}

// Uncount undoes Reserve for a message that was not sent; why is nil or the error of its
// store or sender, and at is the result of Reserve. A message that may have been sent, or
// whose number was refused, stays counted, but not against its prefix, because no user can
// enter its code: another try is another message.
//
// earlier is the name that the next request with the same key has; it may be e.Ref. The next
// request is then counted, although messages were counted under that name before.
func (p *Policy) Uncount(rows Rows, e Entry, at time.Time, why error, earlier Ref) (c Changes) {
	if rows.Phone == nil {
		return c
	}
	stays := errors.Is(why, ErrUncertain) || errors.Is(why, ErrRecipientRefused)
	change := rows.Phone.giveBack
	if stays {
		change = rows.Phone.keepFor
	}
	if !change(e.Ref, at) {
		return c
	}
	if earlier != e.Ref {
		rows.Phone.keepEarlier(earlier, at, e.Keep)
	}
	c.Phone = rows.Phone
	for _, counter := range rows.Counters {
		if counter == nil || counter.IsPrefix() && !e.isJudged() || !counter.IsPrefix() && stays {
			continue
		}
		if counter.uncount(at) {
			c.Counters = append(c.Counters, counter)
		}
	}
	return c
}

// CountVerified counts a verified challenge that was created at a time in the counters of
// its first message. The counter of the prefix counts it only for an unproven source.
func (p *Policy) CountVerified(counters []*Counter, s Source, created time.Time) (c Changes) {
	for _, counter := range counters {
		if counter == nil || counter.IsPrefix() && s.IsProven() {
			continue
		}
		if i, found := counter.find(created.Truncate(counter.slot())); found {
			counter.Counts[i].Verified++
			c.Counters = append(c.Counters, counter)
		}
	}
	return c
}
