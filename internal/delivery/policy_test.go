package delivery_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

var sandbox = ids.Environment{ID: 1, Name: "Acme Test"}

// A counting counts messages to one number in rows that it keeps.
type counting struct {
	t      *testing.T
	policy *delivery.Policy
	keyset *secret.Keyset
	keys   delivery.Keys
	rows   delivery.Rows
	source delivery.Source
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	keyset, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := delivery.NewPolicy(delivery.Options{Limits: delivery.Limits{
		Spacing: time.Second, Windows: []delivery.Window{{Count: 3, Span: time.Minute}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	phone, err := delivery.ParsePhone(adasPhone, false)
	if err != nil {
		t.Fatal(err)
	}
	return &counting{
		t: t, policy: policy, keyset: keyset, keys: policy.Keys(keyset, sandbox, phone),
		source: delivery.NewSource(ids.FactorID{1}),
	}
}

// entry is a message of the request of a name.
func (c *counting) entry(name string) delivery.Entry {
	return delivery.Entry{Ref: delivery.NewRef([]byte(name)).From(c.source), Keep: 30 * time.Second, First: true}
}

func (c *counting) reserve(name string, now time.Time) (time.Time, error) {
	c.t.Helper()
	at, changes, err := c.policy.Reserve(c.keyset, sandbox, c.keys, c.rows, c.entry(name), now)
	if changes.Phone != nil {
		c.rows.Phone = changes.Phone
	}
	return at, err
}

func (c *counting) uncount(name string, at time.Time, why error, earlier string) {
	c.t.Helper()
	if changes := c.policy.Uncount(c.rows, c.entry(name), at, why, c.entry(earlier).Ref); changes.Phone == nil {
		c.t.Errorf("%s was not counted", name)
	}
}

func (c *counting) want(n int) {
	c.t.Helper()
	if got := len(c.rows.Phone.Sends); got != n {
		c.t.Errorf("%d messages are counted; want %d", got, n)
	}
}

func TestARepeatedRequestIsCountedOnce(t *testing.T) {
	c := newCounting(t)
	for _, after := range []time.Duration{0, time.Second, 29 * time.Second} {
		if at, err := c.reserve("a", mfatest.Start.Add(after)); err != nil || !at.Equal(mfatest.Start) {
			t.Errorf("after %v: counted at %v, %v; want the first time", after, at, err)
		}
	}
	c.want(1)
	if at, err := c.reserve("a", mfatest.Start.Add(30*time.Second)); err != nil || at.Equal(mfatest.Start) {
		t.Errorf("after its time: counted at %v, %v; want another count", at, err)
	}
	c.want(2)
}

func TestAMessageThatWasNotSentIsNotCounted(t *testing.T) {
	c := newCounting(t)
	at, err := c.reserve("a", mfatest.Start)
	if err != nil {
		t.Fatal(err)
	}
	c.uncount("a", at, delivery.ErrNotDelivered, "a")
	c.want(0)
}

func TestAMessageThatMayHaveBeenSentStaysCounted(t *testing.T) {
	for _, why := range []error{delivery.ErrUncertain, delivery.ErrRecipientRefused} {
		c := newCounting(t)
		at, err := c.reserve("a", mfatest.Start)
		if err != nil {
			t.Fatal(err)
		}
		c.uncount("a", at, why, "a")
		c.want(1)
		if _, err := c.reserve("a", mfatest.Start); !errors.Is(err, delivery.ErrSendLimit) {
			t.Errorf("%v: another try: %v; want %v, because it is another message", why, err, delivery.ErrSendLimit)
		}
	}
}

// After the second sign-in under a derived key failed, the key has the name of the first.
func TestAnEarlierCountStandsForNoLaterRequest(t *testing.T) {
	c := newCounting(t)
	if _, err := c.reserve("first", mfatest.Start); err != nil {
		t.Fatal(err)
	}
	at, err := c.reserve("second", mfatest.Start.Add(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	c.uncount("second", at, delivery.ErrNotDelivered, "first")
	if _, err := c.reserve("first", mfatest.Start.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	c.want(2)
}

// A late sender does not change the counts of requests that came after it.
func TestALateSenderLeavesLaterCounts(t *testing.T) {
	c := newCounting(t)
	late, err := c.reserve("late", mfatest.Start)
	if err != nil {
		t.Fatal(err)
	}
	after := mfatest.Start.Add(31 * time.Second)
	at, err := c.reserve("first", after)
	if err != nil {
		t.Fatal(err)
	}
	c.uncount("late", late, delivery.ErrNotDelivered, "first")
	c.want(1)
	c.uncount("first", at, delivery.ErrNotDelivered, "first")
	c.want(0)
}
