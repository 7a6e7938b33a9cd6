package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestHelpAPerson sends every form of a user and of a factor, without and with a reason.
func TestHelpAPerson(t *testing.T) {
	f := newFixture(t, console.Options{})
	id := f.enroll("user 1/ä")
	f.try(id, 5, mfa.VerifyParams{})
	const env = "/console/e/Acme%20Test"
	w := f.post(env+"/users", url.Values{"q": {" user 1/ä "}})
	if got, want := w.Header().Get("Location"), env+"/user?id="+url.QueryEscape("user 1/ä"); got != want {
		t.Fatalf("the search leads to %q; want %q", got, want)
	}
	if page := f.page(w.Header().Get("Location")); !strings.Contains(page, "5 of 50") || !strings.Contains(page, "user 1/ä") {
		t.Error("the page of the user does not have the wrong codes")
	}
	factor := env + "/factors/" + id.String()
	for _, tc := range []struct {
		path string
		form url.Values
	}{
		{factor + "/unlock", nil},
		{factor + "/suspend", nil},
		{factor + "/resume", nil},
		{env + "/user/unlock", url.Values{"user": {"user 1/ä"}}},
		{env + "/user/bypass/revoke", url.Values{"user": {"user 1/ä"}}}, // not issued
	} {
		form := url.Values{"reason": {"  "}}
		for name, values := range tc.form {
			form[name] = values
		}
		if w := f.post(tc.path, form); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "reason is required") {
			t.Errorf("%s without a reason = %d", tc.path, w.Code)
		}
		form.Set("reason", "ticket 4711")
		want := http.StatusSeeOther
		if strings.HasSuffix(tc.path, "revoke") {
			want = http.StatusConflict
		}
		if w := f.post(tc.path, form); w.Code != want {
			t.Errorf("%s = %d; want %d: %s", tc.path, w.Code, want, w.Body)
		}
	}
	if w := f.post(factor+"/unlock", url.Values{"reason": {"again"}}); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "not locked") {
		t.Errorf("unlock of a factor without wrong codes = %d; want 409 and the reason", w.Code)
	}
}

// TestAFormOfAnotherEnvironmentChangesNothing sends the forms of a factor under the path of an
// environment that does not have it.
func TestAFormOfAnotherEnvironmentChangesNothing(t *testing.T) {
	f := newFixture(t, console.Options{})
	id := f.enroll("user_1")
	f.try(id, 5, mfa.VerifyParams{})
	if _, err := f.operator.CreateEnvironment(t.Context(), operator.By{Operator: "ada"}, "Other", false); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"unlock", "suspend", "resume", "delete"} {
		if w := f.post("/console/e/Other/factors/"+id.String()+"/"+action, url.Values{"reason": {"ticket 4711"}, "sure": {"yes"}}); w.Code != http.StatusNotFound {
			t.Errorf("%s = %d; want 404", action, w.Code)
		}
	}
	if page := f.page("/console/e/Acme%20Test/factors/" + id.String()); !strings.Contains(page, "5 of 50") {
		t.Error("the factor has changed")
	}
}

func TestABypassCodeIsShownOnce(t *testing.T) {
	f := newFixture(t, console.Options{})
	id := f.enroll("user_1")
	const path = "/console/e/Acme%20Test/user"
	for _, minutes := range []string{"", "61", "x"} {
		if w := f.post(path+"/bypass", url.Values{"user": {"user_1"}, "minutes": {minutes}, "reason": {"lost phone"}}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%q minutes = %d; want 422", minutes, w.Code)
		}
	}
	w := f.post(path+"/bypass", url.Values{"user": {"user_1"}, "minutes": {"10"}, "reason": {"lost phone"}})
	code := regexp.MustCompile(`<code>([\d -]{9,})</code>`).FindStringSubmatch(w.Body.String())
	if w.Code != http.StatusOK || code == nil {
		t.Fatalf("issue = %d: %s", w.Code, w.Body)
	}
	page := f.page(path + "?id=user_1")
	if strings.Contains(page, code[1]) || !strings.Contains(page, "Revoke the bypass code") || !strings.Contains(page, "It was issued by ada: lost phone.") {
		t.Error("the page of the user shows the code, or no way to revoke it, or not who issued it")
	}
	factor := "/console/e/Acme%20Test/factors/" + id.String()
	if page := f.page(factor); strings.Contains(page, code[1]) || !strings.Contains(page, "It was issued by ada: lost phone.") {
		t.Error("the page of the factor shows the code, or not who issued it")
	}
	f.post(factor+"/suspend", url.Values{"reason": {"stolen"}})
	if page := f.page(factor); !strings.Contains(page, "ada: stolen</dd>") || !strings.Contains(page, "suspended</span> since <time") {
		t.Error("the page of the suspended factor does not show since when, by whom and why")
	}
	if w := f.post(path+"/bypass/revoke", url.Values{"user": {"user_1"}, "reason": {"found it"}}); w.Code != http.StatusSeeOther {
		t.Errorf("revoke = %d", w.Code)
	}
}

