package mfa_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// happened writes events as "type reason", oldest first.
func happened(events []mfa.Event) (all []string) {
	for _, e := range events {
		all = append(all, strings.TrimSpace(string(e.Type)+" "+e.Reason))
	}
	return all
}

func TestEverythingLeavesItsEvents(t *testing.T) {
	type events = []string
	six := events{
		"authentication.mfa_failed wrong_code", "authentication.mfa_failed wrong_code", "authentication.mfa_failed wrong_code",
		"authentication.mfa_failed wrong_code", "authentication.mfa_failed wrong_code", "authentication.mfa_failed wrong_code", "factor.locked",
	}
	for _, tc := range []struct {
		name string
		do   func(w *fixture, app, generic mfa.Enrollment)
		want events
	}{
		{"enroll totp", func(w *fixture, _, _ mfa.Enrollment) {
			w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
		}, events{"factor.enrolled"}},
		{"enroll with a challenge", func(w *fixture, _, _ mfa.Enrollment) {
			w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada", Challenge: true})
		}, events{"factor.enrolled", "challenge.created"}},
		{"enroll sms", func(w *fixture, _, _ mfa.Enrollment) {
			w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "ada", PhoneNumber: adasPhone})
		}, events{"factor.enrolled"}},
		{"right code", func(w *fixture, app, _ mfa.Enrollment) {
			w.mustVerify(w.challenge(app.ID).ID, w.app(app, 0), true)
		}, events{"challenge.created", "authentication.mfa_succeeded"}},
		{"wrong code", func(w *fixture, app, _ mfa.Enrollment) {
			w.mustVerify(w.challenge(app.ID).ID, wrong, false)
		}, events{"challenge.created", "authentication.mfa_failed wrong_code"}},
		{"spent code", func(w *fixture, app, _ mfa.Enrollment) {
			w.mustVerify(w.challenge(app.ID).ID, w.app(app, 0), true)
			w.mustVerify(w.challenge(app.ID).ID, w.app(app, 0), false)
		}, events{"challenge.created", "authentication.mfa_succeeded", "challenge.created", "authentication.mfa_failed spent_code"}},
		{"verified before", func(w *fixture, _, generic mfa.Enrollment) {
			c := w.challenge(generic.ID)
			w.mustVerify(c.ID, c.Code.Reveal(), true)
			w.verify(c.ID, c.Code.Reveal())
		}, events{"challenge.created", "authentication.mfa_succeeded", "challenge.refused previously_verified"}},
		{"expired", func(w *fixture, _, generic mfa.Enrollment) {
			c := w.challenge(generic.ID)
			w.clock.Advance(10 * time.Minute)
			w.verify(c.ID, c.Code.Reveal())
		}, events{"challenge.created", "challenge.refused expired"}},
		{"factor locked, then tried", func(w *fixture, _, generic mfa.Enrollment) {
			a, b := w.challenge(generic.ID), w.challenge(generic.ID)
			for n := range 6 {
				w.mustVerify([]mfa.ChallengeID{a.ID, b.ID}[n%2], wrong, false)
			}
			w.verify(b.ID, b.Code.Reveal())
		}, append(append(events{"challenge.created", "challenge.created"}, six...), "challenge.refused too_many_attempts")},
		{"user locked, then unlocked", func(w *fixture, app, generic mfa.Enrollment) {
			a, b := w.challenge(app.ID), w.challenge(generic.ID)
			for n := range 7 {
				w.mustVerify([]mfa.ChallengeID{a.ID, b.ID}[n%2], wrong, false)
			}
			w.unlockUser(sandbox, "ada")
			w.unlockUser(sandbox, "ada") // there is nothing left to lift
		}, append(append(events{"challenge.created", "challenge.created"}, six[:6]...), "authentication.mfa_failed wrong_code", "factor.user_locked", "factor.user_unlocked")},
		{"unlock", func(w *fixture, app, _ mfa.Enrollment) {
			w.mustVerify(w.challenge(app.ID).ID, wrong, false)
			w.unlockFactor(app.ID)
			w.unlockFactor(app.ID) // it is not locked
			w.unlockUser(sandbox, "nobody")
		}, events{"challenge.created", "authentication.mfa_failed wrong_code", "factor.unlocked"}},
		{"delete", func(w *fixture, app, _ mfa.Enrollment) {
			c := w.challenge(app.ID)
			w.DeleteFactor(w.t.Context(), sandbox, app.ID)
			w.DeleteFactor(w.t.Context(), sandbox, app.ID)
			w.verify(c.ID, wrong)
		}, events{"challenge.created", "factor.deleted"}},
		{"nothing but looking", func(w *fixture, app, _ mfa.Enrollment) {
			w.Factor(w.t.Context(), sandbox, app.ID)
			w.Factors(w.t.Context(), sandbox, mfa.ListParams{User: "ada"})
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 7}})
			app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
			generic := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"})
			tc.do(w, app, generic)
			if got := happened(w.events(app.ID.Bucket())[2:]); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestEventNamesItsSubject(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
	w.clock.Advance(time.Second)
	c := w.challenge(f)
	w.clock.Advance(time.Second)
	w.mustVerify(c.ID, wrong, false)
	w.clock.Advance(time.Second)
	if err := w.unlockFactor(f); err != nil {
		t.Fatal(err)
	}
	start := w.clock.Now().Add(-3 * time.Second)
	for i, want := range []mfa.Event{
		{Type: mfa.FactorEnrolled, Factor: f},
		{Type: mfa.ChallengeCreated, Factor: f, Challenge: c.ID},
		{Type: mfa.ChallengeFailed, Factor: f, Challenge: c.ID, Reason: "wrong_code"},
		{Type: mfa.FactorUnlocked, Factor: f},
	} {
		got := w.events(f.Bucket())[i]
		want.ID, want.Environment, want.Kind, want.Caller = got.ID, sandbox.ID, mfa.GenericOTP, "key_sandbox"
		if want.Type == mfa.FactorUnlocked {
			want.Caller = "operator:ada"
		}
		want.At = start.Add(time.Duration(i) * time.Second)
		if got != want {
			t.Errorf("event %d is %+v; want %+v", i, got, want)
		}
	}
}

