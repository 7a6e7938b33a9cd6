package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// A gate is a Sender that holds each message until the test decides the result.
type gate struct {
	arrived chan delivery.Message
	fate    chan error
}

func newGate() *gate { return &gate{make(chan delivery.Message), make(chan error)} }

func (g *gate) Send(_ context.Context, m delivery.Message) (delivery.Accepted, error) {
	g.arrived <- m
	return delivery.Accepted{Provider: "slow"}, <-g.fate
}

// sendTimeout is the default of Options.SendTimeout.
const sendTimeout = 12 * time.Second

// A node sends a message and stops for a while, and another node answers the same
// request. That answer is valid with every result of the message.
func TestAnswerOfAnotherNodeIsKept(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testSlowSender(t, func(t *testing.T, w *fixture) (a, b mfa.Store) { return w.store, w.store })
	})
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.Start(t).Database(t)
		if err := postgres.Migrate(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		open := func() mfa.Store {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s
		}
		a, b := open(), open()
		testSlowSender(t, func(*testing.T, *fixture) (mfa.Store, mfa.Store) { return a, b })
	})
}

func testSlowSender(t *testing.T, open func(*testing.T, *fixture) (a, b mfa.Store)) {
	keys := map[string]func(string) *idempotency.Request[mfa.IssuedChallenge]{
		"plain key": func(name string) *idempotency.Request[mfa.IssuedChallenge] {
			return onceKey[mfa.IssuedChallenge](name, "the request")
		},
		"derived key": derived[mfa.IssuedChallenge],
	}
	for _, operation := range []string{"challenge", "resend"} {
		for keyName, key := range keys {
			if operation == "resend" && keyName == "derived key" {
				continue // a derived key does not bind a resend
			}
			for fateName, fate := range map[string]error{"sent": nil, "refused": errCarrier, "uncertain": timeout{}} {
				for _, when := range []string{"before the sender answers", "while the failure is undone", "after all is done"} {
					if fate == nil && when == "while the failure is undone" {
						continue
					}
					t.Run(fmt.Sprint(operation, "/", keyName, "/", fateName, "/", when), func(t *testing.T) {
						c := slowCase{operation: operation, once: key(t.Name()), fate: fate, when: when}
						w := newFixture(t, mfa.Options{})
						a, b := open(t, w)
						c.run(t, w, a, b)
					})
				}
			}
		}
	}
}

type slowCase struct {
	operation string
	once      *idempotency.Request[mfa.IssuedChallenge]
	fate      error
	when      string
}

