package eventwire_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An example has the keys of an example in docs/events.md that Append does not derive.
type example struct {
	ID        string
	Event     mfa.EventType
	CreatedAt time.Time `json:"created_at"`
	Data      struct {
		FactorID    string         `json:"factor_id"`
		FactorType  mfa.FactorType `json:"factor_type"`
		ChallengeID string         `json:"challenge_id"`
		UserID      string         `json:"user_id"`
		IPAddress   string         `json:"ip_address"`
		UserAgent   string         `json:"user_agent"`
		Reason      string
		RequestID   string `json:"request_id"`
		APIKeyID    string `json:"api_key_id"`
		EndpointID  string `json:"webhook_endpoint_id"`
		Viewed      string
		ClockOffset int `json:"clock_offset"`
		Caller      struct{ Type, ID string }
	}
}

// event returns the event that the example shows.
func (x *example) event(t *testing.T) (e events.Event) {
	t.Helper()
	id, ok := mfa.ParseEventID(x.ID)
	if !ok {
		t.Fatalf("%q is not the id of an event", x.ID)
	}
	d := &x.Data
	e.ID, e.At, e.Type, e.Kind, e.Request = id, x.CreatedAt, x.Event, d.FactorType, d.RequestID
	e.User, e.IPAddress, e.UserAgent = d.UserID, d.IPAddress, d.UserAgent
	e.Reason = strings.Trim(d.APIKeyID+d.EndpointID+d.Viewed+":"+d.Reason, ":")
	e.ClockOffset = d.ClockOffset / 30
	e.Caller = d.Caller.ID
	if d.Caller.Type == "operator" {
		e.Caller = "operator:" + d.Caller.ID
	}
	var err error
	if d.FactorID != "" {
		if e.Factor, err = mfa.ParseFactorID(d.FactorID); err != nil {
			t.Fatal(err)
		}
	}
	if d.ChallengeID != "" {
		if e.Challenge, err = mfa.ParseChallengeID(d.ChallengeID); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func TestDocumentHasAnExampleOfEveryType(t *testing.T) {
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, types, ok := strings.Cut(string(page), "\n## Types\n")
	if !ok {
		t.Fatal("docs/events.md has no section about the types")
	}
	seen := map[mfa.EventType]bool{}
	for section := range strings.SplitSeq(types, "\n#### `") {
		name, rest, ok := strings.Cut(section, "`\n")
		if !ok {
			continue
		}
		_, rest, _ = strings.Cut(rest, "\n```json\n")
		text, _, _ := strings.Cut(rest, "\n```\n")
		var x example
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(x.Event) != name {
			t.Errorf("the example of %s shows %s", name, x.Event)
		}
		seen[x.Event] = true
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := eventwire.Append(nil, x.event(t)); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: the example shows\n%s\nbut the event is\n%s", name, want.Bytes(), got)
		}
	}
	for _, typ := range mfa.EventTypes {
		if !seen[typ] {
			t.Errorf("docs/events.md has no example of %s", typ)
		}
	}
	if len(seen) != len(mfa.EventTypes) {
		t.Errorf("docs/events.md has %d types; there are %d", len(seen), len(mfa.EventTypes))
	}
}
