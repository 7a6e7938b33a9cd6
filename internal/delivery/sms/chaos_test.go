package sms_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	chaosSends   = 10_000
	chaosCallers = 64
	chaosBudget  = 300 * time.Millisecond

	// chaosPatience is far above the budget, because a goroutine may wait for seconds on a
	// busy machine, and far below the duration of a call without a budget.
	// TestRouterChaosKeepsTheBudget tests the budget to the nanosecond.
	chaosPatience = 15 * time.Second
)

// A whim is the reaction of a chaosDouble to a request.
type whim int

const (
	accept whim = iota
	acceptLate
	breakDown
	throttle
	throttleFor
	reset
	neverAnswer
	refuse // only for bad numbers
	whims
)

// moods have the number of each whim in a thousand requests: in good and in bad times.
var moods = [2][refuse]int{
	{accept: 800, acceptLate: 80, breakDown: 40, throttle: 20, throttleFor: 10, reset: 30, neverAnswer: 20},
	{accept: 50, acceptLate: 50, breakDown: 400, throttle: 150, throttleFor: 50, reset: 200, neverAnswer: 100},
}

// A chaosDouble is an SMS service whose mood changes every few hundred requests.
type chaosDouble struct {
	mu       sync.Mutex
	rand     *rand.Rand
	requests int
	did      map[string]whim   // by reference
	accepted map[string]string // ids by reference, also if the caller did not receive them
	twice    []string          // references that arrived twice
	counts   [whims]int
}

type chaosMessage struct{ To, Text, Reference string }

const chaosBadNumber = "+15005550009"

func (d *chaosDouble) decide(m chaosMessage) (w whim, id string, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, seen := d.did[m.Reference]; seen {
		d.twice = append(d.twice, m.Reference)
	}
	d.requests++
	mood := moods[0]
	if d.requests%300 < 60 {
		mood = moods[1]
	}
	for n := d.rand.IntN(1000); n >= mood[w]; w++ {
		n -= mood[w]
	}
	if m.To == chaosBadNumber && w <= acceptLate {
		w = refuse
	}
	d.did[m.Reference] = w
	d.counts[w]++
	if w <= acceptLate {
		id = fmt.Sprintf("id-%d", d.requests)
		d.accepted[m.Reference] = id
	}
	return w, id, time.Duration(d.rand.IntN(150)) * time.Millisecond // sometimes longer than the caller waits
}

func (d *chaosDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m chaosMessage
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return // the caller closed the connection while it was writing
	}
	what, id, wait := d.decide(m)
	answer := func(status int, body string) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
	switch what {
	case acceptLate:
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
		fallthrough
	case accept:
		answer(http.StatusCreated, `{"id":"`+id+`"}`)
	case breakDown:
		answer(http.StatusInternalServerError, "no")
	case throttleFor:
		w.Header().Set("Retry-After-Ms", "20")
		fallthrough
	case throttle:
		answer(http.StatusTooManyRequests, "")
	case refuse:
		answer(http.StatusUnprocessableEntity, "")
	case reset:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	case neverAnswer:
		<-r.Context().Done()
	}
}

// A chaosProvider sends to a chaosDouble.
type chaosProvider struct {
	client *http.Client
	url    string
}