func (tc slowCase) run(t *testing.T, w *fixture, storeA, storeB mfa.Store) {
	ctx := t.Context()
	slow := newGate()
	var second func() error // the same request on node b
	undoing := tc.when == "while the failure is undone"
	tap := &tapped{Store: storeA, before: func(r mfa.Read) {
		if undoing && r.Challenge != (mfa.ChallengeID{}) && r.Replay != (mfa.ReplayKey{}) && second != nil {
			run := second
			second = nil
			run()
		}
	}}
	rules := delivery.Rules{Countries: []string{"US"}}
	nodeA, err := mfa.NewService(tap, w.keys, nil, mfa.Options{SMS: rules, Sandbox: slow, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	nodeB := w.serviceOver(storeB, mfa.Options{})
	e, err := nodeB.Enroll(ctx, sandbox, mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: adasPhone}, nil)
	if err != nil {
		t.Fatal(err)
	}
	do := func(s *mfa.Service) (mfa.IssuedChallenge, error) {
		return s.Challenge(ctx, sandbox, e.ID, mfa.ChallengeParams{}, tc.once)
	}
	before := 0 // messages
	if tc.operation == "resend" {
		first, err := nodeB.Challenge(ctx, sandbox, e.ID, mfa.ChallengeParams{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
		before = w.carrier.Sent()
		do = func(s *mfa.Service) (mfa.IssuedChallenge, error) { return s.Resend(ctx, sandbox, first.ID, tc.once) }
	}

	var acknowledged string
	ask := func() error {
		c, err := do(nodeB)
		if answer := replayed(c); answer != "" && err == nil {
			acknowledged = answer
			return nil
		}
		acknowledged = told(c, err)
		return err
	}
	type result struct {
		c   mfa.IssuedChallenge
		err error
	}
	done := make(chan result)
	go func() {
		c, err := do(nodeA)
		done <- result{c, err}
	}()
	message := <-slow.arrived
	w.clock.Advance(sendTimeout)
	if tc.when == "before the sender answers" {
		if err := ask(); err != nil {
			t.Fatalf("the same request on the other node = %v; want it answered", err)
		}
	} else if undoing {
		second = func() error {
			err := ask()
			if err != nil {
				t.Errorf("the same request on the other node = %v; want it answered", err)
			}
			return err
		}
	}
	w.clock.Advance(8 * time.Second)
	slow.fate <- tc.fate
	first := <-done
	if (first.err == nil) != (tc.fate == nil) || tc.fate != nil && !errors.Is(first.err, delivery.ErrNotDelivered) {
		t.Errorf("the request on the node that stopped = %v", first.err)
	}
	voided := false
	if tc.when == "after all is done" {
		w.clock.Advance(9 * time.Second)
		if tc.fate != nil {
			w.clock.Advance(time.Second) // 30 s after a message that may have been sent
		}
		if err := ask(); err != nil {
			t.Fatalf("the same request on the other node = %v; want it answered", err)
		}
		voided = tc.fate != nil
	}

	if acknowledged != fmt.Sprint(message.Challenge, "", nil) != voided && tc.operation == "challenge" {
		t.Errorf("acknowledged is %s; a new challenge is %v, want %v", acknowledged, !voided, voided)
	}
	rows, err := storeB.View(ctx, mfa.Read{Bucket: message.Challenge.Bucket(), Challenge: message.Challenge})
	if err != nil {
		t.Fatal(err)
	}
	if voided {
		if gone := rows.Challenge == nil; gone != (tc.operation == "challenge") {
			t.Errorf("the challenge of the failed message is gone: %v", gone)
		}
		if n := w.carrier.Sent() - before; n != 1 {
			t.Errorf("%d messages were sent by the other node; want 1", n)
		}
		return
	}
	if rows.Challenge == nil {
		t.Fatal("the acknowledged challenge is gone")
	}
	if n := w.carrier.Sent() - before; n != 0 {
		t.Errorf("%d messages were sent by the other node; want none", n)
	}
	d := rows.Challenge.Messages[len(rows.Challenge.Messages)-1]
	want := delivery.Queued // also for a message that may have been sent
	if tc.fate == errCarrier {
		want = delivery.Failed
	}
	if d.State != want {
		t.Errorf("its message is %s; want %s", d.State, want)
	}
	if sum, ok := rows.Challenge.Delivery(w.clock.Now()); !ok || sum.State == "" {
		t.Errorf("the delivery is %+v, %v", sum, ok)
	}
	if tc.once.Derived {
		return // 30 s are over soon
	}
	again := acknowledged
	if err := ask(); err != nil || again != acknowledged {
		t.Errorf("the same request again = %v, %v; want %v", acknowledged, err, again)
	}
	if v, err := nodeB.Verify(ctx, sandbox, message.Challenge, mfa.VerifyParams{Code: message.Code.Reveal()}, nil); err != nil || !v.Valid {
		t.Errorf("Verify = %v, %v; want the code valid", v.Valid, err)
	}
}

// A late sender does not undo a later request under the same key.
func TestSlowSenderTakesBackOnlyItsOwn(t *testing.T) {
	for name, fate := range map[string]error{"sent": nil, "refused": errCarrier, "uncertain": timeout{}} {
		t.Run(name, func(t *testing.T) {
			w, slow := newFixture(t, mfa.Options{}), newGate()
			f := w.phone(sandbox, adasPhone)
			stopped, err := mfa.NewService(w.store, w.keys, nil, mfa.Options{Sandbox: slow, Now: w.clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			do := func(s *mfa.Service) (mfa.IssuedChallenge, error) {
				return s.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, derived[mfa.IssuedChallenge]("k"))
			}
			done := make(chan error)
			go func() {
				_, err := do(stopped)
				done <- err
			}()
			<-slow.arrived
			w.clock.Advance(30 * time.Second) // the key is free again
			held := newGate()
			other, err := mfa.NewService(w.store, w.keys, nil, mfa.Options{Sandbox: held, Now: w.clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			second := make(chan mfa.IssuedChallenge)
			go func() {
				c, err := do(other)
				if err != nil {
					t.Error(err)
				}
				second <- c
			}()
			<-held.arrived
			slow.fate <- fate
			if err := <-done; (err == nil) != (fate == nil) {
				t.Errorf("the first = %v", err)
			}
			w.clock.Advance(time.Second)
			// The second is still being sent.
			waiting := make(chan error)
			var again mfa.IssuedChallenge
			go func() {
				var err error
				again, err = do(w.Service)
				waiting <- err
			}()
			held.fate <- nil
			c := <-second
			err = <-waiting
			if err != nil || replayed(again) != told(c, nil) {
				t.Errorf("the second again = %v; want its answer", err)
			}
			if w.kept(c.ID) == nil || w.carrier.Sent() != 0 {
				t.Errorf("the second challenge is gone, or %d more messages were sent", w.carrier.Sent())
			}
			_, err = w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, nil)
			if wait := waitIn(t, err, delivery.ErrSendLimit); wait != 29*time.Second {
				t.Errorf("wait is %v; want the second message counted", wait)
			}
		})
	}
}

// A message that never left does not hide the challenge that another node acknowledged.
func TestFailedFirstMessageCanBeSentAgain(t *testing.T) {
	w, slow := newFixture(t, mfa.Options{}), newGate()
	f := w.phone(sandbox, adasPhone)
	stopped, err := mfa.NewService(w.store, w.keys, nil, mfa.Options{Sandbox: slow, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	once := onceKey[mfa.IssuedChallenge]("k", "r")
	done := make(chan error)
	go func() {
		_, err := stopped.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)
		done <- err
	}()
	id := (<-slow.arrived).Challenge
	w.clock.Advance(sendTimeout)
	if err := fresh(w.Challenge(t.Context(), sandbox, f, mfa.ChallengeParams{}, once)); !isReplay(err) {
		t.Fatalf("the same request on another node = %v; want its answer", err)
	}
	slow.fate <- errCarrier
	if err := <-done; !errors.Is(err, delivery.ErrNotDelivered) {
		t.Errorf("the first = %v", err)
	}
	if d := w.delivery(id); d.State != delivery.Failed {
		t.Errorf("the delivery is %+v; want %s", d, delivery.Failed)
	}
	if got := w.messageEvents(id); !slices.Equal(got, []string{"failed delivery_failed"}) {
		t.Errorf("events are %q", got)
	}
	if _, err := w.resend(id); err != nil { // at once: nothing was counted
		t.Fatalf("Resend = %v", err)
	}
	if d := w.delivery(id); d.State != delivery.Queued || w.carrier.Sent() != 1 {
		t.Errorf("after %d messages the delivery is %+v", w.carrier.Sent(), d)
	}
	w.mustVerify(id, w.carrier.Last().Code.Reveal(), true)
}
