package eventexport_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/eventexport"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

var at = time.Date(2026, 11, 30, 9, 14, 2, 113e6, time.UTC)

// hostile has what could end a value or a line, or begin a formula.
const hostile = "=a|b\\c\"d,e\r\nf\x1b[31m \u2028"

func event(t mfa.EventType) events.Event {
	return events.Event{
		Event: mfa.Event{
			ID: mfa.Position{Epoch: at.UnixMilli(), Counter: 7}.ID(9), At: at, Environment: 1, Type: t,
			Factor: mfa.FactorID{1, 2, 3}, Challenge: mfa.ChallengeID{4, 5, 6}, Kind: mfa.TOTP,
			Reason: "wrong_code", Caller: "key_db821386bb69d752", Request: "6f1c8b1e-9a53-4c77-8c0e-2b9f6a1d0e55",
		},
		User: "user_42", IPAddress: "198.51.100.9", UserAgent: "curl/8",
	}
}

// variants are events of a type with different known fields.
func variants(t mfa.EventType) []events.Event {
	full := event(t)
	bare := events.Event{Event: mfa.Event{ID: full.ID, At: at, Environment: 1, Type: t}}
	byOperator := full
	byOperator.User, byOperator.Caller, byOperator.Kind, byOperator.Reason = "", "operator:ada", mfa.SMS, "we_01FZ4WRNQ7S9GT4BJBMN9KQKVC:failing"
	odd := full
	odd.User, odd.UserAgent, odd.Reason, odd.Kind, odd.IPAddress = hostile, hostile, hostile, "other", "2001:db8::1"
	return []events.Event{full, bare, byOperator, odd}
}

func write(f eventexport.Format, env string, e events.Event) string {
	return string(eventexport.Writer{Format: f, Version: "1.2.3"}.Append(nil, env, &e))
}

func TestEveryEventIsOneLine(t *testing.T) {
	for _, typ := range mfa.EventTypes {
		for i, e := range variants(typ) {
			for _, f := range []eventexport.Format{eventexport.JSONLines, eventexport.OCSF, eventexport.CEF} {
				if line := write(f, "Acme Test", e); strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.Contains(line, "\r") {
					t.Errorf("%s %d as %s is not one line: %q", typ, i, f, line)
				}
			}
		}
	}
}

func TestJSONLinesNameTheEnvironment(t *testing.T) {
	var got map[string]any
	line := write(eventexport.JSONLines, "Acme Test", event(mfa.ChallengeFailed))
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	data, _ := got["data"].(map[string]any)
	if got["environment"] != "Acme Test" || got["event"] != "authentication.mfa_failed" || data["user_id"] != "user_42" {
		t.Errorf("the line is %s", line)
	}
}

func TestCSVIsReadAsItWasWritten(t *testing.T) {
	w := eventexport.Writer{Format: eventexport.CSV}
	text := w.Header()
	e := variants(mfa.ChallengeFailed)[3]
	text = w.Append(text, "Acme Test", &e)
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v: %q", len(rows), err, text)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"time": "2026-11-30T09:14:02.113Z", "type": "authentication.mfa_failed", "environment": "Acme Test", "ip_address": "2001:db8::1",
		"user":   "'" + strings.ReplaceAll(hostile, "\r\n", "\n"), // the reader changes the line break, the writer adds the apostrophe
		"caller": "key_db821386bb69d752", "factor_type": "other", "id": e.ID.String(),
	} {
		if got[name] != want {
			t.Errorf("%s is %q; want %q", name, got[name], want)
		}
	}
}

