package stats_test

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// A message is what the model knows of one message.
type message struct {
	hour    string
	country string
	id      string
	state   delivery.State
}

// A model repeats what a random run does, and counts it in its own way.
type model struct {
	*fixture
	rand     *rand.Rand
	factors  []mfa.FactorID
	phones   map[mfa.FactorID]string // countries
	pending  []mfa.IssuedChallenge
	codes    map[mfa.ChallengeID]string
	messages []message
	events   map[string]int64
	sms      map[string][6]int64
}

func (m *model) hour() string { return m.clock.Now().UTC().Format("02 15h ") }

func (m *model) saw(group string) { m.events[m.hour()+group]++ }

// addSMS adds to a number of the messages of an hour.
func (m *model) addSMS(hour, group string, i int, n int64) {
	numbers := m.sms[hour+group]
	numbers[i] += n
	m.sms[hour+group] = numbers
}

const (
	sent = iota
	delivered
	undelivered
	failed
	verified
	segments
)

var position = map[delivery.State]int{delivery.Delivered: delivered, delivery.Undelivered: undelivered, delivery.Failed: failed}

func (m *model) step() {
	switch m.rand.IntN(9) {
	case 0, 1:
		m.enrollOne()
	case 2, 3, 4:
		m.challengeOne()
	case 5, 6:
		m.verifyOne()
	case 7:
		m.receive()
	case 8:
		m.clock.Advance(time.Duration(m.rand.IntN(40)) * time.Minute)
	}
	m.clock.Advance(time.Second)
}

func (m *model) enrollOne() {
	user := fmt.Sprint("user", m.rand.IntN(10))
	switch m.rand.IntN(3) {
	case 0:
		m.factors = append(m.factors, m.enroll(m.live, user, mfa.GenericOTP, ""))
		m.saw("factor.enrolled generic_otp -")
	case 1:
		id := m.enroll(m.live, user, mfa.SMS, "+1607351711"+fmt.Sprint(m.rand.IntN(10)))
		m.factors, m.phones[id] = append(m.factors, id), "US"
		m.saw("factor.enrolled sms -")
	case 2:
		id := m.enroll(m.live, user, mfa.SMS, "+491512345678"+fmt.Sprint(m.rand.IntN(10)))
		m.factors, m.phones[id] = append(m.factors, id), "DE"
		m.saw("factor.enrolled sms -")
	}
}

func (m *model) challengeOne() {
	if len(m.factors) == 0 {
		return
	}
	id := m.factors[m.rand.IntN(len(m.factors))]
	country, isSMS := m.phones[id]
	m.carrier.Lost = nil
	if m.rand.IntN(6) == 0 {
		m.carrier.Lost = errors.New("no provider answers")
	}
	c, ok := m.challenge(m.live, id)
	switch {
	case !isSMS:
		m.saw("challenge.created generic_otp -")
		m.codes[c.ID] = c.Code.Reveal()
	case !ok:
		m.saw("challenge.created sms -")
		m.saw("challenge.voided sms delivery_failed")
		m.addSMS(m.hour(), "- "+country+" -", failed, 1)
		return
	default:
		m.saw("challenge.created sms -")
		m.saw("message.queued sms -")
		m.codes[c.ID] = m.carrier.Last().Code.Reveal()
		m.addSMS(m.hour(), "acme "+country+" -", sent, 1)
		m.addSMS(m.hour(), "acme "+country+" -", segments, 1)
		m.messages = append(m.messages, message{m.hour(), country, fmt.Sprint(m.sent), delivery.Queued})
	}
	m.pending = append(m.pending, c)
}

// verifyOne tries a code of a challenge, right or wrong, in time or late.
func (m *model) verifyOne() {
	if len(m.pending) == 0 {
		return
	}
	i := m.rand.IntN(len(m.pending))
	c := m.pending[i]
	code := m.codes[c.ID]
	if m.rand.IntN(2) == 0 {
		code = "12345"
	}
	v, err := m.Verify(m.t.Context(), m.live, c.ID, mfa.VerifyParams{Code: code}, nil)
	kind := string(c.Type)
	switch {
	case errors.Is(err, mfa.ErrExpired):
		m.saw("challenge.refused " + kind + " expired")
		m.pending = slices.Delete(m.pending, i, i+1)
	case err != nil && !errors.Is(err, mfa.ErrTooManyAttempts):
		m.t.Fatal(err)
	case err != nil:
		m.saw("challenge.refused " + kind + " too_many_attempts")
		m.pending = slices.Delete(m.pending, i, i+1)
	case v.Valid:
		m.saw("authentication.mfa_succeeded " + kind + " -")
		m.pending = slices.Delete(m.pending, i, i+1)
		if country, ok := m.phones[c.Factor]; ok {
			m.addSMS(c.CreatedAt.Format("02 15h "), "acme "+country+" -", verified, 1)
		}
	default:
		m.saw("authentication.mfa_failed " + kind + " wrong_code")
	}
}

