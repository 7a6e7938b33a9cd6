package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestAUserIsShownWithFactorsAndLocks(t *testing.T) {
	limits := mfa.Limits{UserFailures: 4, FreeFailures: 2}
	w := newFixture(t, mfa.Options{Limits: limits})
	o := w.operator(operator.Options{Limits: limits, Keys: w.keyset})
	waiting := w.enroll("ada", 3)
	u, err := o.User(t.Context(), ada, w.env, "ada")
	if err != nil || len(u.Factors) != 1 || u.Factors[0].ID != waiting || u.Failures != 3 || u.MaxFailures != 4 || u.Locked || u.Sealed != nil {
		t.Fatalf("User = %+v, %v", u, err)
	}
	if f := u.Factors[0]; f.State != mfa.StatusLocked || !f.LockedUntil.Equal(w.clock.Now().Add(30*time.Second)) || f.Failures != 3 || f.MaxFailures != 50 {
		t.Errorf("the factor is %+v; want it to wait for 30 s", f)
	}
	w.clock.Advance(time.Minute)
	w.enroll("ada", 1)
	if u, err = o.User(t.Context(), ada, w.env, "ada"); err != nil || !u.Locked || len(u.Factors) != 2 || u.Factors[1].State != mfa.StatusUnverified {
		t.Errorf("after 4 wrong codes, User = %+v, %v", u, err)
	}
	for _, id := range []mfa.FactorID{u.Factors[0].ID, u.Factors[1].ID} {
		if err := w.server.DeleteFactor(t.Context(), w.by(), id); err != nil {
			t.Fatal(err)
		}
	}
	if u, err = o.User(t.Context(), ada, w.env, "ada"); err != nil || !u.Locked || len(u.Factors) != 0 {
		t.Errorf("without factors, User = %+v, %v; want the lock", u, err)
	}
	if _, err = w.operator(operator.Options{}).User(t.Context(), ada, w.env, "ada"); !errors.Is(err, operator.ErrKeyset) || !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("without factors and keyset, User = %v; want %v", err, operator.ErrKeyset)
	}
}

func TestWhatIsUnknownIsNotFound(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	_, user := o.User(t.Context(), ada, w.env, "grace")
	_, factor := o.Factor(t.Context(), ada, mfa.FactorID{0: 1})
	_, challenge := o.Challenge(t.Context(), ada, mfa.ChallengeID{0: 1})
	for what, err := range map[mfa.Entity]error{mfa.EntityUser: user, mfa.EntityFactor: factor, mfa.EntityChallenge: challenge} {
		if e, ok := errors.AsType[*mfa.NotFoundError](err); !ok || e.Entity != what {
			t.Errorf("an unknown %s = %v; want a NotFoundError", what, err)
		}
	}
}

func TestAFactorIsShownWithoutItsWholeNumber(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"DE"}}})
	e, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+4915123456789", Name: "Work phone"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := w.operator(operator.Options{Keys: w.keyset}).Factor(t.Context(), ada, e.ID)
	if err != nil || f.Phone.String() != "+***********89" || f.Environment != w.env || f.State != mfa.StatusUnverified || f.Name != "Work phone" {
		t.Errorf("Factor = %+v, %v", f, err)
	}
	f, err = w.operator(operator.Options{}).Factor(t.Context(), ada, e.ID)
	if err != nil || f.Sealed == nil || f.Phone.E164() != "" || f.Name != "" {
		t.Errorf("without the keyset, Factor = %+v, %v; want it without the number and the name, and why", f, err)
	}
}

func TestAChallengeIsShownWithItsState(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{})
	f := w.enroll("ada", 0)
	c, err := w.server.Challenge(t.Context(), w.by(), f, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(state operator.ChallengeState, attempts int) {
		t.Helper()
		v, err := o.Challenge(t.Context(), ada, c.ID)
		if err != nil || v.State != state || v.Attempts != attempts || v.MaxAttempts != 5 || v.User != "ada" || v.Factor != f || !v.Stored {
			t.Errorf("Challenge = %+v, %v; want %s after %d attempts", v, err, state, attempts)
		}
	}
	check(operator.ChallengeOpen, 0)
	for i := range 5 {
		if _, err := w.server.Verify(t.Context(), w.by(), c.ID, mfa.VerifyParams{Code: "12345"}, nil); err != nil {
			t.Fatalf("code %d: %v", i, err)
		}
	}
	check(operator.ChallengeExhausted, 5)
	w.clock.Advance(10 * time.Minute)
	check(operator.ChallengeExhausted, 5)
}

// same compares lists of texts.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// texts returns the texts of a timeline.
func texts(all []operator.Entry) (texts []string) {
	for _, e := range all {
		texts = append(texts, e.Text)
	}
	return texts
}

