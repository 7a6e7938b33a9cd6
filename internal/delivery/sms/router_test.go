package sms_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	routedNumber = "+4915112345678"
	routedText   = "Your code is 482913"
)

func routedMessage() sms.Message {
	return sms.Message{To: secret.NewString(routedNumber), Text: secret.NewString(routedText), Reference: "m-1"}
}

// A reply is the answer of a fakeService to one message.
type reply func(ctx context.Context) (id string, err error)

// A fakeService gives its replies in order and repeats the last one.
type fakeService struct {
	mu      sync.Mutex
	replies []reply
	asked   int
}

func (f *fakeService) Send(ctx context.Context, m sms.Message) (string, error) {
	f.mu.Lock()
	f.asked++
	say := f.replies[0]
	if len(f.replies) > 1 {
		f.replies = f.replies[1:]
	}
	f.mu.Unlock()
	return say(ctx)
}

func (f *fakeService) says(replies ...reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replies = replies
}

func accepts(context.Context) (string, error) { return "id-1", nil }

func fails(kind sms.Kind, code string) reply {
	return func(context.Context) (string, error) {
		return "", &sms.Error{Kind: kind, Code: code, Reason: "because"}
	}
}

func throttles(d time.Duration) reply {
	return func(context.Context) (string, error) {
		return "", &sms.Error{Kind: sms.Unavailable, Code: "429", Reason: "throttled", RetryAfter: d}
	}
}

// hangs answers only after the caller has given up.
func hangs(ctx context.Context) (string, error) {
	<-ctx.Done()
	return "", &sms.Error{Kind: sms.Uncertain, Reason: "timed out"}
}

func takes(d time.Duration, then reply) reply {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(d):
			return then(ctx)
		case <-ctx.Done():
			return hangs(ctx)
		}
	}
}

// A fakeRouter is a Router over services called a, b, c and so on.
type fakeRouter struct {
	*sms.Router
	services []*fakeService
	tries    []sms.Try // as observed
}

// newFakeRouter makes a router whose services start with one reply each.
func newFakeRouter(t testing.TB, routes []sms.Route, opts sms.RouterOptions, replies ...reply) *fakeRouter {
	t.Helper()
	f := &fakeRouter{}
	var named []sms.Named
	for i, say := range replies {
		s := &fakeService{replies: []reply{say}}
		f.services = append(f.services, s)
		named = append(named, sms.Named{Name: string(rune('a' + i)), Provider: s})
	}
	var mu sync.Mutex
	opts.Observe = func(try sms.Try) {
		mu.Lock()
		defer mu.Unlock()
		f.tries = append(f.tries, try)
	}
	var err error
	if f.Router, err = sms.NewRouter(routes, named, opts); err != nil {
		t.Fatal(err)
	}
	return f
}

// story sends a message and returns its tries as text: "a unavailable, b accepted".
func (f *fakeRouter) story(ctx context.Context) (string, error) {
	f.tries = nil
	_, err := f.Send(ctx, routedMessage())
	return f.triesText(), err
}

// storyOf is story for a message that avoids a provider.
func (f *fakeRouter) storyOf(ctx context.Context, avoid string) string {
	f.tries = nil
	m := routedMessage()
	m.Avoid = avoid
	f.Send(ctx, m)
	return f.triesText()
}

func (f *fakeRouter) triesText() string {
	var parts []string
	for _, try := range f.tries {
		what := string(try.Kind)
		if what == "" {
			what = "accepted"
		}
		if try.Forced {
			what += " (forced)"
		}
		parts = append(parts, try.Provider+" "+what)
	}
	return strings.Join(parts, ", ")
}

func (f *fakeRouter) wants(t *testing.T, want string) {
	t.Helper()
	if got, _ := f.story(t.Context()); got != want {
		t.Errorf("tries = %q; want %q", got, want)
	}
}

