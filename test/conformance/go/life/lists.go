package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// lists runs the steps about lists of a user's factors.
func lists(w *fixture) {
	w.report.step("list no factors", func(s *step) {
		equal("page", must(w.here.list(w.ctx, newUser(), listing{})), page{})
		if w.pages {
			equal("all", len(must(w.here.listAll(w.ctx, newUser(), listing{}))), 0)
		}
	})

	user := newUser()
	var newest []factor // as a list shows them, newest first
	w.report.step("list the factors of a user", func(s *step) {
		equal("factors before the first", len(must(w.here.list(w.ctx, user, listing{})).factors), 0)
		for i := range 35 {
			f := must(w.enrollForUser(w.here, user, enrollment{user: fmt.Sprintf("account %d", i)})).factor
			f.totp.secret, f.totp.uri, f.totp.qrCode = "", "", ""
			newest = slices.Insert(newest, 0, f)
		}
		equal("page", must(w.here.list(w.ctx, user, listing{})), page{factors: newest[:10], after: newest[9].id})
		s.Detail = "ten, the newest first, without secrets"
	})

	for _, order := range []string{"desc", "asc"} {
		w.report.step("list pages, "+order, func(s *step) {
			all := inOrder(newest, order)
			var opts listing
			var last page
			for start := 0; start < 35; start += 10 {
				opts = listing{limit: 10, order: order, after: last.after}
				last = must(w.here.list(w.ctx, user, opts))
				equal(fmt.Sprintf("forward from %d", start), last.factors, all[start:min(start+10, 35)])
			}
			equal("cursor after the last page", last.after, "")
			// The iterator shows no cursor for earlier pages, but the id of a factor is
			// one.
			for _, start := range []int{20, 10, 0} {
				opts = listing{limit: 10, order: order, before: last.factors[0].id}
				last = must(w.here.list(w.ctx, user, opts))
				equal(fmt.Sprintf("back to %d", start), last.factors, all[start:start+10])
			}
			opts = listing{order: order, before: all[0].id}
			equal("before the first", len(must(w.here.list(w.ctx, user, opts)).factors), 0)
			opts = listing{order: order, after: all[4].id, before: all[9].id}
			equal("between two cursors", must(w.here.list(w.ctx, user, opts)).factors, all[5:9])
			s.Detail = "four pages forward by after, three back by before, and between the two"
		})
	}

	w.report.step("list with a bad cursor", func(s *step) {
		for _, bad := range []struct {
			listing
			field, code string
		}{
			{listing{after: "auth_factor_nonsense"}, "after", "after_invalid_cursor"},
			{listing{before: "nonsense"}, "before", "before_invalid_cursor"},
			{listing{limit: 101}, "limit", "limit_out_of_range"},
			{listing{order: "sideways"}, "order", "order_unsupported"},
		} {
			_, err := w.here.list(w.ctx, user, bad.listing)
			if why, none := err.(skip); none {
				panic(why)
			}
			w.inputRefused(err, bad.field, bad.code)
		}
		s.Detail = w.called(invalid("", ""))
	})

	w.report.step("list all pages", func(s *step) {
		for _, order := range []string{"", "desc", "asc"} {
			equal("all "+order, must(w.here.listAll(w.ctx, user, listing{order: order})), inOrder(newest, order))
		}
		s.Detail = "35 factors, in both orders"
	})

	w.report.step("list 301 factors", func(s *step) {
		user := newUser()
		far := w.far(w.server)
		equal("factors before the first", len(must(far.listAll(w.ctx, user, listing{}))), 0)
		ids := w.enrollMany(user, 301)
		var listed []factor
		var err error
		tries := w.server.during(func() { listed, err = far.listAll(w.ctx, user, listing{limit: 100}) })
		check(err)
		equal("requests", len(tries), 4)
		slices.SortFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
		for i, f := range listed {
			equal(fmt.Sprintf("factor %d", i), f.id, ids[i])
		}
		equal("factors", len(listed), 301)
		s.Detail = "four pages"
	})

	w.report.step("a deleted factor leaves the list", func(s *step) {
		must(w.here.list(w.ctx, user, listing{}))
		gone := newest[4]
		newest = slices.Delete(newest, 4, 5)
		check(w.here.remove(w.ctx, gone.id))
		equal("page", must(w.here.list(w.ctx, user, listing{})).factors, newest[:10])
		if w.pages {
			equal("all", must(w.here.listAll(w.ctx, user, listing{})), newest)
			rest := must(w.here.list(w.ctx, user, listing{limit: 3, after: gone.id}))
			equal("after the one that is gone", rest.factors, newest[4:7])
			s.Detail = "its id still marks its place"
		}
	})

	w.report.step("list a factor that is not totp", func(s *step) {
		user, phone := newUser(), w.phone()
		must(w.here.list(w.ctx, user, listing{}))
		w.server.post("/auth/factors/enroll", map[string]string{"type": "sms", "phone_number": phone, "user_id": user}, &struct{}{})
		listed := must(w.here.list(w.ctx, user, listing{})).factors
		equal("factors", len(listed), 1)
		isFactor(listed[0], "sms")
		equal("phone number", listed[0].phone, phone)
		equal("totp", listed[0].totp, totp{})
	})
}

func inOrder(newest []factor, order string) []factor {
	all := slices.Clone(newest)
	if order == "asc" {
		slices.Reverse(all)
	}
	return all
}

// enrollMany enrolls factors of a user, several at a time, and returns their ids.
func (w *fixture) enrollMany(user string, n int) []string {
	made := make([]userEnrollment, n)
	errs := make([]error, n)
	var enrolling sync.WaitGroup
	for worker := range 8 {
		enrolling.Go(func() {
			for i := worker; i < n; i += 8 {
				made[i], errs[i] = w.enrollForUser(w.here, user, enrollment{})
			}
		})
	}
	enrolling.Wait()
	ids := make([]string, n)
	for i := range n {
		check(errs[i])
		ids[i] = made[i].factor.id
	}
	return ids
}
