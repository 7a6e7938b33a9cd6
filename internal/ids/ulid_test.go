package ids_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/ids"
)

func TestAnIDOfAnotherPackageIsReadAsItWasWritten(t *testing.T) {
	source := ids.NewSource(rand.Reader)
	for _, b := range []ids.Bucket{0, 7, ids.Buckets - 1} {
		id, err := source.Next(time.Now(), b)
		if err != nil {
			t.Fatal(err)
		}
		if ids.BucketOf(id) != b {
			t.Errorf("the id has bucket %d; want %d", ids.BucketOf(id), b)
		}
		text := string(ids.Append(nil, "we_", id))
		if back, ok := ids.Parse("we_", text); !ok || back != id {
			t.Errorf("%s is read as %x; want %x", text, back, id)
		}
		for _, other := range []string{strings.ToLower(text), text + "0", text[1:], "wa_" + text[3:], ""} {
			if _, ok := ids.Parse("we_", other); ok {
				t.Errorf("%q is an id", other)
			}
		}
	}
}
