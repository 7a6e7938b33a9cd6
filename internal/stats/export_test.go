package stats

import (
	"maps"
	"time"
)

// Decoded returns the numbers in a row by the text of their group.
func Decoded(r Row) (map[string][6]int64, error) {
	c, err := decode(r.Counts)
	all := make(map[string][6]int64, len(c))
	for g, n := range maps.All(c) {
		all[string(g)] = *n
	}
	return all, err
}

// Periods returns the periods of a query, and the end of the last.
func Periods(q Query, now time.Time) ([]time.Time, time.Time, error) {
	s, err := spanOf(q, now)
	return s.starts, s.end, err
}

// Of returns what segments cost, as text.
func (p Prices) Of(provider, country string, segments int64, at time.Time) string {
	cost, known := p.cost(provider, country, segments, at)
	if !known {
		return "unknown"
	}
	return cost.Currency + " " + cost.Amount()
}

// Encoded returns a row of counts: group, then its numbers.
func Encoded(groups map[string][6]int64) []byte {
	c := make(counts)
	for g, n := range groups {
		c.plus(g, (*numbers)(&n))
	}
	return c.encode()
}

// Sum adds up encoded rows.
func Sum(rows [][]byte) int {
	c := make(counts)
	for _, r := range rows {
		if err := c.sum(r); err != nil {
			panic(err)
		}
	}
	return len(c)
}
