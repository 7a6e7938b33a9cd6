package sms

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Route lists the providers for the numbers with a prefix.
type Route struct {
	Prefix  string   // the start of the numbers: "+1", "+4915"; "" for all numbers. Only the longest matching prefix counts
	Choices []Choice // at least one
}

// A Choice is a provider of a route.
type Choice struct {
	Provider string // its name
	Priority int    // the lowest is tried first, as in SRV records (RFC 2782); at least 0
	Weight   int    // its share of the messages among the choices with its priority, up to 1,000,000; default 1
}

// Named is a provider with its name in routes, metrics and errors.
type Named struct {
	Name string
	Provider
}

// RouterOptions change how a Router behaves; zero fields take their defaults.
type RouterOptions struct {
	TryTimeout time.Duration  // for one try while another provider is left; default 4 s
	Budget     time.Duration  // for all tries of a message; default 11.5 s, which is less than the 15 s that clients wait
	MinTry     time.Duration  // the least time left to begin a try; default 500 ms
	Breaker    BreakerOptions // for each provider
	Observe    func(Try)      // called after every try by the sending goroutine; it must not block
	// Trace is called before every try and returns the context of the try, and a function that is
	// called after it. Nil means that no function is called.
	Trace func(ctx context.Context, provider string) (context.Context, func(Try))
	Now   func() time.Time
	Rand  io.Reader // safe for concurrent use; default crypto/rand.Reader
}

// An Accepted names the provider that accepted a message.
type Accepted struct {
	Provider string
	ID       string // from the service
	Tries    int    // number of tries, including the successful one
}

// A Try is one attempt to send a message through one provider. It contains neither
// number nor text.
type Try struct {
	Reference string // of the message
	Number    int    // 1 for the message's first try
	Provider  string
	ID        string // from the service, if it accepted the message
	Kind      Kind   // "" if the service accepted the message
	Code      string // as in Error
	Reason    string // as in Error
	Healthy   bool   // as in Error
	Forced    bool   // the provider was paused, and no other was left
	At        time.Time
	Took      time.Duration
}

// A DeliveryError means that no provider accepted a message. It contains neither number
// nor text.
type DeliveryError struct {
	Reason string // why no other try followed, in short words
	Tries  []Try  // in order; may be empty

	all bool // whether every provider of the route was tried
}

func (e *DeliveryError) Error() string {
	var text strings.Builder
	text.WriteString("not accepted, " + e.Reason)
	for _, t := range e.Tries {
		fmt.Fprintf(&text, "; %s: %s, %s", t.Provider, t.Kind, t.Reason)
		switch meaning := delivery.Meaning(t.Provider, t.Code); {
		case meaning != "":
			fmt.Fprintf(&text, " (%s: %s)", t.Code, meaning)
		case t.Code != "":
			fmt.Fprintf(&text, " (%s)", t.Code)
		}
		fmt.Fprintf(&text, " after %v", t.Took.Round(time.Millisecond))
	}
	return text.String()
}

// Timeout reports whether the message may have been sent.
func (e *DeliveryError) Timeout() bool { return e.any(Uncertain) }

// Is makes e a delivery.ErrRecipientRefused if it is Refused.
func (e *DeliveryError) Is(target error) bool {
	return target == delivery.ErrRecipientRefused && e.Refused()
}

// Refused reports whether the number is the reason: a provider refused it, or every
// provider of the route works but does not serve it. Another try would fail too.
func (e *DeliveryError) Refused() bool {
	served := func(t Try) bool { return !t.Healthy }
	return e.any(Refused) || e.all && len(e.Tries) > 0 && !slices.ContainsFunc(e.Tries, served)
}

func (e *DeliveryError) any(k Kind) bool {
	return slices.ContainsFunc(e.Tries, func(t Try) bool { return t.Kind == k })
}

// A Router sends each message through one of several providers, and through another one
// if that provider does not accept it. It is safe for concurrent use.
type Router struct {
	members []*member
	routes  map[string][]choice // by prefix, sorted by priority
	longest int                 // length of the longest prefix in bytes
	opts    RouterOptions
}

// A member is a provider with its breaker and its counts.
type member struct {
	Named
	breaker *breaker
	counter tryCounter
}

type choice struct {
	*member
	priority, weight int
}