func TestDeletingNeedsAConfirmation(t *testing.T) {
	f := newFixture(t, console.Options{})
	id := f.enroll("user_1")
	path := "/console/e/Acme%20Test/factors/" + id.String() + "/delete"
	if w := f.post(path, url.Values{"reason": {"ticket 4711"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("delete without a confirmation = %d; want 422", w.Code)
	}
	if w := f.post(path, url.Values{"reason": {"ticket 4711"}, "sure": {"yes"}}); w.Code != http.StatusSeeOther {
		t.Errorf("delete = %d", w.Code)
	}
	erase := func(confirm string) int {
		return f.post("/console/e/Acme%20Test/user/erase", url.Values{"user": {"user_2"}, "confirm": {confirm}, "reason": {"ticket 4711"}}).Code
	}
	f.enroll("user_2")
	if got := erase("user_1"); got != http.StatusUnprocessableEntity {
		t.Errorf("erase with another id = %d; want 422", got)
	}
	if got := erase("user_2"); got != http.StatusSeeOther {
		t.Errorf("erase = %d", got)
	}
	if w := f.get("/console/e/Acme%20Test/user?id=user_2"); w.Code != http.StatusNotFound {
		t.Errorf("an erased user = %d; want 404", w.Code)
	}
}

// TestTheSearchRecognizesPhoneNumbersAndIds enters each kind of text. No address has a phone
// number.
func TestTheSearchRecognizesPhoneNumbersAndIds(t *testing.T) {
	f := newFixture(t, console.Options{})
	by := mfa.Caller{Environment: f.sandbox}
	var ids []string
	for _, user := range []string{"user_1", "user_2", ""} {
		e, err := f.service.Enroll(t.Context(), by, mfa.EnrollParams{Type: mfa.SMS, User: user, PhoneNumber: "+15005550002"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID.String())
	}
	f.enroll("user_3")
	other, err := f.operator.CreateEnvironment(t.Context(), operator.By{Operator: "ada"}, "Other", true)
	if err != nil {
		t.Fatal(err)
	}
	const env = "/console/e/Acme%20Test"
	factor := env + "/factors/" + ids[2]
	created := storetest.Events(t, f.store)
	for _, tc := range []struct{ env, query, want string }{
		{env, "user_1", env + "/user?id=user_1"},
		{env, ids[2], factor},
		{env, created[len(created)-2].ID.String(), "/console/e/Acme%20Test/factors/"},
	} {
		w := f.post(tc.env+"/users", url.Values{"q": {tc.query}})
		if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%q in %s leads to %d %q; want %q", tc.query, tc.env, w.Code, got, tc.want)
		}
	}
	w := f.post(env+"/users", url.Values{"q": {"+1 500 555 0002"}})
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Location") != "" || strings.Count(page, "Factors with this phone number") != 1 || strings.Contains(page, "5005550002") {
		t.Errorf("a phone number = %d %q: %s", w.Code, w.Header().Get("Location"), page)
	}
	for _, want := range append(ids, "/user?id=user_1", "/user?id=user_2", "*02", ">unverified<") {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a phone number does not have %q", want)
		}
	}
	if strings.Contains(page, "user_3") {
		t.Error("the page of a phone number has a user with another factor")
	}
	for _, query := range []string{"+1 500 555 0003", "nobody", "auth_factor_x", mfa.FactorID{0: 1}.String()} {
		if w := f.post(env+"/users", url.Values{"q": {query}}); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Nothing was found in Acme Test.") {
			t.Errorf("%q = %d", query, w.Code)
		}
	}
	if w := f.post(env+"/users", url.Values{"q": {" "}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("an empty search = %d; want 422", w.Code)
	}
	if w := f.post("/console/e/"+other.Name+"/users", url.Values{"q": {"+1 500 555 0002"}}); w.Code != http.StatusNotFound {
		t.Errorf("the phone number in another environment = %d; want 404", w.Code)
	}
	if w := f.post("/console/e/"+other.Name+"/users", url.Values{"q": {ids[0]}}); w.Code != http.StatusNotFound {
		t.Errorf("the factor in another environment = %d; want 404", w.Code)
	}
}

func TestTheRecoveryCodesOfAUserAreCounted(t *testing.T) {
	f := newFixture(t, console.Options{})
	n, err := f.service.CreateRecoveryCodes(t.Context(), mfa.Caller{Environment: f.sandbox}, mfa.RecoveryParams{User: "user_1", AllowSole: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(time.Hour)
	for _, code := range n.Codes[:2] {
		if v, err := f.service.VerifyUser(t.Context(), mfa.Caller{Environment: f.sandbox}, "user_1", mfa.VerifyParams{Code: code.Reveal()}, nil); err != nil || !v.Valid {
			t.Fatal(v.Valid, err)
		}
	}
	user, factor := f.page("/console/e/Acme%20Test/user?id=user_1"), f.page("/console/e/Acme%20Test/factors/"+n.ID.String())
	for _, text := range []string{"Recovery codes: 8 of 10 left, created", "8 of 10 recovery codes are left; they were created at", "The user has no factors."} {
		if !strings.Contains(user, text) {
			t.Errorf("the page of the user does not have %q", text)
		}
	}
	if !strings.Contains(factor, "<dt>Recovery codes</dt><dd>8 of 10 left</dd><dt>Created</dt>") {
		t.Error("the page of the factor does not count the codes")
	}
	for _, code := range n.Codes {
		for _, page := range []string{user, factor} {
			if strings.Contains(page, code.Reveal()) || strings.Contains(page, mfa.FormatRecoveryCode(code)) {
				t.Error("a page has a code")
			}
		}
	}
}
