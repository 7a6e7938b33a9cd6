package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

const emptyList = `{"object":"list","data":[],"list_metadata":{"before":null,"after":null}}`

// A page is one page of a list.
type page struct {
	ids           []string
	before, after string // "" for null
}

// page requests one page of the factors of a user. A query is, for example,
// "limit=2&order=asc".
func (w *fixture) page(user, query string) page {
	w.t.Helper()
	r := w.get("/user_management/users/" + user + "/auth_factors?" + query).is(http.StatusOK)
	var list struct {
		Object   string
		Data     []struct{ ID string }
		Metadata map[string]*string `json:"list_metadata"`
	}
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || list.Object != "list" || list.Data == nil {
		w.t.Fatalf("%s: %v", r.body, err)
	}
	var p page
	for _, f := range list.Data {
		p.ids = append(p.ids, f.ID)
	}
	for key, put := range map[string]*string{"before": &p.before, "after": &p.after} {
		value, ok := list.Metadata[key]
		if !ok || value != nil && *value == "" {
			w.t.Errorf("list_metadata.%s is missing or empty in %s", key, r.body)
		}
		if value != nil {
			*put = *value
		}
	}
	return p
}

// enrollFor enrolls n factors for a user and returns their ids, newest first.
func (w *fixture) enrollFor(user string, n int) []string {
	w.t.Helper()
	var ids []string
	for i := range n {
		if i%3 == 0 {
			w.clock.Advance(time.Millisecond) // the factors between two advances have the same time
		}
		ids = append(ids, w.enroll(`{"type":"generic_otp","user_id":"`+user+`"}`))
	}
	slices.Reverse(ids)
	return ids
}

func TestAListHasFactorsOfEveryTypeWithoutSecrets(t *testing.T) {
	w := newFixture(t, setup{})
	w.get("/user_management/users/user_1/auth_factors").says(200, emptyList)
	app := w.post("/user_management/users/user_1/auth_factors", `{"type":"totp","totp_user":"ada"}`).is(201)
	phone := w.enroll(`{"type":"sms","phone_number":"+16073517112","user_id":"user_1"}`)
	generic := w.enroll(`{"type":"generic_otp","user_id":"user_1"}`)
	w.enrollFor("user_2", 1)

	const at = `"created_at":"2026-03-27T12:00:00.432Z","updated_at":"2026-03-27T12:00:00.432Z"`
	item := func(id, rest string) string {
		return `{"object":"authentication_factor","id":"` + id + `",` + at + `,` + rest + `}`
	}
	want := `{"object":"list","data":[` +
		item(generic, `"type":"generic_otp","status":"unverified","last_used_at":null,"user_id":"user_1"`) + `,` +
		item(phone, `"type":"sms","status":"unverified","last_used_at":null,"user_id":"user_1","sms":{"phone_number":"+16073517112"}`) + `,` +
		item(app.text("authentication_factor.id"), `"type":"totp","status":"unverified","last_used_at":null,"user_id":"user_1","totp":{"issuer":"Acme Test","user":"ada"}`) +
		`],"list_metadata":{"before":null,"after":null}}`
	if r := w.get("/user_management/users/user_1/auth_factors").is(200); r.body != want {
		t.Errorf("listed\n%s; want\n%s", r.body, want)
	}
}

func TestEnrollingForAUserChallengesAtOnce(t *testing.T) {
	w := newFixture(t, setup{})
	r := w.post("/user_management/users/user_1/auth_factors", `{"type":"totp"}`).is(http.StatusCreated)
	prefixed := func(prefix, keys string) string {
		return prefix + strings.ReplaceAll(keys, " ", " "+prefix)
	}
	want := prefixed("authentication_factor.", factorKeys+" user_id"+enrolledTOTP) + " " + prefixed("authentication_challenge.", challengeKeys)
	if got := r.keys(); got != want {
		t.Errorf("keys\n%s; want\n%s", got, want)
	}
	if r.text("authentication_factor.totp.issuer") != "Acme Test" || r.text("authentication_factor.totp.user") != "user_1" {
		t.Error("issuer and user are not the environment's name and the user's id")
	}
	if r.text("authentication_challenge.authentication_factor_id") != r.text("authentication_factor.id") {
		t.Error("the challenge is of another factor")
	}
	code := w.totpCode(r.text("authentication_factor.totp.secret"))
	if v := w.verify(r.text("authentication_challenge.id"), code).is(201); v.at("valid") != true {
		t.Error("the first code of the app is not valid")
	}
}

