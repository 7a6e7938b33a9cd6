package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

var userSteps = []replayStep{
	{"enroll for a user", func(r *replayer, t *testing.T) string {
		r.needs(t, userEnroll)
		user := newUser()
		o := r.do(r.main, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": "user@foo-corp.com"})
		if o.refusal != nil && o.refusal.class == r.unreadable {
			// The factor exists nevertheless.
			if got := len(r.factorsOf(t, user)); got != 1 {
				t.Errorf("%d factors of the user; want 1", got)
			}
			r.skip(t, cannotReadReply)
		}
		r.succeeded(t, userEnroll, o)
		factor, challenge := o.value.sub("authentication_factor"), o.value.sub("authentication_challenge")
		secret, uri := factor.sub("totp").text("secret"), factor.sub("totp").text("uri")
		typ := r.calls[userEnroll].reads
		r.is(t, r.typeWithin(typ, "authentication_factor"), factor, "user_id", user)
		r.is(t, r.typeWithin(typ, "authentication_challenge"), challenge, "authentication_factor_id", factor.text("id"))
		r.lasts(t, r.calls[challengePlain].reads, challenge)
		if !totpSecret.MatchString(secret) {
			t.Errorf("the secret is %q", secret)
		}
		if got := scan(t, factor.sub("totp").text("qr_code")); got != uri {
			t.Errorf("the QR code says %q; want %q", got, uri)
		}
		r.answered(t, r.verify(t, r.main, challenge, codeAt(t, secret, 0)), challenge, true)
		return "factor and challenge in one call"
	}},
	{"enroll for a user without names", func(r *replayer, t *testing.T) string {
		r.needs(t, userEnrollBare)
		o := r.do(r.main, userEnrollBare, args{"user_id": newUser()})
		if o.refusal != nil && o.refusal.class == r.unreadable && o.reply.status == 201 {
			r.skip(t, cannotReadReply)
		}
		r.succeeded(t, userEnrollBare, o)
		return r.named(t, o.value.sub("authentication_factor"))
	}},
	{"enroll for a user with a secret", func(r *replayer, t *testing.T) string {
		r.needs(t, userEnroll)
		if !r.has(userEnrollWith) {
			r.skip(t, takesNoSecret)
		}
		const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEE"
		spaced := "JBSW Y3DP EHPK 3PXP JBSW Y3DP EE"
		logcapture.Secret(t, secret, spaced)
		for _, given := range []string{secret, strings.ToLower(secret), spaced, secret + "======"} {
			enrolled := r.must(t, r.main, userEnrollWith, args{"user_id": newUser(), "secret": given})
			if got := enrolled.sub("authentication_factor").sub("totp").text("secret"); got != secret {
				t.Errorf("the secret %q comes back as %q", given, got)
			}
			challenge := enrolled.sub("authentication_challenge")
			r.answered(t, r.verify(t, r.main, challenge, codeAt(t, secret, 0)), challenge, true)
		}
		for given, requirement := range map[string]string{
			"JBSWY3DP":             "totp_secret_too_short",
			"01189998819991197253": "totp_secret_not_base32",
		} {
			logcapture.Secret(t, given)
			r.refused(t, r.do(r.main, userEnrollWith, args{"user_id": newUser(), "secret": given}), invalid(requirement))
		}
		return ""
	}},
}

// typeWithin returns the type of a property.
func (r *replayer) typeWithin(typ, key string) string {
	for p := range strings.FieldsSeq(r.types[typ]) {
		if m := property.FindStringSubmatch(p); m[1] == key {
			return m[4]
		}
	}
	return ""
}

// asAnother sends a request as another program that uses the same server: in this way a
// user gets factors that this library cannot enroll.
func (r *replayer) asAnother(t *testing.T, method, path string, body any) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.main.url+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.main.apiKey)
	answer, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: status %d, %v", method, path, answer.StatusCode, err)
	}
	return said
}

// factorsOf returns the ids of a user's factors, newest first, at most 100.
func (r *replayer) factorsOf(t *testing.T, user string) []string {
	t.Helper()
	ids := []string{}
	for _, factor := range r.asAnother(t, http.MethodGet, "/user_management/users/"+user+"/auth_factors?limit=100", nil)["data"].([]any) {
		ids = append(ids, factor.(map[string]any)["id"].(string))
	}
	return ids
}

