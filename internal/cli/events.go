package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
)

type eventsCommand struct {
	List   listEvents   `cmd:"" help:"Show the newest events, or count them."`
	Tail   tailEvents   `cmd:"" help:"Show new events as they happen."`
	Export exportEvents `cmd:"" help:"Write events for another program: JSON Lines, OCSF, CEF or CSV."`
}

func (eventsCommand) Help() string {
	return `Who has been guessing codes since yesterday:

  countersign events list --type authentication.mfa_failed,challenge.refused --since 24h --count-by user

What happened to one user:

  countersign events list --env production --user user_42`
}

// eventFlags choose events.
type eventFlags struct {
	storeFlag
	keysetFlag
	Env       string   `placeholder:"NAME" help:"Only events of this environment. Default all."`
	User      string   `placeholder:"ID" help:"Only events of this user."`
	Factor    string   `placeholder:"ID" help:"Only events of this factor, auth_factor_…."`
	Challenge string   `placeholder:"ID" help:"Only events of this challenge, auth_challenge_…."`
	Type      []string `sep:"," placeholder:"TYPE" help:"Only events of these types, such as authentication.mfa_failed, or factor.* for all types that begin so."`
	Since     string   `placeholder:"TIME" help:"Only events from this time on: 2h or 7d ago, or a time such as 2026-11-30T09:00:00Z."`
	Caller    string   `placeholder:"CALLER" help:"Only events that this caller caused: the id of an API key, key_…, or operator:NAME."`
}

type untilFlag struct {
	Until string `placeholder:"TIME" help:"Only events before this time, in the same forms."`
}

// selected is what the flags choose.
type selected struct {
	*server.EventReader
	environments []mfa.Environment
	query        events.Query // without the environment
	now          func() time.Time
}

// events calls fn with the events that the flags choose.
func (f *eventFlags) events(ctx context.Context, con console, until string, fn func(*selected) error) error {
	s := &selected{query: events.Query{User: f.User, Caller: f.Caller}, now: con.now}
	var err error
	if s.query.Types, err = eventTypes(f.Type); err != nil {
		return fmt.Errorf("--type: %w", err)
	}
	if s.query.Factor, err = mfa.ParseFactorID(f.Factor); f.Factor != "" && err != nil {
		return fmt.Errorf("--factor: %q is not the id of a factor", f.Factor)
	}
	if s.query.Challenge, err = mfa.ParseChallengeID(f.Challenge); f.Challenge != "" && err != nil {
		return fmt.Errorf("--challenge: %q is not the id of a challenge", f.Challenge)
	}
	now := con.now()
	if s.query.Since, err = pastTime(f.Since, now); err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	if s.query.Until, err = pastTime(until, now); err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	if !s.query.Until.IsZero() && !s.query.Since.Before(s.query.Until) {
		return errors.New("--until must be later than --since")
	}
	if f.Caller != "" && !strings.HasPrefix(f.Caller, "key_") && !strings.HasPrefix(f.Caller, "operator:") {
		return fmt.Errorf("--caller: %q is neither the id of an API key, key_…, nor operator:NAME", f.Caller)
	}
	err = server.WithEvents(ctx, config.Config{Store: f.Store, Keyset: f.Keyset}, f.Env, func(r *server.EventReader) error {
		s.EventReader = r
		if s.environments, err = r.Environments(ctx); err != nil {
			return err
		}
		if r.Sealed != nil {
			con.notef("countersign: users of deleted factors, addresses and user agents stay sealed, because the keyset cannot be opened: %v\n", r.Sealed)
		}
		return fn(s)
	})
	if errors.Is(err, access.ErrNotFound) {
		return fmt.Errorf("%w; 'countersign environment list --store %s' shows all", err, f.name())
	}
	return err
}

