package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Query asks for events of one environment, oldest first unless Newest is set. Zero fields do not restrict it.
type Query struct {
	Environment mfa.EnvironmentID
	After       mfa.EventID // only events after this position in the direction of reading; zero: from the first
	Since       time.Time   // only events with At at or after it
	Until       time.Time   // only events with At before it
	Types       []mfa.EventType
	Factor      mfa.FactorID
	Challenge   mfa.ChallengeID
	User        string
	Caller      string // "key_…" or "operator:NAME"
	Limit       int    // the largest number of events; 0 means 100, more than 1,000 means 1,000
	Newest      bool   // newest first, and only events before After; zero: from the newest event

	// Search is how long List goes on reading while it finds too few events; 0 means 10 s.
	Search time.Duration

	WithoutPersons bool // the store reads no personal data; then User must be ""
}

// The limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Matches reports whether the query asks for e, apart from After and User. Of User, it
// compares only the bucket.
func (q *Query) Matches(e *mfa.Event) bool {
	switch {
	case e.Environment != q.Environment,
		!q.Since.IsZero() && e.At.Before(q.Since),
		!q.Until.IsZero() && !e.At.Before(q.Until),
		len(q.Types) > 0 && !slices.Contains(q.Types, e.Type),
		q.Factor != mfa.FactorID{} && e.Factor != q.Factor,
		q.Challenge != mfa.ChallengeID{} && e.Challenge != q.Challenge,
		q.Caller != "" && e.Caller != q.Caller,
		q.User != "" && e.ID.Bucket() != mfa.UserBucket(q.Environment, q.User):
		return false
	}
	return true
}

// IsFiltered reports whether the query leaves out some of the events in its Range.
func (q *Query) IsFiltered() bool {
	return !q.Since.IsZero() || !q.Until.IsZero() || len(q.Types) > 0 || q.Factor != mfa.FactorID{} ||
		q.Challenge != mfa.ChallengeID{} || q.User != "" || q.Caller != ""
}

// MaxSkew is the largest difference between At of an event and the time in its id that
// queries with Since or Until allow for.
const MaxSkew = time.Hour

// Range returns the positions between which all events of the query are: after from, and
// before to.
func (q *Query) Range() (from, to mfa.EventID) {
	for i := range to {
		to[i] = 0xff
	}
	if from = q.After; q.Newest {
		from = mfa.EventID{}
		if q.After != (mfa.EventID{}) {
			to = q.After
		}
	}
	later := func(t time.Time) {
		if id := mfa.FirstEventAt(t.Add(-MaxSkew)); id.Compare(from) > 0 {
			from = id
		}
	}
	if !q.Since.IsZero() {
		later(q.Since)
	}
	if q.Factor != (mfa.FactorID{}) {
		later(mfa.TimeOf(q.Factor))
	}
	if q.Challenge != (mfa.ChallengeID{}) {
		later(mfa.TimeOf(q.Challenge))
	}
	if !q.Until.IsZero() {
		if id := mfa.FirstEventAt(q.Until.Add(MaxSkew)); id.Compare(to) < 0 {
			to = id
		}
	}
	return from, to
}

// A Log keeps events: the stores implement it. storetest.Run states its promises.
type Log interface {
	// ReadEvents returns a page of the events that q asks for. It looks at a limited number
	// of events: a page may have fewer events than q.Limit, or none, although More is set.
	ReadEvents(ctx context.Context, q Query) (RawPage, error)

	// ReadSubject returns the events of a subject, which it finds by their keys. It returns
	// q.Limit events if there are as many; More says whether there are further ones. If it
	// reads oldest first, and there are no further ones, Last is the position of the newest
	// readable event of the environment.
	ReadSubject(ctx context.Context, q SubjectQuery) (RawPage, error)

	// FactorsOf returns the factors of a user: the stored ones, and the deleted ones that are
	// kept under person, which may be zero.
	FactorsOf(ctx context.Context, user mfa.UserKey, person mfa.PersonKey) ([]mfa.FactorID, error)
}

// A RawPage is a Page as the store has it.
type RawPage struct {
	Events []RawEvent
	Last   mfa.EventID
	More   bool
}

// A RawEvent is an event with the personal data that the store still has.
type RawEvent struct {
	mfa.Event
	User    string             // the user of its factor; "" without a factor or if the factor was deleted
	Deleted *mfa.DeletedFactor // its factor, if it was deleted and the user is known; or nil
	Context *mfa.EventContext  // nil if it has no context
}