// enrollFor enrolls a TOTP factor of a user, by the library if it can read the reply,
// and returns the factor as a list shows it.
func (r *replayer) enrollFor(t *testing.T, user, name string) record {
	t.Helper()
	var factor record
	if o := r.do(r.main, userEnroll, args{"user_id": user, "issuer": "Foo Corp", "user": name}); o.refusal == nil {
		r.succeeded(t, userEnroll, o)
		factor = o.value.sub("authentication_factor")
	} else if o.refusal.class == r.unreadable && o.reply.status == 201 {
		var said map[string]any
		if err := json.Unmarshal(o.reply.body, &said); err != nil {
			t.Fatal(err)
		}
		var err error
		if factor, err = r.read(r.listed(), said["authentication_factor"]); err != nil {
			t.Fatal(err)
		}
		r.keepSecrets(t, factor)
	} else {
		r.succeeded(t, userEnroll, o)
	}
	if r.readsProperty(r.listed(), "user_id") {
		factor["user_id"] = user
	}
	return factor
}

// listed returns the type of the elements of a list.
func (r *replayer) listed() string { return r.typeWithin(r.calls[userList].reads, "data") }

func (r *replayer) list(t *testing.T, a args) record {
	t.Helper()
	return r.must(t, r.main, userList, a)
}

// holds compares the factors on a page with the factors as they were enrolled.
func (r *replayer) holds(t *testing.T, page record, want []record) {
	t.Helper()
	got := page.list("data")
	if len(got) != len(want) {
		t.Fatalf("%d factors; want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].text("id") != want[i].text("id") {
			t.Fatalf("factor %d is %s; want %s", i, got[i].text("id"), want[i].text("id"))
		}
		r.shownAs(t, got[i], want[i])
	}
}

// ends checks the cursors of a page, if the library shows them.
func (r *replayer) ends(t *testing.T, page record, before, after string) {
	t.Helper()
	if !r.readsProperty(r.calls[userList].reads, "list_metadata") {
		return
	}
	metadata := page.sub("list_metadata")
	typ := r.typeWithin(r.calls[userList].reads, "list_metadata")
	r.is(t, typ, metadata, "before", before)
	r.is(t, typ, metadata, "after", after)
}

// all iterates as the library does: page after page until after is empty.
func (r *replayer) all(t *testing.T, a args) (factors []record, pages int) {
	t.Helper()
	for {
		page := r.list(t, a)
		factors = append(factors, page.list("data")...)
		pages++
		after := page.sub("list_metadata").text("after")
		if after == "" {
			return factors, pages
		}
		a["after"] = after
	}
}

