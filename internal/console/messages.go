package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/operator"
)

// A messagesView is the view of the text messages of an environment.
type messagesView struct {
	Sent     sentView
	Totals   []countRow // of all messages, and of those to other countries
	Prefixes []countRow // paused ones first, then by the number of messages
	Prefix   string     // whose release failed, as entered
}

// A countRow is the number of messages to a group of phone numbers.
type countRow struct {
	operator.MessageCount
	Name     string
	IsPaused bool
	Rate     int // of challenges that were verified, in percent; -1 without messages
}

// messages serves GET /console/e/{env}/messages.
func (c *Console) messages(w http.ResponseWriter, r *request) error {
	v, err := c.messagesView(r)
	if err != nil {
		return err
	}
	return c.showPage(w, r, "Messages", "messages.html", v)
}

func (c *Console) messagesView(r *request) (v messagesView, err error) {
	if v.Sent, err = c.sent(r); err != nil {
		return v, err
	}
	counts, err := c.parts.Operator.MessageCounts(r.Context(), r.env)
	if err != nil {
		return v, err
	}
	now := c.opts.Now()
	for _, count := range counts {
		row := countRow{MessageCount: count, Name: count.Of, IsPaused: now.Before(count.PausedUntil), Rate: rate(count.Verified, count.Sent)}
		if strings.HasPrefix(count.Of, "+") {
			v.Prefixes = append(v.Prefixes, row)
			continue
		}
		if words, ok := countWords[count.Of]; ok {
			row.Name = words
		}
		v.Totals = append(v.Totals, row)
	}
	slices.SortStableFunc(v.Prefixes, func(a, b countRow) int {
		return cmp.Or(b.PausedUntil.Compare(a.PausedUntil), cmp.Compare(b.Sent, a.Sent))
	})
	return v, nil
}

// countWords names the groups that are not a prefix or a country.
var countWords = map[string]string{"all": "All countries", "abroad": "Other countries than the first one"}

// rate returns part of whole in percent, or -1.
func rate(part, whole int) int {
	if whole <= 0 {
		return -1
	}
	return min(100, 100*part/whole)
}

// releasePrefix serves POST /console/e/{env}/messages/release.
func (c *Console) releasePrefix(w http.ResponseWriter, r *request) error {
	prefix := r.text("prefix")
	released, err := c.parts.Operator.ReleasePrefix(r.Context(), r.by(), r.env, prefix)
	if err == nil && !released {
		err = fault("Messages to " + shortened(prefix) + " are not paused. Nothing was changed.")
	}
	if err != nil {
		v, viewErr := c.messagesView(r)
		if viewErr != nil {
			return viewErr
		}
		return c.showAgain(w, r, "Messages", "messages.html", v, err)
	}
	return done(w, r, in(r.env, "messages"), "prefix-released")
}

// Hours returns the period of a count in words.
func (c countRow) Hours() string {
	if c.Period%(24*time.Hour) == 0 {
		return number(int(c.Period/(24*time.Hour))*24) + " h"
	}
	return strings.TrimSuffix(strings.TrimSuffix(c.Period.String(), "0s"), "0m")
}
