package stats

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Reader answers queries from the counts. It is safe for concurrent use.
type Reader struct {
	store  Store
	log    events.Log
	prices Prices
	now    func() time.Time
}

// NewReader returns a Reader. prices may be empty; now nil means time.Now.
func NewReader(store Store, log events.Log, prices Prices, now func() time.Time) *Reader {
	return &Reader{store, log, prices, wallclock.Or(now)}
}

// Stats are counts of events, by period.
type Stats struct {
	Since, Until time.Time // the beginning of the first period, and the end of the last
	Step         Step
	CountedTo    time.Time // all events before are counted
	Total        Activity
	Periods      []Period // each period, also without events, oldest first
}

// A Period has the counts of one step.
type Period struct {
	Start, End time.Time
	Activity
}

// Activity has counts of events.
type Activity struct {
	Numbers
	Types   []TypeNumbers // by type of factor, sorted by name
	Reasons []Reason      // of wrong, refused and voided challenges, the most frequent first
	Events  []EventCount  // all types of event, sorted by name
}

// Numbers are the counts of the events that matter most.
type Numbers struct {
	Enrolled   int64
	Deleted    int64
	Challenges int64 // created
	Right      int64 // codes
	Wrong      int64 // codes
	Refused    int64 // events of refused codes: many refused codes of one challenge leave few events
	Voided     int64 // challenges whose message could not be sent
	Locked     int64 // locks of factors and users
	Unlocked   int64 // by operators
	Suspended  int64
	Resumed    int64
	Bypasses   int64 // bypass codes that operators issued
	Bypassed   int64 // bypass codes that were used
}

// TypeNumbers are the counts of one type of factor.
type TypeNumbers struct {
	Type mfa.FactorType // "" for events of an older release
	Numbers
}

// A Reason says how often a code failed for a reason.
type Reason struct {
	Event  mfa.EventType // ChallengeFailed, ChallengeRefused or ChallengeVoided
	Type   mfa.FactorType
	Reason string // "wrong_code", "expired", …
	Count  int64
}

// An EventCount is the number of events of a type.
type EventCount struct {
	Event mfa.EventType
	Count int64
}

// Stats returns the counts of the events of an environment. The error of a wrong query is an
// *mfa.InvalidError.
func (r *Reader) Stats(ctx context.Context, env mfa.EnvironmentID, q Query) (Stats, error) {
	s, err := spanOf(q, r.now())
	if err != nil {
		return Stats{}, err
	}
	answer := Stats{Since: s.starts[0], Until: s.end, Step: s.query.Step, Periods: make([]Period, len(s.starts))}
	if answer.CountedTo, err = r.countedTo(ctx, env); err != nil {
		return Stats{}, err
	}
	rows, err := r.store.Statistics(ctx, env, Events, s.starts[0], s.end)
	if err != nil {
		return Stats{}, err
	}
	total, sums := make(counts), make([]counts, len(s.starts))
	i := 0
	for _, row := range rows {
		i = s.period(row.Start, i)
		if sums[i] == nil {
			sums[i] = make(counts)
		}
		if err := sums[i].sum(row.Counts); err != nil {
			return Stats{}, err
		}
	}
	for i, sum := range sums {
		for g, n := range sum {
			total.plus(string(g), n)
		}
		answer.Periods[i] = Period{s.starts[i], s.endOf(i), activity(sum)}
	}
	answer.Total = activity(total)
	return answer, nil
}

// countedTo returns the time before which all events are counted: now, or that of the first
// event that is not counted.
func (r *Reader) countedTo(ctx context.Context, env mfa.EnvironmentID) (time.Time, error) {
	at, err := r.store.Position(ctx, env)
	if err != nil {
		return time.Time{}, err
	}
	page, err := r.log.ReadEvents(ctx, events.Query{Environment: env, After: at.At, Limit: 1, WithoutPersons: true})
	if err != nil || len(page.Events) == 0 {
		return r.now().UTC(), err
	}
	return page.Events[0].At, nil
}

// sum adds the encoded counts of a row.
func (c counts) sum(row []byte) error {
	return each(row, func(name []byte, n *numbers) {
		if have := c[group(name)]; have != nil {
			have.add(n)
			return
		}
		copied := *n
		c[group(name)] = &copied
	})
}

// plus adds numbers to a group.
func (c counts) plus(name string, n *numbers) {
	if have := c[group(name)]; have != nil {
		have.add(n)
		return
	}
	copied := *n
	c[group(name)] = &copied
}

// field returns the number that counts a type of event; nil for other types.
func (n *Numbers) field(t mfa.EventType) *int64 {
	switch t {
	case mfa.FactorEnrolled:
		return &n.Enrolled
	case mfa.FactorDeleted:
		return &n.Deleted
	case mfa.ChallengeCreated:
		return &n.Challenges
	case mfa.ChallengeSucceeded:
		return &n.Right
	case mfa.ChallengeFailed:
		return &n.Wrong
	case mfa.ChallengeRefused:
		return &n.Refused
	case mfa.ChallengeVoided:
		return &n.Voided
	case mfa.FactorLocked, mfa.UserLocked:
		return &n.Locked
	case mfa.FactorUnlocked, mfa.UserUnlocked:
		return &n.Unlocked
	case mfa.FactorSuspended:
		return &n.Suspended
	case mfa.FactorResumed:
		return &n.Resumed
	case mfa.BypassCreated:
		return &n.Bypasses
	case mfa.BypassUsed:
		return &n.Bypassed
	}
	return nil
}