func TestEventsHoldNoPersonalData(t *testing.T) {
	w := newFixture(t, mfa.Options{Limits: mfa.Limits{UserFailures: 3}})
	const user = "ada@example.com"
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: user, Issuer: "Analytical Engines", Account: "ada lovelace"})
	phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: user, PhoneNumber: adasPhone})
	code := w.app(app, 0)
	w.mustVerify(w.challenge(app.ID).ID, code, true)
	c := w.challenge(phone.ID)
	sent := w.carrier.Last().Code.Reveal()
	const tried = "271828"
	for range 3 {
		w.verify(c.ID, tried)
	}
	w.verify(c.ID, sent)
	if err := w.DeleteFactor(t.Context(), sandbox, app.ID); err != nil {
		t.Fatal(err)
	}
	events := w.events(app.ID.Bucket())
	if len(events) < 9 {
		t.Fatalf("there are only %d events", len(events))
	}
	for _, e := range events {
		e.ID, e.Factor, e.Challenge = mfa.EventID{}, mfa.FactorID{}, mfa.ChallengeID{} // random digits
		text := fmt.Sprintf("%+v", e)
		for _, personal := range []string{user, "ada", "Analytical", "607351", code, sent, tried, app.Secret.Reveal()} {
			if strings.Contains(text, personal) {
				t.Errorf("event %s holds %q", text, personal)
			}
		}
	}
}

func TestEventsAreToldOnceTheyAreStored(t *testing.T) {
	var told []mfa.EventType
	w := newFixture(t, mfa.Options{Observe: func(typ mfa.EventType) { told = append(told, typ) }})
	f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID
	c := w.challenge(f)
	w.mustVerify(c.ID, wrong, false)
	w.mustVerify(c.ID, c.Code.Reveal(), true)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.verify(c.ID, wrong) // its event is not stored
	want := []mfa.EventType{mfa.FactorEnrolled, mfa.ChallengeCreated, mfa.ChallengeFailed, mfa.ChallengeSucceeded}
	if !slices.Equal(told, want) {
		t.Errorf("told of %v; want %v", told, want)
	}
}