func TestRouterSend(t *testing.T) {
	unavailable, uncertain, refused := fails(sms.Unavailable, "500"), fails(sms.Uncertain, ""), fails(sms.Refused, "21211")
	unserved := func(context.Context) (string, error) {
		return "", &sms.Error{Kind: sms.Unavailable, Code: "21408", Healthy: true}
	}
	for _, tc := range []struct {
		name              string
		replies           []reply
		want              string
		reason            string // of the error; "" if Send returns nil
		timeout, refusing bool
	}{
		{"the first accepts", []reply{accepts, accepts}, "a accepted", "", false, false},
		{"the second after unavailable", []reply{unavailable, accepts}, "a unavailable, b accepted", "", false, false},
		{"the second after uncertain", []reply{uncertain, accepts, accepts}, "a uncertain, b accepted", "", false, false},
		{"the third", []reply{unavailable, uncertain, accepts}, "a unavailable, b uncertain, c accepted", "", false, false},
		{"none after refused", []reply{refused, accepts}, "a refused", "the number was refused", false, true},
		{"refused by the second", []reply{unavailable, refused, accepts}, "a unavailable, b refused", "the number was refused", false, true},
		{"refused after uncertain may have been sent", []reply{uncertain, refused}, "a uncertain, b refused", "the number was refused", true, true},
		{"no provider serves the number", []reply{unserved, unserved}, "a unavailable, b unavailable", "no provider is left", false, true},
		{"not served, then accepted", []reply{unserved, accepts}, "a unavailable, b accepted", "", false, false},
		{"not served by one, and the other is down", []reply{unserved, unavailable}, "a unavailable, b unavailable", "no provider is left", false, false},
		{"not served, and maybe sent by the other", []reply{uncertain, unserved}, "a uncertain, b unavailable", "no provider is left", true, false},
		{"all unavailable", []reply{unavailable, unavailable}, "a unavailable, b unavailable", "no provider is left", false, false},
		{"one of them uncertain", []reply{uncertain, unavailable}, "a uncertain, b unavailable", "no provider is left", true, false},
		{"an error without a kind is uncertain", []reply{fails("", "x"), accepts}, "a uncertain, b accepted", "", false, false},
		{"a nil *Error is uncertain", []reply{func(context.Context) (string, error) { return "", (*sms.Error)(nil) }, accepts}, "a uncertain, b accepted", "", false, false},
		{"any other error is uncertain", []reply{func(context.Context) (string, error) { return "", io.EOF }}, "a uncertain", "no provider is left", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFakeRouter(t, nil, sms.RouterOptions{}, tc.replies...)
			got, err := r.story(t.Context())
			if got != tc.want {
				t.Errorf("tries = %q; want %q", got, tc.want)
			}
			if tc.reason == "" {
				if err != nil {
					t.Errorf("Send = %v; want no error", err)
				}
				return
			}
			failed, ok := errors.AsType[*sms.DeliveryError](err)
			if !ok {
				t.Fatalf("Send = %v; want a *DeliveryError", err)
			}
			if errors.Is(err, delivery.ErrRecipientRefused) != tc.refusing {
				t.Errorf("the error is an ErrRecipientRefused: %v; want %v", !tc.refusing, tc.refusing)
			}
			if failed.Reason != tc.reason || failed.Timeout() != tc.timeout || failed.Refused() != tc.refusing {
				t.Errorf("error = %q, Timeout %v, Refused %v; want %q, %v, %v", failed.Reason, failed.Timeout(), failed.Refused(), tc.reason, tc.timeout, tc.refusing)
			}
			if !reflect.DeepEqual(failed.Tries, r.tries) {
				t.Errorf("tries of the error = %+v; want those observed, %+v", failed.Tries, r.tries)
			}
		})
	}
}

func TestRouterAccepted(t *testing.T) {
	r := newFakeRouter(t, nil, sms.RouterOptions{}, fails(sms.Unavailable, "500"), accepts)
	got, err := r.Send(t.Context(), routedMessage())
	if want := (sms.Accepted{Provider: "b", ID: "id-1", Tries: 2}); err != nil || got != want {
		t.Errorf("Send = %+v, %v; want %+v", got, err, want)
	}
}