func (p *chaosProvider) Send(ctx context.Context, m sms.Message) (string, error) {
	body, err := json.Marshal(chaosMessage{m.To.Reveal(), m.Text.Reveal(), m.Reference})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequest(http.MethodPost, p.url, strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	status, header, reply, err := wire.Exchange(ctx, p.client, req)
	if err != nil {
		return "", err
	}
	switch status {
	case http.StatusCreated:
		var accepted struct{ ID string }
		if err := json.Unmarshal(reply, &accepted); err != nil || accepted.ID == "" {
			return "", &sms.Error{Kind: sms.Uncertain, Reason: "unreadable answer"}
		}
		return accepted.ID, nil
	case http.StatusUnprocessableEntity:
		return "", &sms.Error{Kind: sms.Refused, Code: "422", Reason: "bad number"}
	}
	failure := wire.StatusError(status, header)
	if ms, err := strconv.Atoi(header.Get("Retry-After-Ms")); err == nil {
		failure.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return "", failure
}

// A chaosSend is the outcome of one message.
type chaosSend struct {
	accepted sms.Accepted
	err      error
	tries    []sms.Try // as observed
	took     time.Duration
}

// check checks the promises of Send, which hold for every behavior of the providers.
func (s chaosSend) check(t *testing.T) {
	t.Helper()
	failed, ok := errors.AsType[*sms.DeliveryError](s.err)
	if s.err != nil && (!ok || failed.Reason == "" || !reflect.DeepEqual(failed.Tries, s.tries)) {
		t.Fatalf("Send = %v; want a *DeliveryError with the tries that were observed: %+v", s.err, s.tries)
	}
	if s.err == nil && s.accepted.Tries != len(s.tries) {
		t.Fatalf("Send = %+v; %d tries were observed", s.accepted, len(s.tries))
	}
	asked := map[string]bool{}
	for i, try := range s.tries {
		last := i == len(s.tries)-1
		switch {
		case try.Number != i+1, asked[try.Provider]:
			t.Fatalf("tries = %+v; want them numbered, each at another provider", s.tries)
		case (try.Kind == "") != (last && s.err == nil):
			t.Fatalf("Send = %v after %+v; want an accepted try only at the end of a success", s.err, s.tries)
		case try.Kind == sms.Refused && !last:
			t.Fatalf("tries = %+v; want none after a refusal", s.tries)
		case try.Kind == "" && (try.ID != s.accepted.ID || try.Provider != s.accepted.Provider):
			t.Fatalf("Send = %+v after %+v", s.accepted, s.tries)
		}
		asked[try.Provider] = true
	}
}

// chaosRun sends n messages from many callers and returns the outcome of each.
func chaosRun(t *testing.T, router *sms.Router, observed func(reference string) []sms.Try, n int) map[string]chaosSend {
	var (
		mu   sync.Mutex
		all  sync.WaitGroup
		next int
	)
	sends := map[string]chaosSend{}
	for range chaosCallers {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				m := sms.Message{To: secret.NewString("+15005550006"), Text: secret.NewString("Your code is 482913"), Reference: "m-" + strconv.Itoa(i)}
				if i%50 == 0 {
					m.To = secret.NewString(chaosBadNumber)
				}
				start := time.Now()
				accepted, err := router.Send(t.Context(), m)
				s := chaosSend{accepted, err, observed(m.Reference), time.Since(start)}
				mu.Lock()
				sends[m.Reference] = s
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return sends
}

// triesByReference keeps the observed tries.
type triesByReference struct {
	mu    sync.Mutex
	tries map[string][]sms.Try
}

func (o *triesByReference) observe(try sms.Try) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries[try.Reference] = append(o.tries[try.Reference], try)
}

func (o *triesByReference) of(reference string) []sms.Try {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tries[reference]
}

func TestRouterChaos(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	client := wire.NewClient()
	doubles := map[string]*chaosDouble{}
	var servers []*httptest.Server
	var providers []sms.Named
	route := sms.Route{}
	for i, name := range []string{"a", "b", "c"} {
		d := &chaosDouble{
			rand:     rand.New(rand.NewPCG(seed, uint64(i))),
			requests: 100 * i, // bad times then do not coincide at first
			did:      map[string]whim{}, accepted: map[string]string{},
		}
		server := httptest.NewServer(d)
		doubles[name], servers = d, append(servers, server)
		providers = append(providers, sms.Named{Name: name, Provider: &chaosProvider{client, server.URL}})
		route.Choices = append(route.Choices, sms.Choice{Provider: name, Weight: 3 - i})
	}
	seen := &triesByReference{tries: map[string][]sms.Try{}}
	router, err := sms.NewRouter([]sms.Route{route}, providers, sms.RouterOptions{
		TryTimeout: chaosBudget / 3,
		Budget:     chaosBudget,
		MinTry:     chaosBudget / 20,
		Breaker:    sms.BreakerOptions{Window: time.Second, Pause: 20 * time.Millisecond, MaxPause: 200 * time.Millisecond},
		Observe:    seen.observe,
	})
	if err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	sends := chaosRun(t, router, seen.of, chaosSends)
	elapsed := time.Since(start)
	client.CloseIdleConnections()
	for _, s := range servers {
		s.CloseClientConnections()
		s.Close() // waits for the requests: after that the doubles do not change
	}

	if len(sends) != chaosSends {
		t.Fatalf("%d sends came back; want %d", len(sends), chaosSends)
	}
	var sum chaosSums
	for reference, s := range sends {
		s.check(t)
		checkDoubles(t, doubles, reference, s)
		sum.add(s)
	}
	sum.compare(t, router.Health())
	for name, d := range doubles {
		if len(d.twice) > 0 {
			t.Errorf("%s got %d messages twice, as %s", name, len(d.twice), d.twice[0])
		}
		for w, n := range d.counts {
			if n == 0 {
				t.Errorf("%s never did %d: the test was not chaotic", name, w)
			}
		}
		if got := len(d.did); got > sum.tries[name] || got < sum.tries[name]-sum.unanswered[name] {
			t.Errorf("%s saw %d messages; the callers tried %d times, %d without an answer", name, got, sum.tries[name], sum.unanswered[name])
		}
	}
	if sum.forced == 0 || sum.failovers == 0 || sum.failed == 0 || sum.accepted == 0 {
		t.Errorf("accepted %d, failed %d, failovers %d, forced %d: the test or the router does too little", sum.accepted, sum.failed, sum.failovers, sum.forced)
	}
	t.Logf("%d sends in %v: %d accepted, %d of them by fail-over; %d failed: %v; %d tries at paused providers",
		chaosSends, elapsed.Round(time.Millisecond), sum.accepted, sum.failovers, sum.failed, sum.reasons, sum.forced)
	t.Logf("latency: p50 %v, p99 %v, most %v", sum.took(50), sum.took(99), sum.took(100))
	for _, h := range router.Health() {
		t.Logf("%s: %d accepted, %d refused, %d unavailable, %d uncertain; p50 %v, p99 %v",
			h.Provider, h.Accepted, h.Refused, h.Unavailable, h.Uncertain, h.Latency.P50.Round(time.Microsecond), h.Latency.P99.Round(time.Microsecond))
	}
	wait := time.After(10 * time.Second)
	for runtime.NumGoroutine() > goroutines {
		select {
		case <-wait:
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines are left; before there were %d\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// checkDoubles compares the outcome of a message with the records of the services.
func checkDoubles(t *testing.T, doubles map[string]*chaosDouble, reference string, s chaosSend) {
	t.Helper()
	if s.took > chaosPatience {
		t.Errorf("%s took %v; the budget is %v", reference, s.took, chaosBudget)
	}
	if s.err == nil && doubles[s.accepted.Provider].accepted[reference] != s.accepted.ID {
		t.Errorf("%s: Send = %+v, which %s did not answer", reference, s.accepted, s.accepted.Provider)
	}
	kinds := map[string]sms.Kind{}
	for _, try := range s.tries {
		kinds[try.Provider] = try.Kind
		if did, ok := doubles[try.Provider].did[reference]; try.Code != "" && (!ok || did < breakDown || did > throttleFor && did != refuse) {
			t.Errorf("%s: %s answered %s; its own record is %d", reference, try.Provider, try.Code, did)
		}
	}
	for name, d := range doubles {
		kind, tried := kinds[name]
		if _, saw := d.did[reference]; saw && !tried {
			t.Errorf("%s reached %s without a try", reference, name)
		}
		if _, ok := d.accepted[reference]; ok && kind != "" && kind != sms.Uncertain {
			t.Errorf("%s: %s accepted it, but the try counts as %s", reference, name, kind)
		}
	}
}

// chaosSums are the sums of the outcomes that the callers saw.
type chaosSums struct {
	accepted, failed, failovers, forced int

	tries, unanswered map[string]int // by provider
	kinds             map[string]map[sms.Kind]uint64
	reasons           map[string]int
	latencies         []time.Duration
}

func (c *chaosSums) add(s chaosSend) {
	if c.tries == nil {
		c.tries, c.unanswered = map[string]int{}, map[string]int{}
		c.kinds, c.reasons = map[string]map[sms.Kind]uint64{}, map[string]int{}
	}
	tries := s.accepted.Tries
	if failed, ok := errors.AsType[*sms.DeliveryError](s.err); ok {
		c.failed++
		c.reasons[failed.Reason]++
		tries = len(failed.Tries)
	} else {
		c.accepted++
		if tries > 1 {
			c.failovers++
		}
	}
	for _, try := range s.tries[:tries] {
		c.tries[try.Provider]++
		if try.Kind != "" && try.Code == "" {
			c.unanswered[try.Provider]++
		}
		if try.Forced {
			c.forced++
		}
		if c.kinds[try.Provider] == nil {
			c.kinds[try.Provider] = map[sms.Kind]uint64{}
		}
		c.kinds[try.Provider][try.Kind]++
	}
	c.latencies = append(c.latencies, s.took)
}

func (c *chaosSums) compare(t *testing.T, health []sms.Health) {
	t.Helper()
	for _, h := range health {
		got := map[sms.Kind]uint64{"": h.Accepted, sms.Refused: h.Refused, sms.Unavailable: h.Unavailable, sms.Uncertain: h.Uncertain}
		for kind, n := range got {
			if want := c.kinds[h.Provider][kind]; n != want {
				t.Errorf("%s: Health counts %d of kind %q; the callers %d", h.Provider, n, kind, want)
			}
		}
	}
}

func (c *chaosSums) took(percent int) time.Duration {
	slices.Sort(c.latencies)
	return c.latencies[(len(c.latencies)*percent+99)/100-1].Round(time.Millisecond)
}

// This test uses the real budget and a clock that moves only while every goroutine waits,
// so a send may not exceed the budget by a nanosecond.
func TestRouterChaosKeepsTheBudget(t *testing.T) {
	const budget = 11500 * time.Millisecond // the default
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, 0))
		moody := func(ctx context.Context) (string, error) {
			mu.Lock()
			n, wait := random.IntN(8), time.Duration(random.IntN(6_000_000))*time.Microsecond
			mu.Unlock()
			return []reply{
				accepts, takes(wait, accepts), takes(wait, fails(sms.Unavailable, "500")), fails(sms.Unavailable, "500"),
				fails(sms.Uncertain, ""), throttles(wait), hangs, hangs,
			}[n](ctx)
		}
		seen := &triesByReference{tries: map[string][]sms.Try{}}
		var providers []sms.Named
		for _, name := range []string{"a", "b", "c", "d"} {
			providers = append(providers, sms.Named{Name: name, Provider: &fakeService{replies: []reply{moody}}})
		}
		router, err := sms.NewRouter(nil, providers, sms.RouterOptions{Observe: seen.observe})
		if err != nil {
			t.Fatal(err)
		}
		var sum chaosSums
		for reference, s := range chaosRun(t, router, seen.of, 4000) {
			s.check(t)
			sum.add(s)
			if s.took > budget {
				t.Errorf("%s took %v", reference, s.took)
			}
		}
		sum.compare(t, router.Health())
		if most := sum.took(100); most != budget {
			t.Errorf("the longest took %v; want one that used all of its %v", most, budget)
		}
	})
}