var listSteps = []replayStep{
	{"list no factors", func(r *replayer, t *testing.T) string {
		r.needsList(t)
		page := r.list(t, args{"user_id": newUser()})
		r.is(t, r.calls[userList].reads, page, "object", "list")
		r.holds(t, page, nil)
		r.ends(t, page, "", "")
		return ""
	}},
	{"list the factors of a user", func(r *replayer, t *testing.T) string {
		r.needsList(t)
		for i := range 35 {
			r.newest = slices.Insert(r.newest, 0, r.enrollFor(t, r.owner, fmt.Sprintf("account %d", i)))
		}
		page := r.list(t, args{"user_id": r.owner})
		r.holds(t, page, r.newest[:10])
		r.ends(t, page, "", r.newest[9].text("id"))
		return "ten, the newest first, without secrets"
	}},
	{"list pages, desc", pagesStep("desc")},
	{"list pages, asc", pagesStep("asc")},
	{"list with a bad cursor", func(r *replayer, t *testing.T) string {
		r.needsPages(t)
		for _, bad := range []struct{ parameter, value, requirement string }{
			{"after", "auth_factor_nonsense", "after_invalid_cursor"},
			{"before", "nonsense", "before_invalid_cursor"},
			{"limit", "101", "limit_out_of_range"},
			{"order", "sideways", "order_unsupported"},
		} {
			if bad.parameter != "order" || !r.typedOrder {
				r.refused(t, r.do(r.main, userList, args{"user_id": r.owner, bad.parameter: bad.value}), invalid(bad.requirement))
			}
		}
		return r.errorAs(422)
	}},
	{"list all pages", func(r *replayer, t *testing.T) string {
		r.needsPages(t)
		for _, order := range []string{"desc", "asc"} {
			all, pages := r.all(t, args{"user_id": r.owner, "order": order})
			r.holds(t, record{"data": all}, inOrder(r.newest, order))
			if pages != 4 {
				t.Errorf("%d pages; want 4", pages)
			}
		}
		return "35 factors, in both orders"
	}},
	{"list 301 factors", func(r *replayer, t *testing.T) string {
		r.needsPages(t)
		user := newUser()
		var newest []record
		for range 301 {
			newest = slices.Insert(newest, 0, r.enrollFor(t, user, "user@example.com"))
		}
		all, pages := r.all(t, args{"user_id": user, "limit": "100"})
		r.holds(t, record{"data": all}, newest)
		if pages != 4 {
			t.Errorf("%d pages; want 4", pages)
		}
		return "four pages"
	}},
	{"a deleted factor leaves the list", func(r *replayer, t *testing.T) string {
		r.needsList(t)
		const place = 4
		gone := r.newest[place].text("id")
		r.newest = slices.Delete(slices.Clone(r.newest), place, place+1)
		r.must(t, r.main, deleteFactor, args{"factor": gone})
		r.holds(t, r.list(t, args{"user_id": r.owner}), r.newest[:10])
		if r.query != "" {
			r.holds(t, r.list(t, args{"user_id": r.owner, "limit": "3", "after": gone}), r.newest[place:place+3])
			return "its id still marks its place"
		}
		return ""
	}},
	{"list a factor that is not totp", func(r *replayer, t *testing.T) string {
		r.needsList(t)
		user, phone := newUser(), r.phone(t)
		enrolled := r.asAnother(t, http.MethodPost, "/auth/factors/enroll", args{"type": "sms", "phone_number": phone, "user_id": user})
		page := r.list(t, args{"user_id": user})
		typ := r.listed()
		factor := page.list("data")[0]
		if len(page.list("data")) != 1 || factor.text("id") != enrolled["id"] || factor.text("type") != "sms" {
			t.Errorf("the list holds %v", page.list("data"))
		}
		if r.readsProperty(typ, "sms") && factor.sub("sms").text("phone_number") != phone {
			t.Errorf("its number is %q; want %q", factor.sub("sms").text("phone_number"), phone)
		}
		if _, ok := factor["totp"]; ok {
			t.Error("it has totp")
		}
		return ""
	}},
}

func (r *replayer) needsList(t *testing.T) {
	t.Helper()
	if !r.has(userList) {
		r.skip(t, hasNoLists)
	}
}

func (r *replayer) needsPages(t *testing.T) {
	t.Helper()
	r.needsList(t)
	if r.query == "" {
		r.skip(t, hasNoPages)
	}
}

func inOrder(newest []record, order string) []record {
	list := slices.Clone(newest)
	if order == "asc" {
		slices.Reverse(list)
	}
	return list
}

func pagesStep(order string) func(*replayer, *testing.T) string {
	return func(r *replayer, t *testing.T) string {
		r.needsPages(t)
		all := inOrder(r.newest, order)
		id := func(i int) string {
			if i < 0 || i >= len(all) {
				return ""
			}
			return all[i].text("id")
		}
		ask := func(a args) record {
			a["user_id"], a["order"] = r.owner, order
			return r.list(t, a)
		}
		for start := 0; start < len(all); start += 10 {
			end := min(start+10, len(all))
			page := ask(args{"limit": "10", "after": id(start - 1)})
			r.holds(t, page, all[start:end])
			before, after := id(start), id(end-1)
			if start == 0 {
				before = ""
			}
			if end == len(all) {
				after = ""
			}
			r.ends(t, page, before, after)
		}
		for start := 20; start >= 0; start -= 10 {
			r.holds(t, ask(args{"limit": "10", "before": id(start + 10)}), all[start:start+10])
		}
		r.holds(t, ask(args{"after": id(4), "before": id(9)}), all[5:9])
		return "four pages forward by after, three back by before, and between the two"
	}
}