// eventTypes returns the types with these names. A name that ends with * is all types that
// begin so.
func eventTypes(names []string) (types []mfa.EventType, err error) {
	for _, name := range names {
		n := len(types)
		prefix, isPattern := strings.CutSuffix(name, "*")
		for _, t := range mfa.EventTypes {
			if string(t) == name || isPattern && strings.HasPrefix(string(t), prefix) {
				types = append(types, t)
			}
		}
		if len(types) == n {
			all := make([]string, len(mfa.EventTypes))
			for i, t := range mfa.EventTypes {
				all[i] = string(t)
			}
			slices.Sort(all)
			return nil, fmt.Errorf("there is no type of event %q; the types are %s", name, strings.Join(all, ", "))
		}
	}
	return types, nil
}

// pastTime reads a time, or how long ago it was. "" is the zero time.
func pastTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	span := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err == nil && n >= 0 && n < 100_000 {
			span = fmt.Sprintf("%dh", n*24)
		}
	}
	if d, err := time.ParseDuration(span); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 2h or 7d, nor a time such as 2026-11-30T09:00:00Z", text)
}

// in returns the query in an environment.
func (s *selected) in(env mfa.Environment) events.Query {
	q := s.query
	q.Environment = env.ID
	return q
}

// pageSize is how many events a command reads at once.
const pageSize = 1000

// each calls fn with the events of a query, oldest first, and returns the position up to
// which it has read.
func (s *selected) each(ctx context.Context, q events.Query, fn func(*events.Event) error) (last mfa.EventID, err error) {
	q.Limit = pageSize
	for {
		page, err := s.List(ctx, q)
		if err != nil {
			return q.After, err
		}
		for i := range page.Events {
			if err := fn(&page.Events[i]); err != nil {
				return q.After, err
			}
		}
		q.After = page.Last
		if !page.More {
			return q.After, nil
		}
	}
}

// newest returns the newest n events of a query, oldest first, and the position up to which
// it has read. Events are read forward, so it tries short spans of time first.
func (s *selected) newest(ctx context.Context, q events.Query, n int) (found []events.Event, last mfa.EventID, err error) {
	end := q.Until
	if end.IsZero() {
		end = s.now()
	}
	for span := time.Minute; ; span *= 64 {
		part := q
		isAll := span > 4*365*24*time.Hour || !q.Since.IsZero() && !end.Add(-span).After(q.Since)
		if !isAll {
			part.Since = end.Add(-span)
		}
		found = found[:0]
		last, err = s.each(ctx, part, func(e *events.Event) error {
			if found = append(found, *e); len(found) >= 2*n {
				found = slices.Delete(found, 0, len(found)-n)
			}
			return nil
		})
		if err != nil {
			return nil, last, err
		}
		if len(found) >= n || isAll {
			return found[max(0, len(found)-n):], last, nil
		}
	}
}

// A namedEvent is an event with the name of its environment.
type namedEvent struct {
	env string
	events.Event
}

type formFlags struct {
	JSON bool `name:"json" xor:"form" help:"Print JSON Lines."`
	CSV  bool `name:"csv" xor:"form" help:"Print CSV, with the names of the columns in the first line."`
}

// printer prints the names of the columns, and returns a function that prints an event.
func (f formFlags) printer(w io.Writer, several bool, sample []namedEvent) (print func(namedEvent) error, err error) {
	if !f.JSON && !f.CSV {
		t := newEventTable(w, several, sample)
		return t.print, t.begin()
	}
	writer := eventexport.Writer{Format: eventexport.JSONLines, Version: version()}
	if f.CSV {
		writer.Format = eventexport.CSV
		_, err = w.Write(writer.Header())
	}
	return func(e namedEvent) error {
		_, err := w.Write(writer.Append(nil, e.env, &e.Event))
		return err
	}, err
}

type listEvents struct {
	eventFlags
	untilFlag
	formFlags
	Limit   int    `default:"100" placeholder:"N" help:"The newest N events, or the N largest counts; 0 for all. Default ${default}."`
	CountBy string `name:"count-by" enum:",user,ip,factor,caller,type,reason,environment" default:"" placeholder:"FIELD" help:"Instead of the events, count them by user, ip, factor, caller, type, reason or environment."`
}

