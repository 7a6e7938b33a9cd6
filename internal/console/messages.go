package console

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
)

// A messagesView is the view of the text messages of an environment.
type messagesView struct {
	Sent     sentView
	Totals   []countRow // of all messages, and of those to other countries
	Prefixes []countRow // paused ones first, then by the number of messages
	Prefix   string     // whose release failed, as entered
	Test     *testView  // the result of a test message; or nil
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

// A testView is the view of the result of a test message.
type testView struct {
	Tone, Outcome string
	mfa.TestMessage
}

// testOutcomes has the words for each outcome of a test message that reached the providers.
var testOutcomes = map[operator.TestOutcome]testView{
	operator.TestAccepted:         {Tone: "good", Outcome: "A provider accepted the message. It may still not arrive: look at the phone, or search the provider's records for the id."},
	operator.TestUncertain:        {Tone: "warn", Outcome: "The message may have been sent. Look at the phone before you try again."},
	operator.TestRecipientRefused: {Tone: "bad", Outcome: "No provider delivers messages to this phone number."},
	operator.TestNotDelivered:     {Tone: "bad", Outcome: "No provider accepted the message. The log of the server has the reasons."},
}

// sendTest serves POST /console/e/{env}/messages/test. It shows the result this once, so it does
// not redirect; the limits refuse a message that a reload would send again.
func (c *Console) sendTest(w http.ResponseWriter, r *request) error {
	m, err := c.parts.Operator.SendTest(r.Context(), r.by(), r.env, r.text("phone"))
	found, sent := testOutcomes[operator.TestOutcomeOf(m, err)]
	v, viewErr := c.messagesView(r)
	switch {
	case viewErr != nil:
		return viewErr
	case !sent:
		return c.showAgain(w, r, "Messages", "messages.html", v, testFault(err))
	case m.Provider != "" && err != nil: // it was sent, and not recorded
		return err
	}
	found.TestMessage = m
	v.Test = &found
	return c.showPage(w, r, "Messages", "messages.html", v)
}

// testFault turns the refusal of a test message into words.
func testFault(err error) error {
	limit, limited := errors.AsType[*delivery.LimitError](err)
	switch {
	case errors.Is(err, delivery.ErrSandboxNumber):
		return fault("A sandbox sends no messages to providers.")
	case errors.Is(err, delivery.ErrInvalid):
		return fault("The phone number needs a + and the code of its country, such as +16073517112.")
	case errors.Is(err, delivery.ErrCountry):
		return fault("No messages go to this country. The file of providers and sms_countries list the allowed ones.")
	case errors.Is(err, delivery.ErrNumberType):
		return fault(sentence(err.Error()))
	case limited:
		return fault(fmt.Sprintf("%s; try again in %v.", strings.TrimSuffix(sentence(err.Error()), "."), limit.After.Round(time.Second)))
	}
	return asFault(err)
}