// receive gives the service a receipt, which may be late, repeated or contrary.
func (m *model) receive() {
	if len(m.messages) == 0 {
		return
	}
	msg := &m.messages[m.rand.IntN(len(m.messages))]
	to := []delivery.State{delivery.Sent, delivery.Undelivered, delivery.Failed, delivery.Delivered}[m.rand.IntN(4)]
	if err := m.Receive(m.t.Context(), delivery.Receipt{Provider: "acme", ID: msg.id, State: to}); err != nil {
		m.t.Fatal(err)
	}
	rank := map[delivery.State]int{delivery.Queued: 1, delivery.Sent: 2, delivery.Undelivered: 3, delivery.Failed: 3, delivery.Delivered: 4}
	if rank[to] <= rank[msg.state] {
		return
	}
	if i, ok := position[msg.state]; ok {
		m.addSMS(msg.hour, "acme "+msg.country+" -", i, -1)
	}
	if i, ok := position[to]; ok {
		m.addSMS(msg.hour, "acme "+msg.country+" -", i, 1)
	}
	msg.state = to
	m.saw("message." + string(to) + " sms -")
}

// TestCountsEqualTheModel runs random operations while two nodes count, and compares the
// counts with the counts of a model and with a recount of the log of events.
func TestCountsEqualTheModel(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		m := &model{
			fixture: w, rand: rand.New(rand.NewPCG(seed, 1)), phones: map[mfa.FactorID]string{}, codes: map[mfa.ChallengeID]string{},
			events: map[string]int64{}, sms: map[string][6]int64{},
		}
		m.saw("environment.created - -")
		counters := []*stats.Counter{w.counter(w.store), w.counter(w.reopen())}
		for range 300 {
			m.step()
			if m.rand.IntN(5) == 0 {
				if _, _, err := counters[m.rand.IntN(2)].Step(t.Context(), w.live.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.countAll(counters[0])
		got := map[string]int64{}
		for group, n := range w.rows(w.live.ID, stats.Events) {
			got[group] = n[0]
		}
		if !maps.Equal(got, m.events) {
			t.Errorf("the events are counted as\n%v\nwant\n%v", got, m.events)
		}
		if sms := w.rows(w.live.ID, stats.SMS); !maps.Equal(sms, m.sms) {
			t.Errorf("the messages are counted as\n%v\nwant\n%v", sms, m.sms)
		}
		prefixes := map[string][6]int64{}
		for group, n := range w.rows(w.live.ID, stats.Prefixes) {
			at := group[:len("02 15h ")]
			var ref, country string
			if _, err := fmt.Sscan(group[len(at):], &ref, &country); err != nil || len(ref) != len("prefix_0123456789ab") {
				t.Errorf("a prefix is named %q", group)
			}
			sum := prefixes[at+country]
			for i := range sum {
				sum[i] += n[i]
			}
			prefixes[at+country] = sum
		}
		all := map[string][6]int64{}
		for group, n := range m.sms {
			var day, hour, provider, country string
			fmt.Sscan(group, &day, &hour, &provider, &country)
			sum := all[day+" "+hour+" "+country]
			for i := range sum {
				sum[i] += n[i]
			}
			all[day+" "+hour+" "+country] = sum
		}
		if !maps.Equal(prefixes, all) {
			t.Errorf("the prefixes add up to\n%v\nwant\n%v", prefixes, all)
		}
		if recount := w.recount(w.live.ID); !maps.Equal(got, recount) {
			t.Errorf("the counts are\n%v\nbut the log has\n%v", got, recount)
		}
		if lag := counters[0].Lag(); lag != 0 {
			t.Errorf("Lag = %v after all events are counted; want 0", lag)
		}
	})
}

// recount counts the events in the log by hour, type, kind and reason.
func (w *fixture) recount(env mfa.EnvironmentID) map[string]int64 {
	w.t.Helper()
	all := map[string]int64{}
	for q := (events.Query{Environment: env, Limit: 1000}); ; {
		page, err := w.store.ReadEvents(w.t.Context(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range page.Events {
			kind, reason := string(e.Kind), "-"
			if kind == "" {
				kind = "-"
			}
			switch e.Type {
			case mfa.ChallengeFailed, mfa.ChallengeRefused, mfa.ChallengeVoided:
				reason = e.Reason
			}
			all[e.At.Format("02 15h ")+string(e.Type)+" "+kind+" "+reason]++
		}
		if q.After = page.Last; !page.More {
			return all
		}
	}
}

// TestRacingNodesCountOnce lets four nodes count the same events at once.
func TestRacingNodesCountOnce(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		var nodes []*stats.Counter
		for range 4 {
			nodes = append(nodes, w.counter(w.reopen()))
		}
		counted := make([]int, len(nodes))
		for range 10 {
			f := w.enroll(w.live, "ada", mfa.GenericOTP, "")
			for range 10 {
				w.challenge(w.live, f)
			}
			w.clock.Advance(time.Minute) // no node has a lease
			var racing sync.WaitGroup
			for i, c := range nodes {
				racing.Go(func() {
					for more := true; more; {
						n, again, err := c.Step(t.Context(), w.live.ID)
						if err != nil && !errors.Is(err, stats.ErrTaken) {
							t.Error(err)
							return
						}
						counted[i] += n
						more = again || err != nil
					}
				})
			}
			racing.Wait()
		}
		w.countAll(nodes[0])
		sum := map[string]int64{}
		for group, n := range w.rows(w.live.ID, stats.Events) {
			sum[group[len("02 15h "):]] += n[0]
		}
		want := map[string]int64{"environment.created - -": 1, "factor.enrolled generic_otp -": 10, "challenge.created generic_otp -": 100}
		if !maps.Equal(sum, want) {
			t.Errorf("the counts are %v; want %v; the nodes counted %v", sum, want, counted)
		}
	})
}

// TestANodeLeavesAnEnvironmentToTheOneThatCounts checks the lease, and that another node
// takes over when it ends.
func TestANodeLeavesAnEnvironmentToTheOneThatCounts(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		first, second := w.counter(w.store), w.counter(w.reopen())
		w.countAll(first)
		w.enroll(w.live, "ada", mfa.GenericOTP, "")
		w.clock.Advance(5 * time.Second)
		if n, _, err := second.Step(t.Context(), w.live.ID); n != 0 || err != nil {
			t.Errorf("Step of another node = %d, %v; want nothing while the first has the lease", n, err)
		}
		if lag := second.Lag(); lag != 5*time.Second {
			t.Errorf("Lag of the other node = %v; want the age of the event, 5s", lag)
		}
		w.clock.Advance(time.Minute)
		if n, _, err := second.Step(t.Context(), w.live.ID); n != 1 || err != nil {
			t.Errorf("Step after the lease = %d, %v; want 1", n, err)
		}
		if n, _, err := first.Step(t.Context(), w.live.ID); n != 0 || err != nil {
			t.Errorf("Step of the first node = %d, %v; want nothing", n, err)
		}
	})
}

