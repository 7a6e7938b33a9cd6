package stats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/stats"
)

func (w *fixture) reader(prices string) *stats.Reader {
	w.t.Helper()
	var p stats.Prices
	if prices != "" {
		var err error
		if p, err = stats.ReadPrices(strings.NewReader(prices)); err != nil {
			w.t.Fatal(err)
		}
	}
	return stats.NewReader(w.store, w.store, p, w.clock.Now)
}

// verify tries a code of a challenge.
func (w *fixture) verify(by mfa.Caller, c mfa.IssuedChallenge, code string) {
	w.t.Helper()
	if _, err := w.Verify(w.t.Context(), by, c.ID, mfa.VerifyParams{Code: code}, nil); err != nil {
		w.t.Fatal(err)
	}
}

func TestStatsAnswerByPeriodTypeAndReason(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		f := w.enroll(w.live, "ada", mfa.GenericOTP, "")
		w.enroll(w.live, "ada", mfa.TOTP, "")
		first, _ := w.challenge(w.live, f)
		w.verify(w.live, first, "12345")
		w.clock.Advance(time.Hour)
		second, _ := w.challenge(w.live, f)
		w.verify(w.live, second, second.Code.Reveal())
		w.countAll(c)
		got, err := w.reader("").Stats(t.Context(), w.live.ID, stats.Query{Since: mfatest.Start})
		if err != nil {
			t.Fatal(err)
		}
		if got.Step != stats.Hour || len(got.Periods) != 2 || !got.Since.Equal(stats.HourOf(mfatest.Start)) || !got.CountedTo.Equal(w.clock.Now()) {
			t.Errorf("the answer is for %v to %v by %s, counted to %v", got.Since, got.Until, got.Step, got.CountedTo)
		}
		want := stats.Numbers{Enrolled: 2, Challenges: 2, Right: 1, Wrong: 1}
		if got.Total.Numbers != want {
			t.Errorf("the total is %+v; want %+v", got.Total.Numbers, want)
		}
		if first := got.Periods[0].Numbers; first != (stats.Numbers{Enrolled: 2, Challenges: 1, Wrong: 1}) {
			t.Errorf("the first hour has %+v", first)
		}
		wantTypes := []stats.TypeNumbers{
			{Type: "", Numbers: stats.Numbers{}},
			{Type: mfa.GenericOTP, Numbers: stats.Numbers{Enrolled: 1, Challenges: 2, Right: 1, Wrong: 1}},
			{Type: mfa.TOTP, Numbers: stats.Numbers{Enrolled: 1}},
		}[1:]
		if fmt.Sprint(got.Total.Types) != fmt.Sprint(wantTypes) {
			t.Errorf("by type: %+v; want %+v", got.Total.Types, wantTypes)
		}
		wantReasons := []stats.Reason{{Event: mfa.ChallengeFailed, Type: mfa.GenericOTP, Reason: "wrong_code", Count: 1}}
		if fmt.Sprint(got.Total.Reasons) != fmt.Sprint(wantReasons) {
			t.Errorf("by reason: %+v; want %+v", got.Total.Reasons, wantReasons)
		}
		other, err := w.reader("").Stats(t.Context(), w.sandbox.ID, stats.Query{})
		if err != nil || other.Total.Numbers != (stats.Numbers{}) {
			t.Errorf("the other environment has %+v, %v", other.Total.Numbers, err)
		}
	})
}

// TestAnswersSayHowFarEventsAreCounted reads before the events are counted.
func TestAnswersSayHowFarEventsAreCounted(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		w.countAll(w.counter(w.store))
		missing := w.clock.Now()
		w.enroll(w.live, "ada", mfa.GenericOTP, "")
		w.clock.Advance(time.Minute)
		w.enroll(w.live, "ada", mfa.GenericOTP, "")
		got, err := w.reader("").Stats(t.Context(), w.live.ID, stats.Query{})
		if err != nil || !got.CountedTo.Equal(missing) || got.Total.Enrolled != 0 {
			t.Errorf("the answer is counted to %v with %d enrollments, %v; want %v", got.CountedTo, got.Total.Enrolled, err, missing)
		}
	})
}

