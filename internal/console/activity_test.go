package console_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/console"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestTheOverviewShowsNumbersOverTime(t *testing.T) {
	f := newFixture(t, console.Options{})
	if page := f.page("/console/e/Acme%20Test"); !strings.Contains(page, "Nothing was counted in this time") || strings.Contains(page, "data-chart") {
		t.Error("an overview without counts does not say so")
	}
	id := f.enroll("user_1")
	f.try(id, 3, mfa.VerifyParams{})
	f.clock.Advance(time.Minute)
	for more := true; more; {
		var err error
		if _, more, err = f.counter.Step(t.Context(), f.sandbox.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.counter.Walk(t.Context()); err != nil {
		t.Fatal(err)
	}
	for span, rows := range map[string]int{"": 25, "?span=week": 8, "?span=month": 31, "?span=year": 13, "?span=nonsense": 25} {
		page := f.page("/console/e/Acme%20Test" + span)
		box, _, _ := strings.Cut(page[strings.Index(page, "<figure"):], "</figure>")
		if got := len(regexp.MustCompile(`<tr><td><time`).FindAllString(box, -1)); got != rows && got != rows-1 {
			t.Errorf("span %q: the table has %d rows; want %d, or one less at the start of a period", span, got, rows)
		}
		first := regexp.MustCompile(`data-value="(\d+)"`).FindAllStringSubmatch(box, 3)
		if len(first) != 3 || first[0][1] != "0" || first[1][1] != "3" {
			t.Errorf("span %q: the newest row has %v; want no right code and 3 wrong ones", span, first)
		}
		if !strings.Contains(page, "Users with a factor: 1,") {
			t.Errorf("span %q: the users are not counted", span)
		}
	}
}

// TestTheOverviewRefreshesOnlyItsNews asks for the part that htmx polls.
func TestTheOverviewRefreshesOnlyItsNews(t *testing.T) {
	f := newFixture(t, console.Options{})
	f.enroll("user_1")
	part := f.get("/console/e/Acme%20Test", "HX-Request", "true").Body.String()
	if !strings.HasPrefix(part, `<div id="now"`) || !strings.Contains(part, "user_1") || strings.Contains(part, "<html") || strings.Contains(part, "<figure") {
		t.Errorf("the part is %s", part)
	}
}