// TestLateReceiptsCountWithTheirMessage gives receipts hours after the message.
func TestLateReceiptsCountWithTheirMessage(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		f := w.enroll(w.live, "ada", mfa.SMS, "+4915123456789")
		w.challenge(w.live, f)
		for _, state := range []delivery.State{delivery.Undelivered, delivery.Delivered} {
			w.countAll(c)
			w.clock.Advance(3 * time.Hour)
			if err := w.Receive(t.Context(), delivery.Receipt{Provider: "acme", ID: "1", State: state}); err != nil {
				t.Fatal(err)
			}
		}
		w.countAll(c)
		want := map[string][6]int64{"27 12h acme DE -": {sent: 1, delivered: 1, segments: 1}}
		if got := w.rows(w.live.ID, stats.SMS); !maps.Equal(got, want) {
			t.Errorf("the messages are counted as %v; want %v", got, want)
		}
	})
}

// TestABypassCodeVerifiesNoMessage verifies the challenge of an SMS factor with a bypass code.
func TestABypassCodeVerifiesNoMessage(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		id := w.enroll(w.live, "ada", mfa.SMS, "+4915123456789")
		rows, err := w.store.View(t.Context(), mfa.Read{Bucket: id.Bucket(), Factor: id})
		if err != nil {
			t.Fatal(err)
		}
		code, b, err := mfa.NewBypass(w.Keys(), cryptorand.Reader, rows.Factor, time.Minute, w.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Update(t.Context(), mfa.Read{Bucket: b.Bucket, Bypass: b.Key}, func(tx *mfa.Tx) error {
			tx.Writes = append(tx.Writes, mfa.PutBypass{Bypass: b})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		challenge, _ := w.challenge(w.live, id)
		if v, err := w.Verify(t.Context(), w.live, challenge.ID, mfa.VerifyParams{Code: code.Reveal()}, nil); err != nil || !v.Bypass {
			t.Fatalf("Verify = %+v, %v; want a bypass", v, err)
		}
		w.countAll(c)
		want := map[string][6]int64{"27 12h acme DE -": {sent: 1, segments: 1}}
		if got := w.rows(w.live.ID, stats.SMS); !maps.Equal(got, want) {
			t.Errorf("the messages are counted as %v; want %v", got, want)
		}
	})
}

// TestTestMessagesCountAsSent sends a test message, and another one that may have been sent.
func TestTestMessagesCountAsSent(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		by, phone := mfa.Caller{Environment: w.live.Environment, Operator: "ada"}, delivery.NewPhone("+4915123456789")
		if _, err := w.SendTest(t.Context(), by, phone); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Second)
		w.carrier.Lost = context.DeadlineExceeded
		if _, err := w.SendTest(t.Context(), by, phone); !errors.Is(err, delivery.ErrUncertain) {
			t.Fatalf("SendTest = %v; want %v", err, delivery.ErrUncertain)
		}
		w.countAll(w.counter(w.store))
		want := map[string][6]int64{"27 12h acme DE -": {sent: 1, segments: 1}}
		if got := w.rows(w.live.ID, stats.SMS); !maps.Equal(got, want) {
			t.Errorf("the messages are counted as %v; want %v", got, want)
		}
	})
}