// activity returns the counts of the series Events.
func activity(c counts) Activity {
	var a Activity
	types, all := map[mfa.FactorType]*Numbers{}, map[mfa.EventType]int64{}
	for g, n := range c {
		name, kind, reason := g.words()
		event, typ := mfa.EventType(name), mfa.FactorType(kind)
		all[event] += n[0]
		field := a.field(event)
		if field == nil {
			continue
		}
		*field += n[0]
		if types[typ] == nil {
			types[typ] = new(Numbers)
		}
		*types[typ].field(event) += n[0]
		if reason != "" {
			a.Reasons = append(a.Reasons, Reason{event, typ, reason, n[0]})
		}
	}
	for typ, n := range types {
		a.Types = append(a.Types, TypeNumbers{typ, *n})
	}
	for event, n := range all {
		a.Events = append(a.Events, EventCount{event, n})
	}
	slices.SortFunc(a.Types, func(x, y TypeNumbers) int { return cmp.Compare(x.Type, y.Type) })
	slices.SortFunc(a.Events, func(x, y EventCount) int { return cmp.Compare(x.Event, y.Event) })
	slices.SortFunc(a.Reasons, func(x, y Reason) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Event, y.Event), cmp.Compare(x.Reason, y.Reason), cmp.Compare(x.Type, y.Type))
	})
	return a
}

// MessageStats are counts of messages.
type MessageStats struct {
	Since, Until time.Time
	Step         Step
	CountedTo    time.Time
	Total        Messages
	Periods      []MessagePeriod
	Routes       []RouteMessages // by country and provider, the most messages first

	// Prefixes are the 100 prefixes with the most messages. They are nil if the query is for
	// more than 31 days.
	Prefixes []PrefixMessages
}

// A MessagePeriod has the messages of one step.
type MessagePeriod struct {
	Start, End time.Time
	Messages
}

// Messages are counts of messages, and their cost. A message counts in the hour in which its
// challenge was created, and so do its receipts and its code.
type Messages struct {
	Sent        int64 // a provider accepted them
	Delivered   int64 // a receipt says that the phone has them
	Undelivered int64 // a receipt says that the carrier could not deliver them
	Failed      int64 // no provider accepted them, or no carrier
	Verified    int64 // challenges whose code was entered
	Segments    int64 // of sent messages: carriers charge each segment
	Costs       []Money
	Unpriced    int64 // segments whose price is not known; their cost is missing in Costs
}

// RouteMessages are the messages of one country and provider.
type RouteMessages struct {
	Country  string // by ISO 3166-1; "ZZ" if it is unknown, "" for messages of an older release
	Provider string // "" if no provider accepted the messages
	Messages
}

// PrefixMessages are the messages to one prefix of phone numbers. Their cost is not counted.
type PrefixMessages struct {
	Reference string // the name of the prefix in events
	Prefix    string // "+491512", if it is known: see operator.Service.SMSStats
	Country   string
	Messages
}

const (
	maxPrefixSpan   = 31*24*time.Hour + 2*time.Hour // a month, also if the clocks change
	largestPrefixes = 100
)

// Messages returns the counts of the messages of an environment.
func (r *Reader) Messages(ctx context.Context, env mfa.Environment, q Query) (MessageStats, error) {
	s, err := spanOf(q, r.now())
	if err != nil {
		return MessageStats{}, err
	}
	answer := MessageStats{Since: s.starts[0], Until: s.end, Step: s.query.Step, Periods: make([]MessagePeriod, len(s.starts))}
	if answer.CountedTo, err = r.countedTo(ctx, env.ID); err != nil {
		return MessageStats{}, err
	}
	rows, err := r.store.Statistics(ctx, env.ID, SMS, s.starts[0], s.end)
	if err != nil {
		return MessageStats{}, err
	}
	for i := range answer.Periods {
		answer.Periods[i].Start, answer.Periods[i].End = s.starts[i], s.endOf(i)
	}
	prices := r.prices
	if !env.Production {
		prices = free // the messages of a sandbox reach no provider
	}
	routes := map[group]*Messages{}
	i := 0
	for _, row := range rows {
		i = s.period(row.Start, i)
		err := each(row.Counts, func(name []byte, n *numbers) {
			route := routes[group(name)]
			if route == nil {
				route = new(Messages)
				routes[group(name)] = route
			}
			provider, country, _ := group(name).words()
			cost, known := prices.cost(provider, country, n[segments], row.Start)
			for _, m := range []*Messages{&answer.Total, &answer.Periods[i].Messages, route} {
				m.add(n, cost, known)
			}
		})
		if err != nil {
			return MessageStats{}, err
		}
	}
	for g, m := range routes {
		provider, country, _ := g.words()
		answer.Routes = append(answer.Routes, RouteMessages{country, provider, *m})
	}
	slices.SortFunc(answer.Routes, func(x, y RouteMessages) int {
		return cmp.Or(cmp.Compare(y.Sent+y.Failed, x.Sent+x.Failed), cmp.Compare(x.Country, y.Country), cmp.Compare(x.Provider, y.Provider))
	})
	if s.end.Sub(s.starts[0]) <= maxPrefixSpan {
		answer.Prefixes, err = r.prefixes(ctx, env.ID, &s)
	}
	return answer, err
}