func TestCEF(t *testing.T) {
	for _, tc := range []struct {
		e    events.Event
		want string
	}{
		{event(mfa.ChallengeFailed), `CEF:0|Countersign|Countersign|1.2.3|authentication.mfa_failed|wrong code|3|rt=1796030042113 externalId=` +
			event(mfa.ChallengeFailed).ID.String() + ` duid=user_42 src=198.51.100.9 requestClientApplication=curl/8 outcome=failure reason=wrong_code ` +
			`cs1Label=environment cs1=Acme Test cs2Label=factor cs2=` + mfa.FactorID{1, 2, 3}.String() + ` cs3Label=challenge cs3=` + mfa.ChallengeID{4, 5, 6}.String() +
			` cs4Label=factor type cs4=totp cs5Label=caller cs5=key_db821386bb69d752 cs6Label=request cs6=6f1c8b1e-9a53-4c77-8c0e-2b9f6a1d0e55` + "\n"},
	} {
		if got := write(eventexport.CEF, "Acme Test", tc.e); got != tc.want {
			t.Errorf("got\n%s; want\n%s", got, tc.want)
		}
	}
	odd := write(eventexport.CEF, `a|b\c`, variants(mfa.FactorLocked)[3])
	for _, want := range []string{`|8|rt=`, `c6a2Label=Source IPv6 Address c6a2=2001:db8::1`, `duid=\=a|b\\c"d,e\r\nf`, `cs1=a|b\\c`} {
		if !strings.Contains(odd, want) {
			t.Errorf("%s is missing in %s", want, odd)
		}
	}
}

// TestTheResourceIsNotTheReason has an event whose stored reason begins with the id of an
// endpoint.
func TestTheResourceIsNotTheReason(t *testing.T) {
	const id = "we_01FZ4WRNQ7S9GT4BJBMN9KQKVC"
	e := variants(mfa.EndpointDisabled)[2]
	for f, want := range map[eventexport.Format][]string{
		eventexport.JSONLines: {`"webhook_endpoint_id":"` + id + `","reason":"failing"`},
		eventexport.OCSF:      {`"entity":{"uid":"` + id + `"`, `"status_detail":"failing"`},
		eventexport.CEF:       {` reason=failing `, ` flexString1Label=resource flexString1=` + id + "\n"},
		eventexport.CSV:       {`,` + id + `,failing,`},
	} {
		line := write(f, "Acme Test", e)
		for _, part := range want {
			if !strings.Contains(line, part) {
				t.Errorf("%s is missing in %s", part, line)
			}
		}
	}
}

func TestWordsAreForPeople(t *testing.T) {
	for typ, want := range map[mfa.EventType]string{
		mfa.ChallengeFailed: "wrong code", mfa.FactorEnrolled: "factor enrolled", mfa.UserLocked: "user locked", "message.delivered": "message delivered",
		mfa.EndpointDisabled: "webhook endpoint disabled",
	} {
		if got := eventexport.Words(typ); got != want {
			t.Errorf("Words(%s) = %q; want %q", typ, got, want)
		}
	}
	for _, typ := range mfa.EventTypes {
		if words := eventexport.Words(typ); strings.ContainsAny(words, "._") {
			t.Errorf("Words(%s) = %q", typ, words)
		}
	}
}

// A schema is an excerpt of OCSF.
type schema struct {
	Version string
	Classes map[string]*object
	Objects map[string]*object
}

type object struct {
	AtLeastOne []string `json:"at_least_one"`
	Attributes map[string]attribute
}

type attribute struct {
	Type     string
	Array    bool
	Required bool
	Enum     []string
}

