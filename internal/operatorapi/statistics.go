package operatorapi

import (
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/operatorwire"
)

// A periodObject has the counts of one period.
type periodObject struct {
	Start      *string `json:"start"`
	End        *string `json:"end"`
	Enrolled   int64   `json:"enrolled"`
	Deleted    int64   `json:"deleted"`
	Challenges int64   `json:"challenges"`
	Right      int64   `json:"right_codes"`
	Wrong      int64   `json:"wrong_codes"`
	Refused    int64   `json:"refused_codes"`
	Voided     int64   `json:"voided_challenges"`
	Locked     int64   `json:"locked"`
	Unlocked   int64   `json:"unlocked"`
}

func showNumbers(n operator.StatsNumbers) periodObject {
	return periodObject{nil, nil, n.Enrolled, n.Deleted, n.Challenges, n.Right, n.Wrong, n.Refused, n.Voided, n.Locked, n.Unlocked}
}

// statistics serves GET /environments/{environment}/statistics.
func (a *API) statistics(r *request) (result, error) {
	env, asked, err := a.askedStatistics(r)
	if err != nil {
		return result{}, err
	}
	s, err := a.parts.Operator.Stats(r.Context(), env, asked)
	if err != nil {
		return result{}, err
	}
	o := struct {
		Object    string         `json:"object"`
		Since     *string        `json:"since"`
		Until     *string        `json:"until"`
		Step      string         `json:"step"`
		CountedTo *string        `json:"counted_to"`
		Total     periodObject   `json:"total"`
		Periods   []periodObject `json:"periods"`
	}{"statistics", instant(s.Since), instant(s.Until), string(s.Step), instant(s.CountedTo), showNumbers(s.Total.Numbers), []periodObject{}}
	o.Total.Start, o.Total.End = o.Since, o.Until
	for _, p := range s.Periods {
		shown := showNumbers(p.Numbers)
		shown.Start, shown.End = instant(p.Start), instant(p.End)
		o.Periods = append(o.Periods, shown)
	}
	return ok(o)
}

// askedStatistics returns the environment of the path and the query for its statistics.
func (a *API) askedStatistics(r *request) (mfa.Environment, operator.StatsQuery, error) {
	env, err := a.environment(r)
	if err != nil {
		return env, operator.StatsQuery{}, err
	}
	q, err := readQuery(r)
	if err != nil {
		return env, operator.StatsQuery{}, err
	}
	return env, operator.StatsQuery{Since: q.time("since"), Until: q.time("until"), Step: operator.StatsStep(q.text("step"))}, q.err()
}

// messageStatistics serves GET /environments/{environment}/statistics/messages.
func (a *API) messageStatistics(r *request) (result, error) {
	env, asked, err := a.askedStatistics(r)
	if err != nil {
		return result{}, err
	}
	s, err := a.parts.Operator.SMSStats(r.Context(), env, asked)
	if err != nil {
		return result{}, err
	}
	return ok(operatorwire.NewMessageStatistics(env, s))
}

// coverage serves GET /environments/{environment}/coverage.
func (a *API) coverage(r *request) (result, error) {
	if err := takesNoQuery(r); err != nil {
		return result{}, err
	}
	env, err := a.environment(r)
	if err != nil {
		return result{}, err
	}
	c, err := a.parts.Operator.Coverage(r.Context(), env)
	if err != nil {
		return result{}, err
	}
	return ok(struct {
		Object    string  `json:"object"`
		CountedAt *string `json:"counted_at"` // null: no server has counted yet
		Users     int64   `json:"users"`
		None      int64   `json:"users_all_suspended"`
		One       int64   `json:"users_one_factor"`
		TwoOrMore int64   `json:"users_two_or_more_factors"`
		Resistant int64   `json:"users_phishing_resistant"`
		Recovery  int64   `json:"users_recovery_codes"`
	}{"coverage", instant(c.Ended), c.Users, c.None, c.One, c.TwoOrMore, c.Resistant, c.Recovery})
}
