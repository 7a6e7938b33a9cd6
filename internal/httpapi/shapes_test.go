package httpapi

import (
	"testing"
	"testing/quick"
	"time"
)

func TestTimesAreWrittenAsTimeFormatDoes(t *testing.T) {
	same := func(ms int64) bool {
		at := time.UnixMilli(ms % 400_000_000_000_000).In(time.FixedZone("", 3600))
		return formatTime(at) == at.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 20_000}); err != nil {
		t.Error(err)
	}
}