func TestMessagesHaveCostsAndConversion(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c := w.counter(w.store)
		german := w.enroll(w.live, "ada", mfa.SMS, "+4915123456789")
		american := w.enroll(w.live, "grace", mfa.SMS, "+16073517112")
		test := w.enroll(w.sandbox, "ada", mfa.SMS, "+4915123456789")
		first, _ := w.challenge(w.live, german)
		w.verify(w.live, first, w.carrier.Last().Code.Reveal())
		w.clock.Advance(time.Second)
		w.challenge(w.live, german)
		w.challenge(w.live, american)
		w.challenge(w.sandbox, test)
		w.carrier.Lost = delivery.ErrNotDelivered
		w.clock.Advance(time.Second)
		w.challenge(w.live, american)
		w.countAll(c)
		r := w.reader("provider,country,price,currency\nacme,DE,0.0935,EUR\n")
		got, err := r.Messages(t.Context(), w.live.Environment, stats.Query{})
		if err != nil {
			t.Fatal(err)
		}
		de := stats.Messages{Sent: 2, Verified: 1, Segments: 2, Costs: []stats.Money{{Currency: "EUR", Micros: 187000}}}
		want := []stats.RouteMessages{
			{Country: "DE", Provider: "acme", Messages: de},
			{Country: "US", Messages: stats.Messages{Failed: 1}},
			{Country: "US", Provider: "acme", Messages: stats.Messages{Sent: 1, Segments: 1, Unpriced: 1}},
		}
		if fmt.Sprintf("%+v", got.Routes) != fmt.Sprintf("%+v", want) {
			t.Errorf("the routes are\n%+v\nwant\n%+v", got.Routes, want)
		}
		total := stats.Messages{Sent: 3, Failed: 1, Verified: 1, Segments: 3, Costs: de.Costs, Unpriced: 1}
		if fmt.Sprintf("%+v", got.Total) != fmt.Sprintf("%+v", total) {
			t.Errorf("the total is %+v; want %+v", got.Total, total)
		}
		if len(got.Prefixes) != 2 || got.Prefixes[0].Sent+got.Prefixes[1].Sent != 3 || !strings.HasPrefix(got.Prefixes[0].Reference, "prefix_") {
			t.Errorf("the prefixes are %+v", got.Prefixes)
		}
		long, err := r.Messages(t.Context(), w.live.Environment, stats.Query{Since: w.clock.Now().AddDate(0, 0, -40)})
		if err != nil || long.Prefixes != nil || long.Total.Sent != 3 {
			t.Errorf("an answer for 40 days has %d prefixes and %d messages, %v", len(long.Prefixes), long.Total.Sent, err)
		}
		sandbox, err := r.Messages(t.Context(), w.sandbox.Environment, stats.Query{})
		if err != nil || sandbox.Total.Sent != 1 || sandbox.Total.Unpriced != 0 || sandbox.Total.Costs != nil {
			t.Errorf("the sandbox has %+v, %v; want one message without a cost", sandbox.Total, err)
		}
	})
}

func TestCoverageHasADailyHistory(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		c, r := w.counter(w.store), w.reader("")
		if got, err := r.Coverage(t.Context(), w.live.ID); err != nil || !got.Ended.IsZero() {
			t.Errorf("before the first count: %+v, %v", got, err)
		}
		for day := range 3 {
			w.enroll(w.live, fmt.Sprint("user", day), mfa.TOTP, "")
			if err := c.Walk(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(2 * time.Hour) // a second count on the same day
			if err := c.Walk(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(22 * time.Hour)
		}
		got, err := r.Coverage(t.Context(), w.live.ID)
		if err != nil || got.Users != 3 || got.One != 3 || got.Resistant != 0 || len(got.Types) != 1 || got.Types[0].Users != 3 {
			t.Errorf("the coverage is %+v, %v", got, err)
		}
		if len(got.History) != 3 || got.History[0].Users != 1 || got.History[2].Users != 3 {
			t.Errorf("the history is %+v", got.History)
		}
		w.clock.Advance(200 * 24 * time.Hour) // no server ran
		if got, err = r.Coverage(t.Context(), w.live.ID); err != nil || got.Users != 3 {
			t.Errorf("the coverage after a long time is %+v, %v", got, err)
		}
	})
}

// TestAYearOfHoursIsSummed fills a year with hours that have all usual groups.
func TestAYearOfHoursIsSummed(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *fixture) {
		row := map[string][6]int64{}
		for _, typ := range []mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP, "webauthn"} {
			for _, event := range []mfa.EventType{mfa.FactorEnrolled, mfa.FactorDeleted, mfa.ChallengeCreated, mfa.ChallengeSucceeded, mfa.FactorLocked} {
				row[fmt.Sprintf("%s %s -", event, typ)] = [6]int64{12345}
			}
			row[fmt.Sprintf("%s %s wrong_code", mfa.ChallengeFailed, typ)] = [6]int64{678}
		}
		routes := map[string][6]int64{}
		for _, country := range []string{"DE", "US", "FR", "IT", "ES", "GB", "NL", "PL"} {
			routes["acme "+country+" -"] = [6]int64{1000, 900, 50, 50, 800, 1000}
		}
		encoded := map[stats.Series][]byte{stats.Events: stats.Encoded(row), stats.SMS: stats.Encoded(routes)}
		var keys []stats.Key
		start := stats.HourOf(mfatest.Start).AddDate(-1, 0, 0)
		for h := range 8760 {
			for series := range encoded {
				keys = append(keys, stats.Key{Series: series, Start: start.Add(time.Duration(h) * time.Hour)})
			}
			if len(keys) >= 1000 || h == 8759 {
				err := w.store.UpdateStatistics(t.Context(), w.live.ID, keys, func(tx *stats.Tx) error {
					for i := range tx.Rows {
						tx.Rows[i].Counts = encoded[tx.Rows[i].Series]
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				keys = keys[:0]
			}
		}
		r := w.reader("provider,country,price,currency\nacme,*,0.01,EUR\n")
		for _, step := range []stats.Step{stats.Day, stats.Month} {
			q := stats.Query{Since: start, Step: step}
			got, err := r.Stats(t.Context(), w.live.ID, q)
			if err != nil || got.Total.Enrolled != 4*12345*8760 {
				t.Errorf("a year by %s has %d enrollments, %v", step, got.Total.Enrolled, err)
			}
			sms, err := r.Messages(t.Context(), w.live.Environment, q)
			if err != nil || sms.Total.Sent != 8*1000*8760 || sms.Total.Costs[0].Amount() != "700800.00" {
				t.Errorf("a year by %s has %d messages for %v, %v", step, sms.Total.Sent, sms.Total.Costs, err)
			}
		}
	})
}