// NewRouter returns a Router of providers. Without routes all messages go to the first
// provider, and to the others, in order, if it fails. A provider that is in no route
// gets no messages.
func NewRouter(routes []Route, providers []Named, opts RouterOptions) (*Router, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Router{routes: map[string][]choice{}, opts: opts}
	byName := map[string]*member{}
	for i, p := range providers {
		switch {
		case p.Name == "":
			return nil, fmt.Errorf("provider %d has no name", i+1)
		case p.Provider == nil:
			return nil, fmt.Errorf("provider %q is nil", p.Name)
		case byName[p.Name] != nil:
			return nil, fmt.Errorf("two providers are named %q", p.Name)
		}
		m := &member{Named: p, breaker: newBreaker(opts.Breaker, opts.Now())}
		byName[p.Name] = m
		r.members = append(r.members, m)
	}
	if len(r.members) == 0 {
		return nil, errors.New("there is no provider")
	}
	if len(routes) == 0 {
		routes = []Route{{Choices: inOrder(providers)}}
	}
	for _, route := range routes {
		if err := r.add(route, byName); err != nil {
			return nil, fmt.Errorf("route %q: %w", route.Prefix, err)
		}
	}
	return r, nil
}

func (o RouterOptions) withDefaults() (RouterOptions, error) {
	orElse(&o.TryTimeout, 4*time.Second)
	orElse(&o.Budget, 11500*time.Millisecond)
	orElse(&o.MinTry, 500*time.Millisecond)
	if o.Observe == nil {
		o.Observe = func(Try) {}
	}
	o.Now = wallclock.Or(o.Now)
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	switch {
	case o.MinTry < 0:
		return o, fmt.Errorf("min try is %v; it must be positive", o.MinTry)
	case o.TryTimeout < o.MinTry:
		return o, fmt.Errorf("try timeout is %v, less than the min try of %v", o.TryTimeout, o.MinTry)
	case o.Budget < o.TryTimeout:
		return o, fmt.Errorf("budget is %v, less than the try timeout of %v", o.Budget, o.TryTimeout)
	}
	var err error
	o.Breaker, err = o.Breaker.withDefaults()
	return o, err
}

// inOrder makes each provider the fallback of the one before it.
func inOrder(providers []Named) []Choice {
	choices := make([]Choice, len(providers))
	for i, p := range providers {
		choices[i] = Choice{Provider: p.Name, Priority: i}
	}
	return choices
}

const maxWeight = 1_000_000

func (r *Router) add(route Route, byName map[string]*member) error {
	switch {
	case !isPrefix(route.Prefix):
		return errors.New("the prefix must be empty, or a + and 1 to 15 digits of which the first is not 0")
	case r.routes[route.Prefix] != nil:
		return errors.New("two routes have this prefix")
	case len(route.Choices) == 0:
		return errors.New("it has no provider")
	}
	choices := make([]choice, 0, len(route.Choices))
	for _, c := range route.Choices {
		m := byName[c.Provider]
		switch {
		case m == nil:
			return fmt.Errorf("there is no provider %q", c.Provider)
		case slices.ContainsFunc(choices, func(other choice) bool { return other.member == m }):
			return fmt.Errorf("provider %q is listed twice", c.Provider)
		case c.Priority < 0:
			return fmt.Errorf("the priority of %q is %d; it must be at least 0", c.Provider, c.Priority)
		case c.Weight < 0 || c.Weight > maxWeight:
			return fmt.Errorf("the weight of %q is %d; it must be from 1 to %d", c.Provider, c.Weight, maxWeight)
		}
		choices = append(choices, choice{m, c.Priority, max(c.Weight, 1)})
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(a.priority, b.priority) })
	r.routes[route.Prefix] = choices
	r.longest = max(r.longest, len(route.Prefix))
	return nil
}

func isPrefix(s string) bool {
	if s == "" {
		return true
	}
	digits, ok := strings.CutPrefix(s, "+")
	return ok && len(digits) >= 1 && len(digits) <= 15 && digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}

// Send hands m to one provider after another until one accepts it, one refuses it, or
// no provider or no time is left. Every error is a *DeliveryError.
//
// After a try without an answer the next provider gets the same message. The phone may
// then show the code twice, which is better than no code.
//
// Send tries the provider in m.Avoid after all others of the route, also if it has a
// lower priority number. Only paused providers come later.
func (r *Router) Send(ctx context.Context, m Message) (Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Budget)
	defer cancel()
	waiting := r.candidates(m.To.Reveal(), m.Avoid)
	if waiting == nil {
		return Accepted{}, &DeliveryError{Reason: "no route to the number"}
	}
	var tries []Try
	for len(waiting) > 0 {
		if reason := r.tooLate(ctx); reason != "" {
			return Accepted{}, &DeliveryError{Reason: reason, Tries: tries}
		}
		turn := waiting.next(r.opts.Now(), len(tries) > 0)
		if turn.member == nil {
			break
		}
		turn.number, turn.last = len(tries)+1, len(waiting) == 0
		t := r.try(ctx, turn, m)
		r.opts.Observe(t)
		tries = append(tries, t)
		switch t.Kind {
		case "":
			return Accepted{Provider: t.Provider, ID: t.ID, Tries: len(tries)}, nil
		case Refused:
			return Accepted{}, &DeliveryError{Reason: "the number was refused", Tries: tries}
		}
	}
	return Accepted{}, &DeliveryError{Reason: "no provider is left", Tries: tries, all: len(waiting) == 0}
}