// A Page is a part of the events that a Query asks for.
type Page struct {
	Events []Event
	Last   mfa.EventID // the position up to which this page has looked: the next page is after it
	More   bool        // whether there may be further events now
}

// An Event is an event with its personal data.
type Event struct {
	mfa.Event
	User      string // "" if it concerns no user, or the user was erased
	IPAddress string // of the end user; "" if the caller did not pass it, or it was erased
	UserAgent string // likewise
}

// ParseCursor reads the id of an event as clients send it. The error is an *mfa.InvalidError
// for the field after.
func ParseCursor(s string) (mfa.EventID, error) {
	id, ok := mfa.ParseEventID(s)
	if !ok {
		return id, &mfa.InvalidError{Fields: []mfa.FieldError{
			{Field: "after", Code: "invalid_cursor", Message: "after must be the id of an event, such as event_01FZ4WRNQ7S9GT4BJBMN9KQKVC"},
		}}
	}
	return id, nil
}

// A Service reads events and opens their personal data. It is safe for concurrent use.
type Service struct {
	log   Log
	opts  Options
	feeds feeds
}

// Options change how a Service works; zero fields take their defaults.
type Options struct {
	Keys   func() *secret.Keyset // opens personal data; without it, only the users of stored factors are known
	Poll   time.Duration         // how often Follow looks for new events; default 100 ms
	Logger *slog.Logger          // default slog.Default()

	Retention time.Duration    // how long events are kept, for Check; default 400 days
	Now       func() time.Time // default time.Now
}

// NewService returns a Service over log; zero Options are ready to use.
func NewService(log Log, opts Options) *Service {
	if opts.Keys == nil {
		opts.Keys = func() *secret.Keyset { return nil }
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Retention == 0 {
		opts.Retention = 400 * 24 * time.Hour
	}
	opts.Now = wallclock.Or(opts.Now)
	if opts.Poll == 0 {
		opts.Poll = 100 * time.Millisecond
	}
	return &Service{log: log, opts: opts}
}

// maxSearch is the default of Query.Search.
const maxSearch = 10 * time.Second

// BriefSearch is the Query.Search of pages that people wait for. A store looks at some thousand
// events in this time, and at least once at a part of them.
const BriefSearch = 40 * time.Millisecond

// List returns the next page of the events that q asks for. It finds the events of a factor,
// a challenge or a user by key. Otherwise a page may have fewer events than q.Limit, or none,
// although More is set: a query for rare events would take as long as the log is.
func (s *Service) List(ctx context.Context, q Query) (Page, error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxLimit)
	search := cmp.Or(q.Search, maxSearch)
	read := s.log.ReadEvents
	of, ok, err := s.subject(ctx, &q)
	switch {
	case err != nil:
		return Page{}, fmt.Errorf("read events: %w", err)
	case ok:
		read = func(ctx context.Context, q Query) (RawPage, error) { return s.readSubject(ctx, of, q) }
	}
	page := Page{Last: q.After}
	searching := wallclock.Start()
	for limit := q.Limit; ; {
		q.After, q.Limit = page.Last, limit-len(page.Events)
		raw, err := read(ctx, q)
		if err != nil {
			return Page{}, fmt.Errorf("read events: %w", err)
		}
		page.Last, page.More = raw.Last, raw.More
		for _, r := range raw.Events {
			e := s.open(r)
			if q.User == "" || e.User == q.User {
				page.Events = append(page.Events, e)
			}
		}
		if !page.More || len(page.Events) == limit || searching.Elapsed() >= search {
			return page, nil
		}
		if err := ctx.Err(); err != nil {
			return Page{}, err
		}
	}
}

// open opens the personal data of an event. Data that does not open is left out: a reader
// would otherwise never get past the event.
func (s *Service) open(r RawEvent) Event {
	e := Event{Event: r.Event, User: r.User}
	keys := s.opts.Keys()
	if keys == nil {
		return e
	}
	var errs [2]error
	if r.Deleted != nil {
		e.User, errs[0] = r.Deleted.User(keys)
	}
	if r.Context != nil {
		var data mfa.PersonalData
		data, errs[1] = r.Context.Open(keys)
		e.User = cmp.Or(e.User, data.User)
		e.IPAddress, e.UserAgent = data.IPAddress, data.UserAgent
	}
	if err := errors.Join(errs[:]...); err != nil {
		s.opts.Logger.Error("open the personal data of an event", "event", r.ID.String(), "error", err)
	}
	return e
}
