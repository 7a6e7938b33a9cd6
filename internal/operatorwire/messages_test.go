package operatorwire_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
	"github.com/countersign-mfa/countersign/internal/stats"
)

func TestMessageStatisticsAsJSON(t *testing.T) {
	at := time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC)
	priced := stats.Messages{Sent: 7, Delivered: 6, Undelivered: 1, Failed: 2, Verified: 5, Segments: 8, Costs: []stats.Money{{Currency: "EUR", Micros: 4_900_000}}, Unpriced: 3}
	s := operator.SMSStats{
		Since: at, Until: at.Add(time.Hour), Step: operator.StatsHour, CountedTo: at.Add(time.Minute), Total: priced,
		Routes:   []stats.RouteMessages{{Country: "DE", Provider: "twilio", Messages: priced}},
		Prefixes: []stats.PrefixMessages{{Reference: "p1", Prefix: "+491512", Country: "DE"}},
		Periods:  []stats.MessagePeriod{{Start: at, End: at.Add(time.Hour), Messages: priced}},
	}
	got, err := json.Marshal(operatorwire.NewMessageStatistics(mfa.Environment{Name: "Acme"}, s))
	if err != nil {
		t.Fatal(err)
	}
	const numbers = `"sent":7,"delivered":6,"undelivered":1,"failed":2,"verified":5,"segments":8,"cost":{"EUR":"4.90"},"unpriced_segments":3}`
	const zero = `"sent":0,"delivered":0,"undelivered":0,"failed":0,"verified":0,"segments":0,"cost":{},"unpriced_segments":0}`
	const span = `"2026-03-27T00:00:00.000Z"`
	want := `{"object":"message_statistics","environment":"Acme","since":` + span + `,"until":"2026-03-27T01:00:00.000Z","step":"hour","counted_to":"2026-03-27T00:01:00.000Z",` +
		`"total":{` + numbers + `,"routes":[{"country":"DE","provider":"twilio",` + numbers + `],"prefixes":[{"reference":"p1","prefix":"+491512","country":"DE",` + zero + `],` +
		`"periods":[{"start":` + span + `,"end":"2026-03-27T01:00:00.000Z",` + numbers + `]}`
	if string(got) != want {
		t.Errorf("the JSON is\n%s\nwant\n%s", got, want)
	}
}
