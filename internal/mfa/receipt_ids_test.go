package mfa_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A receipt whose id can be read in two ways finds the message that is known.
func TestReceiptWithTwoReadings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ids   []string // of the messages that are known
		early bool     // the receipt arrives before the provider has answered
		want  []delivery.State
	}{
		{"the first is known", []string{"29095"}, false, []delivery.State{delivery.Delivered}},
		{"the other is known", []string{"71a7"}, false, []delivery.State{delivery.Delivered}},
		{"both are known", []string{"29095", "71a7"}, false, []delivery.State{delivery.Delivered, delivery.Queued}},
		{"none is known", []string{"other"}, false, []delivery.State{delivery.Queued}},
		{"the first becomes known", []string{"29095"}, true, []delivery.State{delivery.Delivered}},
		{"the other becomes known", []string{"71a7"}, true, []delivery.State{delivery.Delivered}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: often})
			f := w.phone(sandbox, adasPhone)
			report := func() {
				if err := w.Receive(t.Context(), delivery.Receipt{Provider: "carrier", ID: "29095", Also: "71a7", State: delivery.Delivered}); err != nil {
					t.Errorf("Receive = %v", err)
				}
			}
			var challenges []mfa.ChallengeID
			for _, id := range tc.ids {
				w.clock.Advance(time.Second)
				w.carrier.Accept = func(delivery.Message) delivery.Accepted {
					if tc.early {
						report()
					}
					return delivery.Accepted{Provider: "carrier", ID: id}
				}
				challenges = append(challenges, w.challenge(f).ID)
			}
			if !tc.early {
				report()
			}
			for i, c := range challenges {
				if got := w.delivery(c).State; got != tc.want[i] {
					t.Errorf("the message %s is %s; want %s", tc.ids[i], got, tc.want[i])
				}
			}
		})
	}
}

// A message without an id is accepted, and receipts do not find it.
func TestMessageWithoutAnID(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: often})
	w.carrier.Accepted = delivery.Accepted{Provider: "carrier"}
	first := w.challenge(w.phone(sandbox, adasPhone))
	code := w.carrier.Last().Code.Reveal()
	w.clock.Advance(time.Second)
	second := w.challenge(w.phone(sandbox, gracesPhone))
	for _, c := range []mfa.ChallengeID{first.ID, second.ID} {
		if d := w.delivery(c); d.State != delivery.Queued || d.Provider != "carrier" || d.ID != "" {
			t.Errorf("the delivery is %+v", d)
		}
	}
	w.mustVerify(first.ID, code, true)
}

func TestReceiptOfAnUnknownMessageIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	w := newFixture(t, mfa.Options{Limits: often, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.carrier.Accepted = delivery.Accepted{Provider: "carrier", ID: "known"}
	w.challenge(w.phone(sandbox, adasPhone))
	for n, tc := range []struct {
		receipt delivery.Receipt
		lines   int
	}{
		{delivery.Receipt{Provider: "carrier", ID: "known", State: delivery.Sent}, 0},
		{delivery.Receipt{Provider: "carrier", ID: "29095", State: delivery.Delivered}, 1},
		{delivery.Receipt{Provider: "carrier", ID: "29095", Also: "71a7", State: delivery.Delivered}, 1},
		{delivery.Receipt{Provider: "another", ID: "known", State: delivery.Sent}, 1},
	} {
		log.Reset()
		if err := w.Receive(t.Context(), tc.receipt); err != nil {
			t.Errorf("Receive = %v", err)
		}
		want := fmt.Sprintf("provider=%s id=%s state=%s", tc.receipt.Provider, tc.receipt.ID, tc.receipt.State)
		if strings.Count(log.String(), "\n") != tc.lines || tc.lines > 0 && !strings.Contains(log.String(), want) {
			t.Errorf("receipt %d: logged %q; want %d lines, with %q", n, &log, tc.lines, want)
		}
	}
}