// TestOCSFFollowsTheSchema checks every attribute of every event.
func TestOCSFFollowsTheSchema(t *testing.T) {
	text, err := os.ReadFile("testdata/ocsf-1.8.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	classes := map[string]int{}
	for _, typ := range mfa.EventTypes {
		for i, e := range variants(typ) {
			line := write(eventexport.OCSF, "Acme Test", e)
			var got map[string]any
			d := json.NewDecoder(strings.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&got); err != nil {
				t.Fatal(err)
			}
			class := fmt.Sprint(got["class_uid"])
			classes[class]++
			if s.Classes[class] == nil {
				t.Errorf("%s has the class %s", typ, class)
				continue
			}
			for _, fault := range s.faults("", s.Classes[class], got) {
				t.Errorf("%s %d: %s in %s", typ, i, fault, line)
			}
			if want := class + fmt.Sprintf("%02s", got["activity_id"]); fmt.Sprint(got["type_uid"]) != strings.TrimLeft(want, "0") {
				t.Errorf("%s: type_uid is %v; want %s", typ, got["type_uid"], want)
			}
			if want := class[:1]; fmt.Sprint(got["category_uid"]) != want {
				t.Errorf("%s: category_uid is %v; want %s", typ, got["category_uid"], want)
			}
			if version := got["metadata"].(map[string]any)["version"]; version != s.Version {
				t.Errorf("the version is %v; want %s", version, s.Version)
			}
		}
	}
	for _, class := range []string{"0", "3001", "3002", "3004"} {
		if classes[class] == 0 {
			t.Errorf("no event has the class %s", class)
		}
	}
}

// faults returns the differences of an object from the schema.
func (s *schema) faults(path string, o *object, got map[string]any) (all []string) {
	for name, a := range o.Attributes {
		if _, ok := got[name]; a.Required && !ok {
			all = append(all, path+name+" is missing")
		}
	}
	if len(o.AtLeastOne) > 0 && !slices.ContainsFunc(o.AtLeastOne, func(name string) bool { return got[name] != nil }) {
		all = append(all, fmt.Sprintf("%s needs one of %v", path, o.AtLeastOne))
	}
	for name, v := range got {
		a, ok := o.Attributes[name]
		if !ok {
			all = append(all, path+name+" is not in the schema")
			continue
		}
		values, isList := v.([]any)
		if isList != a.Array {
			all = append(all, path+name+" is a list, or is none")
			continue
		}
		if !isList {
			values = []any{v}
		}
		for _, v := range values {
			all = append(all, s.faultsOf(path+name, a, v)...)
		}
	}
	return all
}

func (s *schema) faultsOf(path string, a attribute, v any) []string {
	ok := false
	switch a.Type {
	case "string_t":
		text, isText := v.(string)
		ok = isText && text != ""
	case "integer_t", "long_t":
		_, ok = v.(json.Number)
	case "boolean_t":
		_, ok = v.(bool)
	case "object":
		_, ok = v.(map[string]any)
	default:
		inner, isObject := v.(map[string]any)
		if o := s.Objects[a.Type]; isObject && o != nil {
			return s.faults(path+".", o, inner)
		}
	}
	if !ok {
		return []string{fmt.Sprintf("%s is %v, not a %s", path, v, a.Type)}
	}
	if len(a.Enum) > 0 && !slices.Contains(a.Enum, fmt.Sprint(v)) {
		return []string{fmt.Sprintf("%s is %v, not one of %v", path, v, a.Enum)}
	}
	return nil
}

func TestOCSFOfAWrongCode(t *testing.T) {
	var got struct {
		TypeUID int    `json:"type_uid"`
		Status  string `json:"status"`
		Detail  string `json:"status_detail"`
		User    struct{ UID string }
		Source  struct{ IP string } `json:"src_endpoint"`
		Actor   struct {
			AppUID string `json:"app_uid"`
		}
		Factors []struct {
			TypeID int `json:"factor_type_id"`
		} `json:"auth_factors"`
	}
	if err := json.Unmarshal([]byte(write(eventexport.OCSF, "Acme Test", event(mfa.ChallengeFailed))), &got); err != nil {
		t.Fatal(err)
	}
	if got.TypeUID != 300201 || got.Status != "Failure" || got.Detail != "wrong_code" || got.User.UID != "user_42" || got.Source.IP != "198.51.100.9" ||
		got.Actor.AppUID != "key_db821386bb69d752" || len(got.Factors) != 1 || got.Factors[0].TypeID != 7 {
		t.Errorf("%+v", got)
	}
}
