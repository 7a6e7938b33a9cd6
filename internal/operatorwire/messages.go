package operatorwire

import (
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A MessageStatistics is the JSON of operator.SMSStats.
type MessageStatistics struct {
	Object      string             `json:"object"` // "message_statistics"
	Environment string             `json:"environment"`
	Since       Time               `json:"since"`
	Until       Time               `json:"until"`
	Step        operator.StatsStep `json:"step"`
	CountedTo   *Time              `json:"counted_to"` // null: no server has counted yet
	Total       MessageNumbers     `json:"total"`
	Routes      []MessageRoute     `json:"routes"`
	Prefixes    []MessagePrefix    `json:"prefixes"` // null: the time is longer than 31 days
	Periods     []MessagePeriod    `json:"periods"`
}

// MessageNumbers is the JSON of operator.SMSMessages.
type MessageNumbers struct {
	Sent        int64             `json:"sent"`
	Delivered   int64             `json:"delivered"`
	Undelivered int64             `json:"undelivered"`
	Failed      int64             `json:"failed"`
	Verified    int64             `json:"verified"`
	Segments    int64             `json:"segments"`
	Cost        map[string]string `json:"cost"` // decimal numbers by currency
	Unpriced    int64             `json:"unpriced_segments"`
}

// A MessageRoute has the messages of one country and provider.
type MessageRoute struct {
	Country  string `json:"country"`
	Provider string `json:"provider"`
	MessageNumbers
}

// A MessagePrefix has the messages to one prefix of phone numbers.
type MessagePrefix struct {
	Reference string `json:"reference"` // its name in events
	Prefix    string `json:"prefix,omitempty"`
	Country   string `json:"country"`
	MessageNumbers
}

// A MessagePeriod has the messages of one step.
type MessagePeriod struct {
	Start Time `json:"start"`
	End   Time `json:"end"`
	MessageNumbers
}

// NewMessageStatistics returns the JSON of the statistics of the messages of an environment.
func NewMessageStatistics(env mfa.Environment, s operator.SMSStats) MessageStatistics {
	v := MessageStatistics{
		Object: "message_statistics", Environment: env.Name, Since: Time(s.Since), Until: Time(s.Until), Step: s.Step, CountedTo: optionalTime(s.CountedTo),
		Total: newMessageNumbers(s.Total), Routes: []MessageRoute{}, Periods: []MessagePeriod{},
	}
	for _, r := range s.Routes {
		v.Routes = append(v.Routes, MessageRoute{r.Country, r.Provider, newMessageNumbers(r.Messages)})
	}
	for _, p := range s.Prefixes {
		v.Prefixes = append(v.Prefixes, MessagePrefix{p.Reference, p.Prefix, p.Country, newMessageNumbers(p.Messages)})
	}
	for _, p := range s.Periods {
		v.Periods = append(v.Periods, MessagePeriod{Time(p.Start), Time(p.End), newMessageNumbers(p.Messages)})
	}
	return v
}

func newMessageNumbers(m operator.SMSMessages) MessageNumbers {
	cost := map[string]string{}
	for _, c := range m.Costs {
		cost[c.Currency] = c.Amount()
	}
	return MessageNumbers{m.Sent, m.Delivered, m.Undelivered, m.Failed, m.Verified, m.Segments, cost, m.Unpriced}
}
