package rows

import (
	"reflect"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/totp"
)

var at = time.Date(2026, 3, 27, 12, 0, 0, 432e6, time.UTC)

func TestSendsAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []sends{
		{},
		{{At: at, Ref: delivery.Ref{1, 2, 3}}},
		{{At: at, Ref: delivery.Ref{7: 255}}, {At: at.Add(time.Millisecond)}},
	} {
		var got sends
		if err := got.Decode(want.Encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
	}
	if err := new(sends).Decode(make([]byte, 17)); err == nil {
		t.Error("17 bytes were read as sends")
	}
}

func TestCountsAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []counts{
		{},
		{{At: at, Sent: 1}},
		{{At: at, Sent: 1 << 31, Verified: 3}, {At: at.Add(time.Hour), Sent: 2, Verified: 1}},
	} {
		var got counts
		if err := got.Decode(want.Encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
	}
	if err := new(counts).Decode(make([]byte, 17)); err == nil {
		t.Error("17 bytes were read as counts")
	}
}

func TestDeliveriesAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []deliveries{
		nil,
		{{State: delivery.Queued, At: at, UpdatedAt: at}},
		{
			{Provider: `g "1"`, ID: "\n", State: delivery.Undelivered, Reason: "30003", Segments: 3, At: at, UpdatedAt: at.Add(time.Millisecond)},
			{State: delivery.Failed, Reason: "delivery_failed", At: at, UpdatedAt: at},
			{Provider: "twilio", Country: "DE", Prefix: "prefix_0123456789ab", State: delivery.Queued, Segments: 1, At: at, UpdatedAt: at},
			{Country: "US", State: delivery.Queued, At: at, UpdatedAt: at},
		},
	} {
		var got deliveries
		if err := got.Decode(want.Encode()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %v, %v; want %v", got, err, want)
		}
	}
	if err := new(deliveries).Decode([]byte("{")); err == nil {
		t.Error("half a brace was read as deliveries")
	}
}

func TestAnAppIsOneInteger(t *testing.T) {
	if n := (&app{}).Number(); n != 0 {
		t.Errorf("the default is %d; want 0, which older rows have", n)
	}
	for ahead := -20; ahead <= 20; ahead++ {
		for _, hash := range []totp.Hash{totp.SHA1, totp.SHA256, totp.SHA512} {
			for flags := range 4 {
				want := app{Params: totp.Params{Hash: hash, Eight: flags&1 != 0, Minute: flags&2 != 0}, Ahead: ahead}
				var got app
				if got.SetNumber(want.Number()); got != want {
					t.Errorf("read %+v; want %+v", got, want)
				}
			}
		}
	}
}

func TestCountersOfAChallengeAreOneInteger(t *testing.T) {
	for _, want := range []counters{{}, {Attempts: 10}, {RefusalEvents: 3}, {Attempts: 5, RefusalEvents: 40}} {
		var got counters
		if got.SetNumber(want.Number()); got.Attempts != want.Attempts || got.RefusalEvents != want.RefusalEvents {
			t.Errorf("read %d and %d; want %d and %d", got.Attempts, got.RefusalEvents, want.Attempts, want.RefusalEvents)
		}
	}
}
