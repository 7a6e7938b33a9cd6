package progress_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/progress"
)

// reports lets 1,000 steps of 10 ms pass, with a report after each.
func reports(terminal bool, unit progress.Unit, total int64) (text, cleared string) {
	var b strings.Builder
	now := time.Unix(0, 0)
	r := progress.New(&b, terminal, unit, func() time.Time { return now })
	for i := range int64(1000) {
		now = now.Add(10 * time.Millisecond)
		r.Report("factors", (i+1)<<20, total<<20)
	}
	text = b.String()
	r.Clear()
	r.Clear()
	return text, strings.TrimPrefix(b.String(), text)
}

func TestOneLineEveryFewSeconds(t *testing.T) {
	text, cleared := reports(false, progress.Bytes, 1000)
	want := "factors: 500.0 MiB of 1000.0 MiB, 50 %, 5s\nfactors: 1000.0 MiB of 1000.0 MiB, 100 %, 10s\n"
	if text != want || cleared != "" {
		t.Errorf("wrote %q and %q; want %q", text, cleared, want)
	}
}

func TestABarOnATerminal(t *testing.T) {
	text, cleared := reports(true, progress.Bytes, 1000)
	bars := strings.Split(text, "\r\x1b[K")[1:]
	if len(bars) != 100 {
		t.Fatalf("drew %d bars in 10 s; want 100", len(bars))
	}
	if want := "[############------------] factors: 500.0 MiB of 1000.0 MiB, 50 %, 5s"; bars[49] != want {
		t.Errorf("the bar in the middle is %q; want %q", bars[49], want)
	}
	for _, bar := range bars {
		if strings.Contains(bar, "\n") || len(bar) >= 80 {
			t.Errorf("the bar %q does not fit on a line", bar)
		}
	}
	if cleared != "\r\x1b[K" {
		t.Errorf("Clear wrote %q", cleared)
	}
}

func TestATotalThatIsNotKnown(t *testing.T) {
	text, _ := reports(false, progress.Rows, 0)
	if want := "factors: 524288000 rows, 5s\n"; !strings.HasPrefix(text, want) {
		t.Errorf("wrote %q; want %q", text, want)
	}
	if text, _ := reports(true, progress.Rows, 0); strings.ContainsAny(text, "#%") {
		t.Errorf("a bar without a total: %q", text)
	}
}

func TestShortWorkIsSilent(t *testing.T) {
	var b strings.Builder
	now := time.Unix(0, 0)
	r := progress.New(&b, true, progress.Rows, func() time.Time { return now })
	r.Report("factors", 1, 2)
	r.Clear()
	if b.Len() > 0 {
		t.Errorf("wrote %q", b.String())
	}
}