func TestRouterErrorsHoldNoSecret(t *testing.T) {
	leaky := func(context.Context) (string, error) {
		return "", fmt.Errorf("post https://api.example/?to=%s&text=%s", routedNumber, routedText)
	}
	r := newFakeRouter(t, nil, sms.RouterOptions{}, leaky, fails(sms.Unavailable, "20003"))
	_, err := r.Send(t.Context(), routedMessage())
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err), fmt.Sprintf("%+v", r.tries), fmt.Sprintf("%+v", r.Health())} {
		if strings.Contains(text, routedNumber[1:]) || strings.Contains(text, "482913") {
			t.Errorf("the error shows a secret: %s", text)
		}
	}
	want := "not accepted, no provider is left; a: uncertain, unknown error after 0s; b: unavailable, because (20003) after 0s"
	if err.Error() != want {
		t.Errorf("Error = %q; want %q", err, want)
	}
}

func TestRouterLongestPrefixWins(t *testing.T) {
	to := func(prefix, provider string) sms.Route {
		return sms.Route{Prefix: prefix, Choices: []sms.Choice{{Provider: provider}}}
	}
	everywhere := []sms.Route{to("+4915", "c"), to("", "a"), to("+49", "b"), to("+1", "d")}
	for _, tc := range []struct{ name, number, want string }{
		{"no prefix matches", "+447911123456", "a"},
		{"the country", "+4930123456", "b"},
		{"a range of the country", "+4915112345678", "c"},
		{"the prefix itself", "+4915", "c"},
		{"shorter than the prefix", "+491", "b"},
		{"one digit", "+16073517112", "d"},
		{"empty", "", "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFakeRouter(t, everywhere, sms.RouterOptions{}, accepts, accepts, accepts, accepts)
			m := routedMessage()
			m.To = secret.NewString(tc.number)
			if got, err := r.Send(t.Context(), m); err != nil || got.Provider != tc.want {
				t.Errorf("Send = %+v, %v; want provider %q", got, err, tc.want)
			}
		})
	}
	t.Run("no route", func(t *testing.T) {
		r := newFakeRouter(t, everywhere[3:], sms.RouterOptions{}, accepts, accepts, accepts, accepts)
		_, err := r.Send(t.Context(), routedMessage())
		if failed, ok := errors.AsType[*sms.DeliveryError](err); !ok || failed.Reason != "no route to the number" || failed.Timeout() || len(r.tries) > 0 {
			t.Errorf("Send = %v after %v; want no route and no try", err, r.tries)
		}
	})
	t.Run("the longest route does not fall back to a shorter one", func(t *testing.T) {
		r := newFakeRouter(t, everywhere, sms.RouterOptions{}, accepts, accepts, fails(sms.Unavailable, ""), accepts)
		r.wants(t, "c unavailable")
	})
}

func TestRouterAvoids(t *testing.T) {
	unavailable := fails(sms.Unavailable, "500")
	route := []sms.Route{{Choices: []sms.Choice{
		{Provider: "a"}, {Provider: "b", Priority: 1}, {Provider: "c", Priority: 2},
	}}}
	for _, tc := range []struct {
		name, avoid string
		replies     []reply
		want        string
	}{
		{"no provider", "", []reply{accepts, accepts, accepts}, "a accepted"},
		{"the first", "a", []reply{accepts, accepts, accepts}, "b accepted"},
		{"the first, which comes last", "a", []reply{accepts, unavailable, unavailable}, "b unavailable, c unavailable, a accepted"},
		{"the second", "b", []reply{unavailable, accepts, unavailable}, "a unavailable, c unavailable, b accepted"},
		{"the last", "c", []reply{unavailable, unavailable, accepts}, "a unavailable, b unavailable, c accepted"},
		{"one of another route", "d", []reply{unavailable, accepts, accepts, accepts}, "a unavailable, b accepted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newFakeRouter(t, route, sms.RouterOptions{}, tc.replies...)
			for range 2 { // the second message finds the same route
				if got := r.storyOf(t.Context(), tc.avoid); got != tc.want {
					t.Errorf("tries = %q; want %q", got, tc.want)
				}
			}
			r.services[0].says(accepts)
			r.wants(t, "a accepted")
		})
	}
	t.Run("the only one", func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{}, accepts)
		if got := r.storyOf(t.Context(), "a"); got != "a accepted" {
			t.Errorf("tries = %q; want the only provider tried", got)
		}
	})
	t.Run("before one that is paused", func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1}}, unavailable, unavailable)
		r.wants(t, "a unavailable, b unavailable")
		r.services[0].says(accepts)
		r.wants(t, "a accepted (forced)")
		if got := r.storyOf(t.Context(), "a"); got != "a accepted" {
			t.Errorf("tries = %q; want a, since b is paused", got)
		}
	})
}