func TestAListIsReadThroughInBothOrdersAndDirections(t *testing.T) {
	w := newFixture(t, setup{})
	w.set("max_factors_per_user", "100")
	all := w.enrollFor("user_1", 25)
	w.enrollFor("user_2", 3)
	for _, tc := range []struct {
		name, query string
		size        int
		want        []string
	}{
		{"as given", "", 10, all},
		{"newest first", "order=desc", 10, all},
		{"with empty parameters", "order=&limit=", 10, all},
		{"in the order that libraries call normal", "order=normal", 10, all},
		{"oldest first", "order=asc", 10, reversed(all)},
		{"by sevens", "limit=7", 7, all},
		{"by sevens, oldest first", "limit=7&order=asc", 7, reversed(all)},
		{"by fives, which come out even", "limit=5", 5, all},
		{"one by one", "limit=1", 1, all},
		{"all at once", "limit=100", 100, all},
		{"exactly all", "limit=25", 25, all},
		{"unknown parameters", "limit=10&page=3&offset=5", 10, all},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w.on(t)
			var forth []string
			p := w.page("user_1", tc.query)
			if p.before != "" {
				t.Errorf("the first page has before = %s", p.before)
			}
			for {
				if len(p.ids) != min(tc.size, len(tc.want)-len(forth)) {
					t.Fatalf("a page has %d factors after %d", len(p.ids), len(forth))
				}
				forth = append(forth, p.ids...)
				if p.after == "" {
					break
				}
				p = w.page("user_1", tc.query+"&after="+p.after)
			}
			if !slices.Equal(forth, tc.want) {
				t.Fatalf("read %q; want %q", forth, tc.want)
			}
			// Back to the first page, only with before.
			back := p.ids
			for p.before != "" {
				p = w.page("user_1", tc.query+"&before="+p.before)
				back = append(slices.Clone(p.ids), back...)
			}
			if !slices.Equal(back, tc.want) {
				t.Errorf("read back %q; want %q", back, tc.want)
			}
		})
	}
}

func reversed(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Reverse(ids)
	return ids
}

func TestAListAcceptsBothBeforeAndAfter(t *testing.T) {
	// Three client libraries send the parameter before of the first call with every later call.
	w := newFixture(t, setup{})
	w.set("max_factors_per_user", "100")
	all := w.enrollFor("user_1", 25)
	var read []string
	query := "limit=3&before=" + all[20]
	for p := w.page("user_1", query); ; p = w.page("user_1", query+"&after="+p.after) {
		read = append(read, p.ids...)
		if p.after == "" {
			break
		}
		if len(read) > len(all) {
			t.Fatal("it never ends")
		}
	}
	if want := all[17:20]; !slices.Equal(read, want) {
		t.Errorf("read %q; want %q, what lies next to it", read, want)
	}

	read = nil
	for p := w.page("user_1", query+"&after="+all[3]); ; p = w.page("user_1", query+"&after="+p.after) {
		read = append(read, p.ids...)
		if p.after == "" {
			break
		}
	}
	if want := all[4:20]; !slices.Equal(read, want) {
		t.Errorf("between the two it read %q; want %q", read, want)
	}
	if p := w.page("user_1", "after="+all[5]+"&before="+all[6]); len(p.ids) != 0 || p.after != "" {
		t.Errorf("between neighbours is %v", p)
	}
	if p := w.page("user_1", "after="+all[6]+"&before="+all[5]); len(p.ids) != 0 || p.after != "" {
		t.Errorf("between the two the wrong way round is %v", p)
	}
}

