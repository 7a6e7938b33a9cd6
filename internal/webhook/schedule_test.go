package webhook_test

import (
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/webhook"
)

func TestSchedule(t *testing.T) {
	for _, tc := range []struct {
		name    string
		sandbox bool
		want    []time.Duration // before the second attempt and those after it
		most    time.Duration   // from the first attempt to the last
	}{
		{"production", false, []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}, 91 * time.Hour},
		{"sandbox", true, []time.Duration{5 * time.Second, 8 * time.Minute}, 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var longest time.Duration
			for i, middle := range tc.want {
				for _, jitter := range []struct {
					r    float64
					want time.Duration
				}{{0, middle * 8 / 10}, {0.5, middle}, {1, middle * 12 / 10}} {
					got, again := webhook.Wait(tc.sandbox, i+1, jitter.r)
					if !again || (got-jitter.want).Abs() > time.Millisecond {
						t.Errorf("after attempt %d with jitter %v: %v, %t; want %v", i+1, jitter.r, got, again, jitter.want)
					}
				}
				longest += middle * 12 / 10
			}
			if got, again := webhook.Wait(tc.sandbox, len(tc.want)+1, 0.5); again {
				t.Errorf("after the last attempt there is one more, in %v", got)
			}
			if longest > tc.most {
				t.Errorf("all attempts take up to %v; want at most %v", longest, tc.most)
			}
		})
	}
}