func TestRouterWeightsAndPriorities(t *testing.T) {
	unavailable := fails(sms.Unavailable, "")
	route := []sms.Route{{Choices: []sms.Choice{
		{Provider: "d", Priority: 2},
		{Provider: "a", Priority: 1, Weight: 7},
		{Provider: "b", Priority: 1, Weight: 2},
		{Provider: "c", Priority: 1},
	}}}
	r := newFakeRouter(t, route, sms.RouterOptions{
		Rand:    rand.NewChaCha8([32]byte{1}),
		Breaker: sms.BreakerOptions{Failures: math.MaxInt, MinTries: math.MaxInt},
	}, unavailable, unavailable, unavailable, unavailable)
	const sends = 10_000
	orders := map[string]float64{}
	for range sends {
		r.tries = nil
		r.Send(t.Context(), routedMessage())
		var order strings.Builder
		for _, try := range r.tries {
			order.WriteString(try.Provider)
		}
		orders[order.String()]++
	}
	// Each position is drawn among the remaining providers: abc has 7/10 of 2/3.
	want := map[string]float64{
		"abcd": 7. / 10 * 2 / 3, "acbd": 7. / 10 * 1 / 3,
		"bacd": 2. / 10 * 7 / 8, "bcad": 2. / 10 * 1 / 8,
		"cabd": 1. / 10 * 7 / 9, "cbad": 1. / 10 * 2 / 9,
	}
	for order, n := range orders {
		if got := n / sends; math.Abs(got-want[order]) > 0.02 {
			t.Errorf("order %s in %.3f of the sends; want %.3f", order, got, want[order])
		}
	}
	if len(orders) != len(want) {
		t.Errorf("orders = %v; want %d", orders, len(want))
	}
}

func TestRouterOrdersWithoutRandomness(t *testing.T) {
	route := []sms.Route{{Choices: []sms.Choice{{Provider: "a"}, {Provider: "b"}}}}
	r := newFakeRouter(t, route, sms.RouterOptions{Rand: iotest.ErrReader(io.ErrClosedPipe)}, fails(sms.Unavailable, ""), accepts)
	r.wants(t, "a unavailable, b accepted")
}

// Times are exact here: the clock moves only while every goroutine waits.
func TestRouterTimes(t *testing.T) {
	const s = time.Second
	quick, late := fails(sms.Unavailable, ""), takes(s, accepts)
	for _, tc := range []struct {
		name    string
		replies []reply
		caller  time.Duration // until the deadline of its context; 0 means no deadline
		want    string
		took    time.Duration
		reason  string
	}{
		{"a slow answer in time", []reply{takes(4*s-1, accepts), accepts}, 0, "a accepted", 4*s - 1, ""},
		{"the next one at once after a timeout", []reply{hangs, late}, 0, "a uncertain, b accepted", 5 * s, ""},
		{"the last gets the remaining time", []reply{hangs, hangs, hangs}, 0, "a uncertain, b uncertain, c uncertain", 11500 * time.Millisecond, "no provider is left"},
		{"a single provider gets the whole budget", []reply{takes(11*s, accepts)}, 0, "a accepted", 11 * s, ""},
		{"but not more than the budget", []reply{hangs}, 0, "a uncertain", 11500 * time.Millisecond, "no provider is left"},
		{"four that hang", []reply{hangs, hangs, hangs, hangs}, 0, "a uncertain, b uncertain, c uncertain", 11500 * time.Millisecond, "no time is left"},
		{"the least time is enough", []reply{hangs, quick, hangs, accepts}, 8500 * time.Millisecond, "a uncertain, b unavailable, c uncertain, d accepted", 8 * s, ""},
		{"less than the least time is not", []reply{hangs, quick, hangs, accepts}, 8499 * time.Millisecond, "a uncertain, b unavailable, c uncertain", 8 * s, "no time is left"},
		{"the caller's deadline", []reply{hangs, hangs}, 5 * s, "a uncertain, b uncertain", 5 * s, "no provider is left"},
		{"a caller in a hurry", []reply{accepts}, 499 * time.Millisecond, "", 0, "no time is left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeRouter(t, nil, sms.RouterOptions{}, tc.replies...)
				ctx := t.Context()
				if tc.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.caller)
					defer cancel()
				}
				start := time.Now()
				got, err := r.story(ctx)
				if took := time.Since(start); got != tc.want || took != tc.took {
					t.Errorf("tries = %q in %v; want %q in %v", got, took, tc.want, tc.took)
				}
				failed, _ := errors.AsType[*sms.DeliveryError](err)
				if (failed == nil) != (tc.reason == "") || failed != nil && failed.Reason != tc.reason {
					t.Errorf("Send = %v; want reason %q", err, tc.reason)
				}
			})
		})
	}
}

func TestRouterStopsWhenTheCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{Breaker: sms.BreakerOptions{Failures: 1}}, hangs, accepts)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		got, err := r.story(ctx)
		failed, ok := errors.AsType[*sms.DeliveryError](err)
		if got != "a uncertain" || !ok || failed.Reason != "the caller gave up" || !failed.Timeout() {
			t.Errorf("tries = %q, %v; want one, given up, and maybe sent", got, err)
		}
		if h := r.Health()[0]; h.State != sms.Closed {
			t.Errorf("state = %v; a caller that gives up must not count as a failure of the provider", h.State)
		}
	})
}

func TestRouterSurvivesAPanic(t *testing.T) {
	now := time.Now()
	r := newFakeRouter(t, nil, sms.RouterOptions{
		Now:     func() time.Time { return now },
		Breaker: sms.BreakerOptions{Failures: 1},
	}, fails(sms.Unavailable, ""), accepts)
	r.wants(t, "a unavailable, b accepted")
	now = now.Add(5 * time.Second)
	r.services[0].says(func(context.Context) (string, error) { panic("probe") })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		r.Send(t.Context(), routedMessage())
	}()
	r.services[0].says(accepts)
	r.wants(t, "a accepted") // the next probe
}

func TestRouterHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{}, accepts, accepts)
		a, b := r.services[0], r.services[1]
		a.says(accepts, takes(time.Second, fails(sms.Unavailable, "20429")), fails(sms.Refused, "21211"), hangs, accepts)
		b.says(fails(sms.Uncertain, "502"), accepts)
		for range 5 {
			r.Send(t.Context(), routedMessage())
		}
		h := r.Health()
		if len(h) != 2 || h[0].Provider != "a" || h[1].Provider != "b" {
			t.Fatalf("Health = %+v; want a and b", h)
		}
		type counts [4]uint64
		for i, want := range []counts{{2, 1, 1, 1}, {1, 0, 0, 1}} {
			if got := (counts{h[i].Accepted, h[i].Refused, h[i].Unavailable, h[i].Uncertain}); got != want {
				t.Errorf("%s: counts = %v; want %v", h[i].Provider, got, want)
			}
		}
		if got, want := h[0].Latency, (sms.Latency{Total: 5 * time.Second, P99: 4 * time.Second}); got != want {
			t.Errorf("latency = %+v; want %+v", got, want)
		}
		if h[0].Last.Kind != sms.Uncertain || h[1].Last.Code != "502" {
			t.Errorf("last failures = %+v, %+v; want the timeout, and 502", h[0].Last, h[1].Last)
		}
		if h[0].State != sms.Closed || !h[0].Until.IsZero() {
			t.Errorf("state = %v until %v; want closed", h[0].State, h[0].Until)
		}
	})
}

func TestRouterHealthForgetsOldLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRouter(t, nil, sms.RouterOptions{}, takes(time.Second, accepts))
		for range 256 {
			r.Send(t.Context(), routedMessage())
		}
		r.services[0].says(takes(time.Millisecond, accepts))
		for range 255 {
			r.Send(t.Context(), routedMessage())
		}
		if got := r.Health()[0].Latency; got.P99 != time.Millisecond || got.Total != 256*time.Second+255*time.Millisecond {
			t.Errorf("latency = %+v; want P99 1ms, and every try in the total", got)
		}
	})
}