func (listEvents) Help() string {
	return `Works next to a running server. The newest event is the last line. With several environments, the events of all of them are
sorted by time.

Examples:

  countersign events list
  countersign events list --env production --user user_42 --since 7d
  countersign events list --type authentication.mfa_failed,challenge.refused --since 24h --count-by user
  countersign events list --type 'factor.*' --since 2026-11-01T00:00:00Z --limit 0 --csv`
}

func (c *listEvents) Run(ctx context.Context, con console) error {
	if c.Limit < 0 {
		return fmt.Errorf("--limit is %d; it must be 0 or more", c.Limit)
	}
	return c.events(ctx, con, c.Until, func(s *selected) error {
		switch {
		case c.CountBy != "":
			return c.count(ctx, con, s)
		case c.Limit == 0:
			print, err := c.printer(con.out, len(s.environments) > 1, nil)
			if err != nil {
				return err
			}
			return s.all(ctx, print)
		}
		var found []namedEvent
		for _, env := range s.environments {
			list, _, err := s.newest(ctx, s.in(env), c.Limit)
			if err != nil {
				return err
			}
			for _, e := range list {
				found = append(found, namedEvent{env.Name, e})
			}
		}
		slices.SortStableFunc(found, func(a, b namedEvent) int { return a.At.Compare(b.At) })
		if len(found) >= c.Limit {
			found = found[len(found)-c.Limit:]
			con.notef("the newest %d events; --limit 0 shows all\n", c.Limit)
		}
		if len(found) == 0 {
			con.notef("no events\n")
		}
		print, err := c.printer(con.out, len(s.environments) > 1, found)
		if err != nil {
			return err
		}
		for _, e := range found {
			if err := print(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// all calls fn with all events, one environment after another.
func (s *selected) all(ctx context.Context, fn func(namedEvent) error) error {
	for _, env := range s.environments {
		if _, err := s.each(ctx, s.in(env), func(e *events.Event) error { return fn(namedEvent{env.Name, *e}) }); err != nil {
			return err
		}
	}
	return nil
}

// A count is how many events have a value, and when.
type count struct {
	value       string
	n           int
	first, last time.Time
}

func (c *listEvents) count(ctx context.Context, con console, s *selected) error {
	counts := map[string]*count{}
	err := s.all(ctx, func(e namedEvent) error {
		value := c.field(&e)
		n := counts[value]
		if n == nil {
			n = &count{value: value, first: e.At}
			counts[value] = n
		}
		n.n++
		n.last = e.At
		return nil
	})
	if err != nil {
		return err
	}
	sorted := make([]*count, 0, len(counts))
	for _, n := range counts {
		sorted = append(sorted, n)
	}
	slices.SortFunc(sorted, func(a, b *count) int { return cmp.Or(b.n-a.n, strings.Compare(a.value, b.value)) })
	if c.Limit > 0 && len(sorted) > c.Limit {
		sorted = sorted[:c.Limit]
	}
	return c.printCounts(con, sorted)
}

func (c *listEvents) field(e *namedEvent) string {
	switch c.CountBy {
	case "user":
		return e.User
	case "ip":
		return e.IPAddress
	case "factor":
		return factorOf(&e.Event)
	case "caller":
		return callerOf(&e.Event)
	case "type":
		return string(e.Type)
	case "reason":
		_, _, reason := eventwire.Resource(&e.Event)
		return reason
	}
	return e.env
}

type tailEvents struct {
	eventFlags
	formFlags
}

func (tailEvents) Help() string {
	return `Begins with the last ten events, or with all events since --since. Ctrl-C ends it. Works next to a running server.

Examples:

  countersign events tail
  countersign events tail --env production --type authentication.mfa_failed
  countersign events tail --since 1h --json`
}

func (c *tailEvents) Run(ctx context.Context, con console) error {
	err := c.events(ctx, con, "", func(s *selected) error {
		several := c.Env == "" // an environment may be created later
		var first []namedEvent
		after := map[mfa.EnvironmentID]mfa.EventID{}
		for _, env := range s.environments {
			list, last, err := s.newest(ctx, s.in(env), 10)
			if err != nil {
				return err
			}
			after[env.ID] = last
			for _, e := range list {
				first = append(first, namedEvent{env.Name, e})
			}
		}
		slices.SortStableFunc(first, func(a, b namedEvent) int { return a.At.Compare(b.At) })
		first = first[max(0, len(first)-10):]
		print, err := c.printer(con.out, several, first)
		if err != nil {
			return err
		}
		if c.Since != "" {
			clear(after) // Follow begins at that time
			first = nil
		}
		for _, e := range first {
			if err := print(e); err != nil {
				return err
			}
		}
		return c.follow(ctx, s, after, print)
	})
	if ctx.Err() != nil {
		return nil // Ctrl-C
	}
	return err
}

// newEnvironments is how often tail looks for new environments.
const newEnvironments = 5 * time.Second

// follow prints the events after the positions of their environments until ctx ends.
func (c *tailEvents) follow(ctx context.Context, s *selected, after map[mfa.EnvironmentID]mfa.EventID, print func(namedEvent) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	var followers sync.WaitGroup
	defer followers.Wait()
	defer stop(nil)
	var mu sync.Mutex
	followed := map[mfa.EnvironmentID]bool{}
	for {
		for _, env := range s.environments {
			if followed[env.ID] {
				continue
			}
			followed[env.ID] = true
			q := s.in(env)
			q.After = after[env.ID]
			followers.Go(func() {
				stop(s.Follow(ctx, q, func(page events.Page) error {
					mu.Lock()
					defer mu.Unlock()
					for _, e := range page.Events {
						if err := print(namedEvent{env.Name, e}); err != nil {
							return err
						}
					}
					return nil
				}))
			})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(newEnvironments):
		}
		if all, err := s.Environments(ctx); err == nil {
			s.environments = all // otherwise the next look finds them
		}
	}
}

type exportEvents struct {
	eventFlags
	untilFlag
	Format    string `enum:"jsonl,ocsf,cef,csv" default:"jsonl" placeholder:"jsonl|ocsf|cef|csv" help:"JSON Lines, OCSF 1.8, CEF or CSV. Default ${default}."`
	Out       string `type:"path" placeholder:"FILE" help:"Write to this file, which only your account can read. It appears when it is complete. Default standard output."`
	Overwrite bool   `help:"Replace an existing file."`
}

func (exportEvents) Help() string {
	return `Works next to a running server. The events of an environment are in their order, one environment after another. To
export continuously, use the setting events_sink of the server.

Examples:

  countersign events export --since 24h
  countersign events export --env production --format ocsf --out november.ocsf --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z`
}

func (c *exportEvents) Run(ctx context.Context, con console) error {
	if c.Out != "" && !c.Overwrite {
		if _, err := os.Lstat(c.Out); err == nil {
			return fmt.Errorf("%s exists; give --overwrite to replace it", c.Out)
		}
	}
	return c.events(ctx, con, c.Until, func(s *selected) error {
		n := 0
		write := func(w io.Writer) error {
			var err error
			n, err = c.write(ctx, s, w)
			return err
		}
		var err error
		switch {
		case c.Out == "":
			return write(con.out)
		case c.Overwrite:
			err = atomicfile.ReplaceFrom(c.Out, 0o600, write)
		default:
			err = atomicfile.CreateFrom(c.Out, 0o600, write)
		}
		if err == nil {
			con.notef("exported %d events to %s\n", n, c.Out)
		}
		return err
	})
}

// write writes all events in the format, and returns their number.
func (c *exportEvents) write(ctx context.Context, s *selected, w io.Writer) (n int, err error) {
	writer := eventexport.Writer{Format: eventexport.Format(c.Format), Version: version()}
	buffer := writer.Header()
	flush := func() error {
		_, err := w.Write(buffer)
		buffer = buffer[:0]
		return err
	}
	err = s.all(ctx, func(e namedEvent) error {
		n++
		buffer = writer.Append(buffer, e.env, &e.Event)
		if len(buffer) < 64<<10 {
			return nil
		}
		return flush()
	})
	return n, errors.Join(err, flush())
}