// tooLate returns the reason why no other try may begin, or "". It uses the clock of
// contexts.
func (r *Router) tooLate(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.Canceled) {
		return "the caller gave up"
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < r.opts.MinTry {
		return "no time is left"
	}
	return ""
}

// candidates are the providers that are left to try for a message, in order.
type candidates []choice

// candidates returns the providers for a number, or nil if no route matches it. Providers
// with the same priority are shuffled by weight. The provider named avoid comes last.
func (r *Router) candidates(number, avoid string) candidates {
	for n := min(len(number), r.longest); n >= 0; n-- {
		if route, ok := r.routes[number[:n]]; ok {
			l := slices.Clone(route)
			for i := range l {
				j := i + r.draw(l[i:])
				l[i], l[j] = l[j], l[i]
			}
			if i := slices.IndexFunc(l, func(c choice) bool { return c.Name == avoid }); i >= 0 {
				avoided := l[i]
				l = append(slices.Delete(l, i, i+1), avoided)
			}
			return l
		}
	}
	return nil
}

// draw returns the index of one of the choices that share the priority of the first,
// at random by weight. If the source of randomness fails, it returns 0: the message is
// still sent.
func (r *Router) draw(from []choice) int {
	total, n := uint64(0), 0
	for n < len(from) && from[n].priority == from[0].priority {
		total += uint64(from[n].weight)
		n++
	}
	if n == 1 {
		return 0
	}
	var random [8]byte
	if _, err := io.ReadFull(r.opts.Rand, random[:]); err != nil {
		return 0
	}
	left := binary.BigEndian.Uint64(random[:]) % total // the bias is below total/2^64
	for i := range n {
		weight := uint64(from[i].weight)
		if left < weight {
			return i
		}
		left -= weight
	}
	return 0
}

// A turn is a provider and the permission to try it once.
type turn struct {
	*member
	pass   pass
	forced bool
	number int  // of the try
	last   bool // no other candidate is left
}

// next removes and returns the provider to try now: the first that its breaker admits,
// or else the one whose pause ends first. A try at a paused provider may fail, but
// without it the message fails for certain. A provider that asked for its pause is tried
// only if no other provider was tried.
func (l *candidates) next(now time.Time, tried bool) turn {
	for i, c := range *l {
		if p, ok := c.breaker.admit(now); ok {
			l.remove(i)
			return turn{member: c.member, pass: p}
		}
	}
	best, bestUntil, bestResting := -1, time.Time{}, false
	for i, c := range *l {
		_, until, resting := c.breaker.standing(now)
		if resting && tried {
			continue
		}
		if best < 0 || bestResting && !resting || bestResting == resting && until.Before(bestUntil) {
			best, bestUntil, bestResting = i, until, resting
		}
	}
	if best < 0 {
		return turn{}
	}
	m := (*l)[best].member
	l.remove(best)
	return turn{member: m, pass: m.breaker.force(), forced: true}
}

func (l *candidates) remove(i int) { *l = slices.Delete(*l, i, i+1) }

// try sends m through one provider. The last try may use the rest of the budget, unless
// the provider is paused.
func (r *Router) try(ctx context.Context, turn turn, m Message) Try {
	budget := ctx
	if !turn.last || turn.forced {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.TryTimeout)
		defer cancel()
	}
	t := Try{Reference: m.Reference, Number: turn.number, Provider: turn.Name, Forced: turn.forced, At: r.opts.Now()}
	said, retryAfter := nothing, time.Duration(0)
	if r.opts.Trace != nil {
		var end func(Try)
		ctx, end = r.opts.Trace(ctx, turn.Name)
		defer func() { end(t) }()
	}
	defer func() { turn.breaker.done(turn.pass, r.opts.Now(), said, retryAfter) }() // deferred, for a provider that panics
	id, err := turn.Send(ctx, m)
	t.Took = r.opts.Now().Sub(t.At)
	if err == nil {
		t.ID, said = id, healthy
	} else {
		e := asError(err)
		t.Kind, t.Code, t.Reason, t.Healthy = e.Kind, e.Code, e.Reason, e.Healthy
		switch {
		case e.Kind == Refused || e.Healthy:
			said = healthy
		case !errors.Is(budget.Err(), context.Canceled): // a canceled budget means that the caller gave up; the service did not fail
			said, retryAfter = failing, e.RetryAfter
		}
	}
	turn.counter.add(t)
	return t
}

// asError returns the *Error that a Provider must return. Any other error becomes
// Uncertain, without its text, which might hold personal data.
func asError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e == nil {
		return &Error{Kind: Uncertain, Reason: "unknown error"}
	}
	if e.Kind != Refused && e.Kind != Unavailable {
		unclear := *e
		unclear.Kind = Uncertain
		return &unclear
	}
	return e
}
