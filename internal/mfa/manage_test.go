package mfa_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// enrolled returns n factors of a user, oldest first.
func enrolled(w *fixture, n int) (ids []string) {
	w.t.Helper()
	for range n {
		e, err := w.Enroll(w.t.Context(), in(w.t, sandbox, map[string]string{"max_factors_per_user": "1000"}), mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, e.ID.String())
		w.clock.Advance(time.Millisecond)
	}
	return ids
}

func idsOf(p mfa.Page) []string {
	ids := []string{}
	for _, f := range p.Factors {
		ids = append(ids, f.ID.String())
	}
	return ids
}

func TestPages(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	id := enrolled(w, 5)
	w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "grace"})
	none := []string{}
	for _, tc := range []struct {
		name          string
		p             mfa.ListParams
		want          []string
		before, after string
	}{
		{"all, newest first", mfa.ListParams{}, []string{id[4], id[3], id[2], id[1], id[0]}, "", ""},
		{"all, oldest first", mfa.ListParams{Ascending: true}, id, "", ""},
		{"first page", mfa.ListParams{Limit: 2}, []string{id[4], id[3]}, "", id[3]},
		{"exactly all", mfa.ListParams{Limit: 5, Ascending: true}, id, "", ""},
		{"next page", mfa.ListParams{Limit: 2, After: id[3]}, []string{id[2], id[1]}, id[2], id[1]},
		{"last page", mfa.ListParams{Limit: 2, After: id[1]}, []string{id[0]}, id[0], ""},
		{"beyond the last", mfa.ListParams{After: id[0]}, none, "", ""},
		{"page before", mfa.ListParams{Limit: 2, Before: id[1]}, []string{id[3], id[2]}, id[3], id[2]},
		{"first page, from behind", mfa.ListParams{Limit: 2, Before: id[2]}, []string{id[4], id[3]}, "", id[3]},
		{"before the first", mfa.ListParams{Before: id[4]}, none, "", ""},
		{"oldest first, next", mfa.ListParams{Limit: 2, Ascending: true, After: id[1]}, []string{id[2], id[3]}, id[2], id[3]},
		{"oldest first, before", mfa.ListParams{Limit: 2, Ascending: true, Before: id[3]}, []string{id[1], id[2]}, id[1], id[2]},
		{"between two", mfa.ListParams{After: id[4], Before: id[1]}, []string{id[3], id[2]}, id[3], ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.p.User = "ada"
			page, err := w.Factors(t.Context(), sandbox, tc.p)
			if err != nil || !reflect.DeepEqual(idsOf(page), tc.want) {
				t.Errorf("Factors = %v, %v; want %v", idsOf(page), err, tc.want)
			}
			if page.Before != tc.before || page.After != tc.after {
				t.Errorf("before is %q, after is %q; want %q and %q", page.Before, page.After, tc.before, tc.after)
			}
		})
	}
}

func TestCursorOutlivesItsFactor(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	id := enrolled(w, 3)
	middle, err := mfa.ParseFactorID(id[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteFactor(t.Context(), sandbox, middle); err != nil {
		t.Fatal(err)
	}
	page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada", After: id[1]})
	if err != nil || !reflect.DeepEqual(idsOf(page), id[:1]) {
		t.Errorf("Factors after a deleted one = %v, %v; want %v", idsOf(page), err, id[:1])
	}
}

func TestDefaultAndLongestPage(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	enrolled(w, 101)
	for limit, want := range map[int]int{0: 10, 1: 1, 100: 100} {
		page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada", Limit: limit})
		if err != nil || len(page.Factors) != want || page.After == "" {
			t.Errorf("limit %d gives %d factors, %v; want %d, and more", limit, len(page.Factors), err, want)
		}
	}
}

func TestListsThatAreRefused(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	id := enrolled(w, 1)[0]
	foreign := id[:len(id)-2] + "00"
	if foreign == id {
		foreign = id[:len(id)-2] + "01"
	}
	for _, tc := range []struct {
		name  string
		p     mfa.ListParams
		field string
	}{
		{"cursor that is no id", mfa.ListParams{User: "ada", After: "x"}, "after"},
		{"cursor of another bucket", mfa.ListParams{User: "ada", Before: foreign}, "before"},
		{"cursor of a challenge", mfa.ListParams{User: "ada", After: strings.Replace(id, "factor", "challenge", 1)}, "after"},
		{"negative limit", mfa.ListParams{User: "ada", Limit: -1}, "limit"},
		{"limit of 101", mfa.ListParams{User: "ada", Limit: 101}, "limit"},
		{"no user", mfa.ListParams{}, "user_id"},
		{"long user", mfa.ListParams{User: strings.Repeat("u", 257)}, "user_id"},
		{"user with a line feed", mfa.ListParams{User: "a\nb"}, "user_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.Factors(t.Context(), sandbox, tc.p)
			bad, ok := errors.AsType[*mfa.InvalidError](err)
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Field != tc.field {
				t.Errorf("Factors = %v; want an InvalidError of %s", err, tc.field)
			}
		})
	}
}

func TestListShowsNoSecrets(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada", Issuer: "Acme", Account: "ada"})
	w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "ada", PhoneNumber: adasPhone})
	page, err := w.Factors(t.Context(), sandbox, mfa.ListParams{User: "ada", Ascending: true})
	if err != nil || len(page.Factors) != 2 {
		t.Fatalf("Factors = %v, %v", page, err)
	}
	if app, sms := page.Factors[0], page.Factors[1]; app.Issuer != "Acme" || app.Account != "ada" || sms.Phone.E164() != adasPhone {
		t.Errorf("factors are %+v", page.Factors)
	}
}
