package conformance_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A wireWebhook says how a library checks the header WorkOS-Signature.
type wireWebhook struct {
	call string // as a user of the library writes it
	// split returns the time and the digest as the header contains them.
	split     func(header string) (t, v1 string, err error)
	tolerance time.Duration
	bothWays  bool   // a time in the future is refused too
	refuses   string // the class of the exception, or the returned value
	reads     string // the type of the event
}

// accept checks a delivery as the library does, over the bytes of the body.
func (w *wire) accept(body, header, secret string, now time.Time) (record, error) {
	t, v1, err := w.webhook.split(header)
	if err != nil {
		return nil, err
	}
	ms, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return nil, err
	}
	age := now.Sub(time.UnixMilli(ms))
	if age > w.webhook.tolerance || w.webhook.bothWays && -age > w.webhook.tolerance {
		return nil, errors.New("outside the tolerance")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "." + body))
	if hex.EncodeToString(mac.Sum(nil)) != v1 {
		return nil, errors.New("the digests differ")
	}
	var event any
	if err := json.Unmarshal([]byte(body), &event); err != nil {
		return nil, err
	}
	return w.read(w.webhook.reads, event)
}

// splitExactly splits the header at a separator into two parts, and removes t= and v1=
// from their beginnings.
func splitExactly(separator string) func(string) (string, string, error) {
	return func(header string) (string, string, error) {
		parts := strings.Split(header, separator)
		if len(parts) != 2 || !strings.HasPrefix(parts[0], "t=") || !strings.HasPrefix(parts[1], "v1=") {
			return "", "", fmt.Errorf("cannot be split at %q", separator)
		}
		return parts[0][len("t="):], parts[1][len("v1="):], nil
	}
}

// splitTrimmed splits at commas, and reads the parts as name=value with spaces around
// them.
func splitTrimmed(header string) (t, v1 string, err error) {
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			t = value
		case "v1":
			v1 = value
		}
	}
	if t == "" || v1 == "" {
		err = errors.New("without t or v1")
	}
	return t, v1, err
}

// splitAtEquals splits at commas, and returns the text after the first equals sign of
// each part.
func splitAtEquals(header string) (t, v1 string, err error) {
	parts := strings.Split(header, ",")
	if len(parts) < 2 {
		return "", "", errors.New("has no comma")
	}
	_, t, _ = strings.Cut(parts[0], "=")
	_, v1, _ = strings.Cut(parts[1], "=")
	return t, v1, nil
}

var webhookSteps = []replayStep{
	{"webhook signature", func(r *replayer, t *testing.T) string {
		if r.webhook.split == nil {
			r.skip(t, "verifies no webhooks")
		}
		now := time.Now()
		d := newDelivery(now)
		event, err := r.accept(d.Body, d.Signature, d.Secret, now)
		if err != nil {
			t.Fatalf("a delivery is refused: %v", err)
		}
		if event.text("event") != "authentication.mfa_succeeded" {
			t.Errorf("the event is %v", event)
		}
		altered := strings.Replace(d.Body, "user@example.com", "other@example.com", 1)
		for _, bad := range []struct{ name, body, header string }{
			{"an altered", altered, d.Signature},
			{"a stale", d.Body, d.Stale},
			{"a forged", d.Body, d.Forged},
		} {
			if bad.body == d.Body && bad.header == d.Signature {
				t.Fatalf("%s delivery is the good one", bad.name)
			}
			if _, err := r.accept(bad.body, bad.header, d.Secret, now); err == nil {
				t.Errorf("%s delivery is accepted", bad.name)
			}
		}
		return r.webhook.refuses
	}},
}