func TestNewRouterRefuses(t *testing.T) {
	a, b := sms.Named{Name: "a", Provider: &fakeService{}}, sms.Named{Name: "b", Provider: &fakeService{}}
	both := []sms.Named{a, b}
	route := func(prefix string, choices ...sms.Choice) []sms.Route {
		return []sms.Route{{Prefix: prefix, Choices: choices}}
	}
	ok := sms.Choice{Provider: "a"}
	breaker := func(o sms.BreakerOptions) sms.RouterOptions { return sms.RouterOptions{Breaker: o} }
	for _, tc := range []struct {
		name      string
		routes    []sms.Route
		providers []sms.Named
		opts      sms.RouterOptions
		want      string
	}{
		{"no provider", nil, nil, sms.RouterOptions{}, "there is no provider"},
		{"no name", nil, []sms.Named{{Provider: a.Provider}}, sms.RouterOptions{}, "provider 1 has no name"},
		{"nil", nil, []sms.Named{{Name: "a"}}, sms.RouterOptions{}, `provider "a" is nil`},
		{"one name twice", nil, []sms.Named{a, a}, sms.RouterOptions{}, `two providers are named "a"`},
		{"no choice", route("+1"), both, sms.RouterOptions{}, `route "+1": it has no provider`},
		{"unknown provider", route("+1", sms.Choice{Provider: "z"}), both, sms.RouterOptions{}, `there is no provider "z"`},
		{"one provider twice", route("+1", ok, ok), both, sms.RouterOptions{}, `provider "a" is listed twice`},
		{"one prefix twice", append(route("+1", ok), route("+1", ok)...), both, sms.RouterOptions{}, "two routes have this prefix"},
		{"negative priority", route("", sms.Choice{Provider: "a", Priority: -1}), both, sms.RouterOptions{}, "priority"},
		{"negative weight", route("", sms.Choice{Provider: "a", Weight: -1}), both, sms.RouterOptions{}, "weight"},
		{"huge weight", route("", sms.Choice{Provider: "a", Weight: 1_000_001}), both, sms.RouterOptions{}, "weight"},
		{"no plus", route("49", ok), both, sms.RouterOptions{}, "the prefix must"},
		{"only a plus", route("+", ok), both, sms.RouterOptions{}, "the prefix must"},
		{"leading zero", route("+049", ok), both, sms.RouterOptions{}, "the prefix must"},
		{"a letter", route("+4a", ok), both, sms.RouterOptions{}, "the prefix must"},
		{"16 digits", route("+1234567890123456", ok), both, sms.RouterOptions{}, "the prefix must"},
		{"budget below a try", nil, both, sms.RouterOptions{Budget: 3 * time.Second}, "budget is 3s"},
		{"try timeout below the least", nil, both, sms.RouterOptions{TryTimeout: time.Millisecond}, "try timeout is 1ms"},
		{"negative min try", nil, both, sms.RouterOptions{MinTry: -1}, "min try"},
		{"negative failures", nil, both, breaker(sms.BreakerOptions{Failures: -1}), "failures"},
		{"ratio above 1", nil, both, breaker(sms.BreakerOptions{Ratio: 1.1}), "ratio"},
		{"negative ratio", nil, both, breaker(sms.BreakerOptions{Ratio: -1}), "ratio"},
		{"ratio that is not a number", nil, both, breaker(sms.BreakerOptions{Ratio: math.NaN()}), "ratio"},
		{"negative tries", nil, both, breaker(sms.BreakerOptions{MinTries: -1}), "min tries"},
		{"tiny window", nil, both, breaker(sms.BreakerOptions{Window: 1}), "window"},
		{"negative pause", nil, both, breaker(sms.BreakerOptions{Pause: -1}), "pause"},
		{"max pause below pause", nil, both, breaker(sms.BreakerOptions{MaxPause: time.Second}), "max pause"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := sms.NewRouter(tc.routes, tc.providers, tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewRouter = %v; want %q", err, tc.want)
			}
		})
	}
	good := append(route("+123456789012345", ok, sms.Choice{Provider: "b", Priority: 3, Weight: 1_000_000}), route("", ok)...)
	if _, err := sms.NewRouter(good, both, sms.RouterOptions{}); err != nil {
		t.Errorf("NewRouter = %v; want no error", err)
	}
	if !slices.IsSortedFunc(good, func(a, b sms.Route) int { return strings.Compare(b.Prefix, a.Prefix) }) {
		t.Error("NewRouter changed the routes it was given")
	}
}
