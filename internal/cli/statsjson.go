package cli

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// The JSON forms of statistics. Times are RFC 3339, and amounts are decimal numbers in text.

type spanJSON struct {
	Environment string `json:"environment"`
	Since       string `json:"since"`
	Until       string `json:"until"`
	Step        string `json:"step"`
	CountedTo   string `json:"counted_to"`
}

func newSpanJSON(env mfa.Environment, since, until, counted time.Time, step operator.StatsStep) spanJSON {
	return spanJSON{env.Name, timeJSON(since), timeJSON(until), string(step), timeJSON(counted)}
}

func timeJSON(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func numbersJSON(n *operator.StatsNumbers) map[string]int64 {
	all := make(map[string]int64, len(statsColumns))
	for i, v := range statsValues(n) {
		all[statsColumns[i]] = v
	}
	return all
}

func statsJSON(env mfa.Environment, s *operator.Stats) any {
	type reason struct {
		Event  string `json:"event"`
		Type   string `json:"factor_type"`
		Reason string `json:"reason"`
		Count  int64  `json:"count"`
	}
	type period struct {
		Start string           `json:"start"`
		End   string           `json:"end"`
		Total map[string]int64 `json:"total"`
	}
	answer := struct {
		spanJSON
		Total   map[string]int64            `json:"total"`
		Types   map[string]map[string]int64 `json:"factor_types"`
		Reasons []reason                    `json:"reasons"`
		Events  map[string]int64            `json:"events"`
		Periods []period                    `json:"periods"`
	}{
		spanJSON: newSpanJSON(env, s.Since, s.Until, s.CountedTo, s.Step), Total: numbersJSON(&s.Total.Numbers),
		Types: map[string]map[string]int64{}, Reasons: []reason{}, Events: map[string]int64{},
	}
	for i := range s.Total.Types {
		answer.Types[string(s.Total.Types[i].Type)] = numbersJSON(&s.Total.Types[i].Numbers)
	}
	for _, r := range s.Total.Reasons {
		answer.Reasons = append(answer.Reasons, reason{string(r.Event), string(r.Type), r.Reason, r.Count})
	}
	for _, e := range s.Total.Events {
		answer.Events[string(e.Event)] = e.Count
	}
	for i := range s.Periods {
		p := &s.Periods[i]
		answer.Periods = append(answer.Periods, period{timeJSON(p.Start), timeJSON(p.End), numbersJSON(&p.Numbers)})
	}
	return answer
}

func coverageJSON(env mfa.Environment, c *operator.Coverage) any {
	types := map[string]int64{}
	for _, t := range c.Types {
		types[string(t.Type)] = t.Users
	}
	answer := struct {
		Environment string           `json:"environment"`
		Began       *string          `json:"began"` // null before the first count
		Ended       *string          `json:"ended"`
		Users       int64            `json:"users"`
		One         int64            `json:"one_factor"`
		TwoOrMore   int64            `json:"two_or_more"`
		Resistant   int64            `json:"phishing_resistant"`
		Recovery    int64            `json:"recovery_codes"`
		Suspended   int64            `json:"all_suspended"`
		Types       map[string]int64 `json:"factor_types"`
	}{Environment: env.Name, Users: c.Users, One: c.One, TwoOrMore: c.TwoOrMore, Resistant: c.Resistant, Recovery: c.Recovery, Suspended: c.None, Types: types}
	if !c.Ended.IsZero() {
		began, ended := timeJSON(c.Began), timeJSON(c.Ended)
		answer.Began, answer.Ended = &began, &ended
	}
	return answer
}