func TestADeletedFactorStillMarksItsPlace(t *testing.T) {
	w := newFixture(t, setup{})
	all := w.enrollFor("user_1", 5)
	w.delete("/auth/factors/" + all[2]).is(204)
	if p := w.page("user_1", "after="+all[2]); !slices.Equal(p.ids, all[3:]) {
		t.Errorf("after it comes %q; want %q", p.ids, all[3:])
	}
	if p := w.page("user_1", "before="+all[2]); !slices.Equal(p.ids, all[:2]) {
		t.Errorf("before it comes %q; want %q", p.ids, all[:2])
	}
}

func TestAnInvalidCursorNeverReturnsTheFirstPage(t *testing.T) {
	w := newFixture(t, setup{})
	all := w.enrollFor("user_1", 3)
	c := w.challenge(all[0])
	id, err := mfa.ParseFactorID(all[0])
	if err != nil {
		t.Fatal(err)
	}
	foreign := w.enroll(`{"type":"generic_otp"}`)
	for other, _ := mfa.ParseFactorID(foreign); other.Bucket() == id.Bucket(); other, _ = mfa.ParseFactorID(foreign) {
		foreign = w.enroll(`{"type":"generic_otp"}`) // by chance it has the same bucket of 1,024
	}
	for _, cursor := range []string{
		"x", "auth_factor_", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3!", "0", "null", "undefined", " ", "\x00", "é", strings.ToLower(all[0]), all[0] + " ",
		c.text("id"), foreign, strings.Repeat("x", 5000),
	} {
		for _, name := range []string{"after", "before"} {
			for _, order := range []string{"asc", "desc"} {
				w.get("/user_management/users/user_1/auth_factors?order=" + order + "&" + name + "=" + url.QueryEscape(cursor)).
					refuses(fmt.Sprintf("%s %s_invalid_cursor", name, name))
			}
		}
	}
	w.get("/user_management/users/user_1/auth_factors?after=x&before=y").refuses("after after_invalid_cursor", "before before_invalid_cursor")

	// The page after the last one is empty.
	if p := w.page("user_1", "after="+all[2]); len(p.ids) != 0 || p.after != "" || p.before != "" {
		t.Errorf("after the last is %v", p)
	}
	if p := w.page("user_1", "before="+all[0]); len(p.ids) != 0 || p.after != "" || p.before != "" {
		t.Errorf("before the first is %v", p)
	}
}

func TestAnUnreadableQueryNeverReturnsTheFirstPage(t *testing.T) {
	w := newFixture(t, setup{})
	all := w.enrollFor("user_1", 3)
	for _, query := range []string{
		"after=%zz", "after=" + all[0] + "%", "limit=1;after=" + all[0], "after=" + all[0] + ";",
		strings.Repeat("&", 10_001) + "after=" + all[0],
	} {
		r := w.get("/user_management/users/user_1/auth_factors?" + query)
		if r.status == http.StatusOK && strings.Contains(r.body, all[0]) {
			t.Errorf("?%.60s gives the first page", query)
		}
	}
}

func TestLimitAndOrderAreChecked(t *testing.T) {
	w := newFixture(t, setup{})
	for _, limit := range []string{"0", "-1", "101", "1000000", "99999999999999999999", "1.5", "ten", "0x5", "1e1", "%20", "+5", "５"} {
		w.get("/user_management/users/user_1/auth_factors?limit=" + limit).refuses("limit limit_out_of_range")
	}
	for _, order := range []string{"ASC", "up", "asc%20", "1"} {
		w.get("/user_management/users/user_1/auth_factors?order=" + order).refuses("order order_unsupported")
	}
	w.get("/user_management/users/user_1/auth_factors?limit=0&order=up").refuses("limit limit_out_of_range", "order order_unsupported")
	for _, empty := range []string{"after=", "before=", "after=&before=&limit=&order="} {
		w.get("/user_management/users/user_1/auth_factors?"+empty).says(200, emptyList)
	}
	for _, limit := range []string{"1", "100"} {
		w.get("/user_management/users/user_1/auth_factors?limit="+limit).says(200, emptyList)
	}
}