// TestAChallengeIsToldInWords follows an sms challenge whose message does not arrive.
func TestAChallengeIsToldInWords(t *testing.T) {
	rules := delivery.Rules{Countries: []string{"DE"}}
	w := newFixture(t, mfa.Options{SMS: rules})
	w.carrier.Accepted = delivery.Accepted{Provider: "twilio", ID: "SM1"}
	o := w.operator(operator.Options{Keys: w.keyset, SMS: rules})
	e, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+4915123456789", User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.server.Challenge(t.Context(), w.by(), e.ID, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3 * time.Second)
	if err := w.server.Receive(t.Context(), delivery.Receipt{Provider: "twilio", ID: "SM1", State: delivery.Undelivered, Reason: "30003"}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := w.server.Verify(t.Context(), w.by(), c.ID, mfa.VerifyParams{Code: "12345"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Advance(10 * time.Second)
	v, err := o.Challenge(t.Context(), ada, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the explanation", v.Explanation, sample(t, "message"))
	same(t, "the timeline", texts(v.Timeline), []string{
		"challenge created for text messages", "message accepted by the provider twilio",
		"the carrier could not deliver the message: 30003 (the phone is unreachable: switched off or without a network)",
		"wrong code", "wrong code", "wrong code", "wrong code", "wrong code",
	})
	// A day later the challenge is removed, and told from its events.
	w.clock.Advance(25 * time.Hour)
	if err := w.server.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err = o.Challenge(t.Context(), ada, c.ID)
	if err != nil || v.Stored || v.State != operator.ChallengeExhausted || v.User != "ada" || v.Attempts != 5 || v.Environment != w.env {
		t.Fatalf("the removed challenge is %+v, %v", v, err)
	}
	same(t, "the explanation of the removed challenge", v.Explanation, []string{
		"5 of 5 attempts used, and none was right: this challenge accepts no further code. A new challenge does.",
		"Last news of its messages, at 2026-03-27 12:00:03 UTC: the carrier could not deliver the message: 30003 (the phone is unreachable: switched off or without a network).",
		"The challenge is not stored any more; this is told from its events.",
	})
}

// sample returns the lines of a sample in docs/support.md.
func sample(t *testing.T, name string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/support.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "<!-- sample "+name+" -->\n```\n")
	text, _, ok := strings.Cut(text, "\n```\n<!-- end sample "+name+" -->")
	if !ok {
		t.Fatalf("docs/support.md has no sample %q", name)
	}
	return strings.Split(text, "\n")
}

func TestALockedUserIsToldInWords(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.enroll("user_42", 6)
	u, err := w.operator(operator.Options{Keys: w.keyset}).User(t.Context(), ada, w.env, "user_42")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the explanation", u.Explanation, sample(t, "user"))
}

// TestAPhoneWhoseClockIsBehindIsToldInWords enters the code of four minutes ago.
func TestAPhoneWhoseClockIsBehindIsToldInWords(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	e, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := totp.ParseSecret(e.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.server.Challenge(t.Context(), w.by(), e.ID, mfa.ChallengeParams{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	try := func(steps int64) bool {
		code := totp.Code(key, totp.Step(w.clock.Now())+steps)
		v, err := w.server.Verify(t.Context(), w.by(), c.ID, mfa.VerifyParams{Code: code}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v.Valid
	}
	if try(-8) {
		t.Fatal("the code of four minutes ago is right")
	}
	v, err := o.Challenge(t.Context(), ada, c.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the explanation", v.Explanation, sample(t, "clock"))
	if last := v.Timeline[len(v.Timeline)-1]; last.Offset != -4*time.Minute || last.Reason != "wrong_code" {
		t.Errorf("the event is %+v; want an offset of 4 min", last)
	}
	if !try(-1) {
		t.Fatal("the code of the step before is wrong")
	}
	v, err = o.Challenge(t.Context(), ada, c.ID)
	if last := v.Timeline[len(v.Timeline)-1]; err != nil || v.State != operator.ChallengeVerified || v.Attempts != 2 || last.Reason != "" && last.Type == mfa.ChallengeSucceeded {
		t.Errorf("the verified challenge is %+v, %v", v, err)
	}
}

// TestViewsAreEvents opens views several times.
func TestViewsAreEvents(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	f := w.enroll("ada", 1)
	views := func() (seen []string) {
		page, err := events.NewService(w.store, events.Options{}).List(t.Context(), events.Query{Environment: w.env.ID, Types: []mfa.EventType{mfa.Viewed}})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			seen = append(seen, e.Caller+" "+e.Reason)
		}
		return seen
	}
	look := func(by operator.By) {
		t.Helper()
		_, user := o.User(t.Context(), by, w.env, "ada")
		_, factor := o.Factor(t.Context(), by, f)
		_, list := o.Factors(t.Context(), by, w.env, operator.FactorQuery{}, "")
		_, phone := o.FindPhone(t.Context(), by, w.env, "+4915123456789")
		if err := errors.Join(user, factor, list, phone); err != nil {
			t.Fatal(err)
		}
	}
	look(ada)
	look(ada)
	want := []string{"operator:ada user:ticket 4711", "operator:ada factor:ticket 4711", "operator:ada factors:ticket 4711", "operator:ada phone:ticket 4711"}
	same(t, "the list of views", views(), want)
	grace := operator.By{Operator: "grace"}
	look(grace)
	want = append(want, "operator:grace user", "operator:grace factor", "operator:grace factors", "operator:grace phone")
	same(t, "the list of views", views(), want)
	w.clock.Advance(15 * time.Minute)
	look(grace)
	same(t, "the list of views 15 minutes later", views(), append(want, want[4:]...))
	if _, err := o.User(t.Context(), operator.By{}, w.env, "ada"); err == nil {
		t.Error("a view without an operator succeeded")
	}
}

// TestAPhoneNumberFindsItsFactors looks for numbers in two environments, and for a factor that
// an older release enrolled.
func TestAPhoneNumberFindsItsFactors(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"DE"}}})
	o := w.operator(operator.Options{Keys: w.keyset})
	var ids []mfa.FactorID
	for _, number := range []string{"+4915123456789", "+4915123456788", "+4915123456789"} {
		e, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: number, User: "ada"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
		w.clock.Advance(time.Second)
	}
	other, err := o.CreateEnvironment(t.Context(), ada, "Other", true)
	if err != nil {
		t.Fatal(err)
	}
	find := func(env mfa.Environment, want ...mfa.FactorID) {
		t.Helper()
		found, err := o.FindPhone(t.Context(), ada, env, "+49 1512 3456789")
		var got []mfa.FactorID
		for _, f := range found {
			got = append(got, f.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("FindPhone = %v, %v; want %v", got, err, want)
		}
	}
	find(w.env, ids[2], ids[0])
	find(other)
	// A factor without a hash is found once Reseal has set it.
	err = w.store.Update(t.Context(), mfa.Read{Bucket: ids[0].Bucket(), Factor: ids[0]}, func(tx *mfa.Tx) error {
		f := *tx.Factor
		f.PhoneHash = mfa.PhoneHash{}
		tx.Writes = append(tx.Writes, f.Seal())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	find(w.env, ids[2])
	older, err := mfa.NewService(w.store, w.keys, w.carrier, mfa.Options{
		Unsealed: true, Environments: func(context.Context) ([]mfa.EnvironmentID, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := older.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	find(w.env, ids[2], ids[0])
	if _, err := w.operator(operator.Options{}).FindPhone(t.Context(), ada, w.env, "+4915123456789"); err == nil {
		t.Error("FindPhone without the keyset succeeded")
	}
	if _, err := o.FindPhone(t.Context(), ada, w.env, "12"); !errors.Is(err, delivery.ErrInvalid) {
		t.Errorf("FindPhone of nonsense = %v; want %v", err, delivery.ErrInvalid)
	}
}

// TestFindRecognizesIds looks for ids of every kind.
func TestFindRecognizesIds(t *testing.T) {
	w := newFixture(t, mfa.Options{SMS: delivery.Rules{Countries: []string{"DE"}}})
	o := w.operator(operator.Options{Keys: w.keyset})
	f := w.enroll("ada", 1)
	if _, err := w.server.Enroll(t.Context(), w.by(), mfa.EnrollParams{Type: mfa.SMS, PhoneNumber: "+4915123456789"}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := o.User(t.Context(), ada, w.env, "ada")
	if err != nil {
		t.Fatal(err)
	}
	c := u.Challenges[0].ID
	for text, want := range map[string]string{
		"ada":                       "user",
		" " + f.String():            "factor",
		c.String():                  "challenge",
		u.Timeline[0].ID.String():   "factor",    // its enrollment
		u.Timeline[2].ID.String():   "challenge", // a wrong code
		"+49 1512 3456789":          "phone",
		"grace":                     "",
		" ":                         "", // not the factors without a user
		"+4915123456780":            "",
		mfa.FactorID{0: 1}.String(): "",
		mfa.EventID{0: 1}.String():  "",
	} {
		found, err := o.Find(t.Context(), ada, w.env, text)
		got := ""
		switch {
		case errors.Is(err, mfa.ErrNotFound):
		case err != nil:
			got = err.Error()
		case found.User != nil:
			got = "user"
		case found.Factor != nil:
			got = "factor"
		case found.Challenge != nil:
			got = "challenge"
		case len(found.Phone) > 0:
			got = "phone"
		}
		if got != want {
			t.Errorf("Find(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
}

// TestFactorsArePaged lists factors of two environments by type and state.
func TestFactorsArePaged(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	o := w.operator(operator.Options{Keys: w.keyset})
	for i := range 7 {
		w.enroll([]string{"ada", "grace"}[i%2], []int{0, 6}[min(i, 1)])
	}
	list := func(q operator.FactorQuery) (n int) {
		t.Helper()
		seen := map[mfa.FactorID]bool{}
		for cursor := ""; ; {
			page, err := o.Factors(t.Context(), ada, w.env, q, cursor)
			if err != nil || len(page.Factors) > 2 {
				t.Fatalf("a page has %d factors, %v", len(page.Factors), err)
			}
			for _, f := range page.Factors {
				if seen[f.ID] {
					t.Errorf("%s comes twice", f.ID)
				}
				seen[f.ID] = true
			}
			if cursor = page.After; cursor == "" {
				return len(seen)
			}
		}
	}
	for _, tc := range []struct {
		q    operator.FactorQuery
		want int
	}{
		{operator.FactorQuery{}, 7},
		{operator.FactorQuery{User: "ada"}, 4},
		{operator.FactorQuery{Type: mfa.GenericOTP}, 7},
		{operator.FactorQuery{Type: mfa.TOTP}, 0},
		{operator.FactorQuery{State: mfa.StatusLocked}, 6},
		{operator.FactorQuery{State: mfa.StatusUnverified, User: "ada"}, 1},
	} {
		tc.q.Limit = 2
		if got := list(tc.q); got != tc.want {
			t.Errorf("%+v lists %d factors; want %d", tc.q, got, tc.want)
		}
	}
	if _, err := o.Factors(t.Context(), ada, w.env, operator.FactorQuery{}, "nonsense"); !errors.Is(err, operator.ErrCursor) {
		t.Errorf("Factors with a wrong cursor = %v; want %v", err, operator.ErrCursor)
	}
}

func TestRecoveryCodesAreCountedAndNeverShown(t *testing.T) {
	w := newFixture(t, mfa.Options{RecoveryIterations: 2})
	o := w.operator(operator.Options{Keys: w.keyset})
	w.enroll("ada", 0)
	made := w.clock.Now()
	n, err := w.server.CreateRecoveryCodes(t.Context(), w.by(), mfa.RecoveryParams{User: "ada", AllowSole: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	for i, code := range n.Codes {
		if v, err := w.server.VerifyUser(t.Context(), w.by(), "ada", mfa.VerifyParams{Code: code.Reveal()}, nil); err != nil || !v.Valid {
			t.Fatal(v.Valid, err)
		}
		u, err := o.User(t.Context(), ada, w.env, "ada")
		if err != nil {
			t.Fatal(err)
		}
		set := u.RecoveryCodes()
		if set == nil || *set.Recovery != (operator.RecoveryCodes{Total: 10, Remaining: 9 - i, CreatedAt: made}) || !set.LastUsed.Equal(w.clock.Now()) {
			t.Errorf("after %d uses, the recovery codes are %+v", i+1, set)
		}
		words := strings.Join(u.Explanation, " ")
		want := "1 of 1 factor can be used. " // the codes are not one of the factors
		if i < 9 {
			want += fmt.Sprintf("%d of 10 recovery codes are left; they were created at", 9-i)
		} else {
			want += "All 10 recovery codes were used"
		}
		if !strings.Contains(words, want) {
			t.Errorf("after %d uses, the explanation is %q; want %q", i+1, words, want)
		}
		shown, err := json.Marshal(operatorwire.NewUser(u))
		if err != nil || !strings.Contains(string(shown), fmt.Sprintf(`"recovery_codes":{"total":10,"remaining":%d,"created_at":"%s"}`, 9-i, made.Format("2006-01-02T15:04:05.000Z"))) {
			t.Errorf("the JSON is %s, %v", shown, err)
		}
		for _, secret := range n.Codes {
			if strings.Contains(string(shown), secret.Reveal()) || strings.Contains(string(shown), mfa.FormatRecoveryCode(secret)) {
				t.Error("the JSON has a code")
			}
		}
	}
	u, err := w.operator(operator.Options{}).User(t.Context(), ada, w.env, "ada")
	if err != nil || u.RecoveryCodes() == nil || *u.RecoveryCodes().Recovery != (operator.RecoveryCodes{Total: 10}) {
		t.Errorf("without the keyset: %+v, %v; want the number without the time", u.RecoveryCodes(), err)
	}
}
