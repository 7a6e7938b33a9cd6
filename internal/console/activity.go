package console

import (
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/stats"
)

// An activityView is the part of the overview that shows numbers over time.
type activityView struct {
	Span      string
	Spans     []spanLink
	Figures   []figure
	Charts    []chart
	Reasons   []share
	Coverage  []share
	Users     int64
	CountedAt time.Time // of the coverage; zero if users were not counted yet
	CountedTo time.Time
}

// activity returns the numbers of an environment.
func (c *Console) activity(r *request) (v activityView, err error) {
	chosen, query := c.spanOf(r)
	v.Span, v.Spans = chosen.Words, spanLinks(in(r.env), chosen)
	counted, err := c.parts.Operator.Stats(r.Context(), r.env, query)
	if err != nil {
		return v, err
	}
	v.CountedTo = counted.CountedTo
	t := counted.Total
	v.Figures = []figure{
		{number(t.Enrolled), "factors enrolled"},
		{number(t.Challenges), "challenges"},
		{number(t.Right), "right codes"},
		{number(t.Wrong), "wrong codes"},
		{number(t.Locked), "locks"},
	}
	v.Charts = []chart{
		newChart("Codes", []string{"right", "wrong", "refused unchecked"}, counted.Periods, func(p stats.Period) chartRow {
			return chartRow{p.Start, []int64{p.Right, p.Wrong, p.Refused}}
		}),
		newChart("Factors and challenges", []string{"challenges", "factors enrolled"}, counted.Periods, func(p stats.Period) chartRow {
			return chartRow{p.Start, []int64{p.Challenges, p.Enrolled}}
		}),
	}
	var failed int64
	for _, reason := range t.Reasons {
		failed += reason.Count
	}
	for _, reason := range t.Reasons[:min(len(t.Reasons), 8)] {
		name := sentenceStart(eventexport.Words(reason.Event))
		if words := strings.ReplaceAll(reason.Reason, "_", " "); words != "" && words != "wrong code" {
			name += ": " + words
		}
		if reason.Type != "" {
			name += " (" + string(reason.Type) + ")"
		}
		v.Reasons = append(v.Reasons, shareOf(name, reason.Count, failed))
	}
	return v, c.coverage(r, &v)
}

// coverage adds how many users have how many factors.
func (c *Console) coverage(r *request, v *activityView) error {
	covered, err := c.parts.Operator.Coverage(r.Context(), r.env)
	if err != nil || covered.Ended.IsZero() {
		return err
	}
	v.Users, v.CountedAt = covered.Users, covered.Ended
	v.Coverage = []share{
		shareOf("One factor", covered.One, covered.Users),
		shareOf("Two factors or more", covered.TwoOrMore, covered.Users),
		shareOf("A factor that resists phishing", covered.Resistant, covered.Users),
		shareOf("Recovery codes", covered.Recovery, covered.Users),
	}
	for _, t := range covered.Types {
		if t.Type.IsRecovery() {
			continue
		}
		v.Coverage = append(v.Coverage, shareOf("A factor of type "+string(t.Type), t.Users, covered.Users))
	}
	return nil
}
