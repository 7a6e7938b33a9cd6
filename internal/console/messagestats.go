package console

import (
	"strings"

	"github.com/countersign-mfa/countersign/internal/stats"
)

// A sentView is the part of the page of messages that shows numbers over time.
type sentView struct {
	Span    string
	Spans   []spanLink
	Figures []figure
	Chart   chart
	Routes  []routeRow
	Costs   bool // prices are known
}

// A routeRow has the messages to one country through one provider.
type routeRow struct {
	stats.RouteMessages
	Cost string // "" if no price is known
	Rate int    // of challenges that were verified, in percent; -1 without messages
}

// sent returns the numbers of messages of an environment over time.
func (c *Console) sent(r *request) (v sentView, err error) {
	chosen, query := c.spanOf(r)
	v.Span, v.Spans = chosen.Words, spanLinks(in(r.env, "messages"), chosen)
	counted, err := c.parts.Operator.SMSStats(r.Context(), r.env, query)
	if err != nil {
		return v, err
	}
	t := counted.Total
	v.Figures = []figure{
		{number(t.Sent), "sent"}, {number(t.Delivered), "delivered"}, {number(t.Undelivered + t.Failed), "not delivered"},
		{number(t.Verified), "verified"}, {number(t.Segments), "segments"},
	}
	if cost := amounts(t.Costs); cost != "" {
		v.Costs = true
		v.Figures = append(v.Figures, figure{cost, "cost"})
	}
	v.Chart = newChart("Messages", []string{"sent", "delivered", "verified", "not delivered"}, counted.Periods, func(p stats.MessagePeriod) chartRow {
		return chartRow{p.Start, []int64{p.Sent, p.Delivered, p.Verified, p.Undelivered + p.Failed}}
	})
	for _, route := range counted.Routes {
		v.Routes = append(v.Routes, routeRow{route, amounts(route.Costs), rate(int(route.Verified), int(route.Sent))})
	}
	return v, nil
}

// amounts returns amounts of money as text.
func amounts(costs []stats.Money) string {
	var texts []string
	for _, m := range costs {
		texts = append(texts, m.Amount()+" "+m.Currency)
	}
	return strings.Join(texts, ", ")
}