// add adds the numbers of a row, and the cost of its segments if it is known.
func (m *Messages) add(n *numbers, cost Money, known bool) {
	m.Sent += n[sent]
	m.Delivered += n[delivered]
	m.Undelivered += n[undelivered]
	m.Failed += n[failed]
	m.Verified += n[verified]
	m.Segments += n[segments]
	switch {
	case !known:
		m.Unpriced += n[segments]
	case cost.Currency != "":
		m.Costs = addMoney(m.Costs, cost)
	}
}

// prefixes returns the prefixes with the most messages.
func (r *Reader) prefixes(ctx context.Context, env mfa.EnvironmentID, s *span) ([]PrefixMessages, error) {
	rows, err := r.store.Statistics(ctx, env, Prefixes, s.starts[0], s.end)
	if err != nil {
		return nil, err
	}
	sums := make(counts)
	for _, row := range rows {
		if err := sums.sum(row.Counts); err != nil {
			return nil, err
		}
	}
	all := make([]PrefixMessages, 0, len(sums))
	for g, n := range sums {
		reference, country, _ := g.words()
		p := PrefixMessages{Reference: reference, Country: country}
		p.add(n, Money{}, true)
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y PrefixMessages) int {
		return cmp.Or(cmp.Compare(y.Sent+y.Failed, x.Sent+x.Failed), cmp.Compare(x.Reference, y.Reference))
	})
	return all[:min(len(all), largestPrefixes)], nil
}

// Coverage says how many users of an environment have factors. Users are counted in a walk over
// all factors: each user once, as of a moment between Began and Ended. Suspended factors do
// not count.
type Coverage struct {
	Began, Ended time.Time // zero if no walk has ended yet
	Users        int64     // with a factor
	None         int64     // of these, all factors are suspended
	One          int64     // one factor
	TwoOrMore    int64
	Resistant    int64       // at least one that resists phishing
	Recovery     int64       // recovery codes, which count as no factor in One and TwoOrMore
	Types        []TypeUsers // sorted by name
	History      []Coverage  // the last count of each UTC day, oldest first, up to 93 days; without History
}

// TypeUsers is the number of users with a factor of a type.
type TypeUsers struct {
	Type  mfa.FactorType
	Users int64
}

const historyDays = 93

// Coverage returns the newest count of the users of an environment.
func (r *Reader) Coverage(ctx context.Context, env mfa.EnvironmentID) (Coverage, error) {
	now := r.now()
	since := HourOf(now.AddDate(0, 0, -historyDays))
	rows, err := r.store.Statistics(ctx, env, Holders, since, now.Add(time.Hour))
	if err == nil && len(rows) == 0 { // no server ran for a long time
		rows, err = r.store.Statistics(ctx, env, Holders, time.Unix(0, 0), since)
	}
	if err != nil || len(rows) == 0 {
		return Coverage{}, err
	}
	var days []Coverage
	for i, row := range rows {
		if i+1 < len(rows) && day(rows[i+1].Start).Equal(day(row.Start)) {
			continue
		}
		c, err := coverageOf(row)
		if err != nil {
			return Coverage{}, err
		}
		days = append(days, c)
	}
	newest := days[len(days)-1]
	newest.History = days
	return newest, nil
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func coverageOf(row Row) (c Coverage, err error) {
	err = each(row.Counts, func(name []byte, n *numbers) {
		switch g := group(name); g {
		case groupUsers:
			c.Users = n[0]
		case groupNone:
			c.None = n[0]
		case groupOne:
			c.One = n[0]
		case groupMore:
			c.TwoOrMore = n[0]
		case groupResistant:
			c.Resistant = n[0]
		case groupBegan:
			c.Began = time.UnixMilli(n[0]).UTC()
		case groupEnded:
			c.Ended = time.UnixMilli(n[0]).UTC()
		default:
			if what, typ, _ := g.words(); what == "type" {
				c.Types = append(c.Types, TypeUsers{mfa.FactorType(typ), n[0]})
				if mfa.FactorType(typ).IsRecovery() {
					c.Recovery += n[0]
				}
			}
		}
	})
	return c, err
}

// PrefixOf returns the prefixes that the counters of messages name, by their references.
func PrefixOf(all []delivery.Counter) map[string]string {
	found := make(map[string]string)
	for _, c := range all {
		if c.IsPrefix() {
			found[c.Reference()] = c.Of
		}
	}
	return found
}
