package console

import (
	"time"

	"github.com/countersign-mfa/countersign/internal/operator"
)

// A chart is a figure with a table. Browsers with the script draw the table as lines.
type chart struct {
	Title string
	Names []string // of the series: columns of the table
	Rows  []chartRow
}

// A chartRow has the values of one time.
type chartRow struct {
	At     time.Time
	Values []int64
}

// HasValues reports whether there is anything to draw.
func (c chart) HasValues() bool {
	for _, row := range c.Rows {
		for _, v := range row.Values {
			if v != 0 {
				return true
			}
		}
	}
	return false
}

// newChart returns a chart of periods, whose rows are the newest first.
func newChart[P any](title string, names []string, periods []P, row func(P) chartRow) chart {
	c := chart{Title: title, Names: names, Rows: make([]chartRow, len(periods))}
	for i, p := range periods {
		c.Rows[len(periods)-1-i] = row(p)
	}
	return c
}

// A span is a choice of how much time the charts show.
type span struct {
	Key, Words string
	length     time.Duration
}

// spans are all choices; the first is the default.
var spans = []span{
	{"day", "24 hours", 24 * time.Hour},
	{"week", "7 days", 7 * 24 * time.Hour},
	{"month", "30 days", 30 * 24 * time.Hour},
	{"year", "12 months", 365 * 24 * time.Hour},
}

// spanOf returns the span that a request asks for, and the query for it.
func (c *Console) spanOf(r *request) (span, operator.StatsQuery) {
	chosen := spans[0]
	for _, s := range spans {
		if s.Key == r.URL.Query().Get("span") {
			chosen = s
		}
	}
	now := c.opts.Now()
	return chosen, operator.StatsQuery{Since: now.Add(-chosen.length), Until: now}
}

// A spanLink is a link to the same page with another span.
type spanLink struct {
	Words, Path string
	Here        bool
}

func spanLinks(path string, chosen span) []spanLink {
	links := make([]spanLink, len(spans))
	for i, s := range spans {
		links[i] = spanLink{s.Words, path + "?span=" + s.Key, s == chosen}
	}
	return links
}

// A figure is a number with its name.
type figure struct {
	Value, Label string
}

// A share is a part of a whole, for a bar.
type share struct {
	Name  string
	Count int64
	Rate  int // in percent
}

// shares returns counts as shares of their whole.
func shareOf(name string, part, whole int64) share {
	if whole <= 0 {
		return share{name, part, 0}
	}
	return share{name, part, int(min(100, 100*part/whole))}
}
