package mfa_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
)

func TestParseFactorID(t *testing.T) {
	const ulid = "01FZ4WMXXA09XF6NK1XMKNWB3M"
	for _, tc := range []struct {
		name, text string
		ok         bool
	}{
		{"canonical", "auth_factor_" + ulid, true},
		{"highest", "auth_factor_7ZZZZZZZZZZZZZZZZZZZZZZZZZ", true},
		{"beyond 128 bits", "auth_factor_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", false},
		{"lower case", "auth_factor_" + strings.ToLower(ulid), false},
		{"upper-case prefix", "AUTH_FACTOR_" + ulid, false},
		{"the letter I", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3I", false},
		{"the letter L", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3L", false},
		{"the letter O", "auth_factor_O1FZ4WMXXA09XF6NK1XMKNWB3M", false},
		{"the letter U", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWBUM", false},
		{"a hyphen", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB-M", false},
		{"too short", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3", false},
		{"too long", "auth_factor_" + ulid + "0", false},
		{"line feed behind", "auth_factor_" + ulid + "\n", false},
		{"space before", " auth_factor_" + ulid, false},
		{"NUL inside", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3\x00", false},
		{"not ASCII", "auth_factor_01FZ4WMXXA09XF6NK1XMKNWBé", false},
		{"full-width digit", "auth_factor_0１FZ4WMXXA09XF6NK1XMKNW", false},
		{"of a challenge", "auth_challenge_" + ulid, false},
		{"without a prefix", ulid, false},
		{"empty", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, err := mfa.ParseFactorID(tc.text)
			if tc.ok {
				if err != nil || id.String() != tc.text {
					t.Errorf("ParseFactorID = %s, %v; want the id itself", id, err)
				}
				return
			}
			missing, ok := errors.AsType[*mfa.NotFoundError](err)
			if !ok || *missing != (mfa.NotFoundError{Entity: mfa.EntityFactor, ID: tc.text}) || !errors.Is(err, mfa.ErrNotFound) {
				t.Errorf("ParseFactorID = %s, %#v; want a NotFoundError for the text", id, err)
			}
			if strings.HasPrefix(tc.text, "auth_challenge_") {
				return
			}
			if id, err := mfa.ParseChallengeID(strings.Replace(tc.text, "auth_factor_", "auth_challenge_", 1)); err == nil {
				t.Errorf("ParseChallengeID took it as %s", id)
			}
		})
	}
}

func TestBucketIsInLastTwoCharacters(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	for b := range mfa.Buckets {
		text := fmt.Sprintf("01FZ4WMXXA09XF6NK1XMKNWB%c%c", alphabet[b/32], alphabet[b%32])
		f, err1 := mfa.ParseFactorID("auth_factor_" + text)
		c, err2 := mfa.ParseChallengeID("auth_challenge_" + text)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if f.Bucket() != mfa.Bucket(b) || c.Bucket() != mfa.Bucket(b) || mfa.EventID(f).Bucket() != mfa.Bucket(b) {
			t.Errorf("%s is of buckets %d and %d; want %d", text, f.Bucket(), c.Bucket(), b)
		}
	}
}

func FuzzParseFactorID(f *testing.F) {
	f.Add("auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M", []byte("0123456789abcdef"))
	f.Add("auth_factor_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		if id, err := mfa.ParseFactorID(text); err == nil && id.String() != text {
			t.Errorf("ParseFactorID(%q).String() = %q", text, id)
		}
		var id mfa.FactorID
		copy(id[:], raw)
		if back, err := mfa.ParseFactorID(id.String()); err != nil || back != id {
			t.Errorf("%x is read back as %x, %v", id, back, err)
		}
	})
}

func FuzzParseChallengeID(f *testing.F) {
	f.Add("auth_challenge_01FZ4WRNQ7S9GT4BJBMN9KQKVC", []byte("0123456789abcdef"))
	f.Add("auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M", bytes.Repeat([]byte{0xff}, 16))
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		if id, err := mfa.ParseChallengeID(text); err == nil && id.String() != text {
			t.Errorf("ParseChallengeID(%q).String() = %q", text, id)
		}
		var id mfa.ChallengeID
		copy(id[:], raw)
		if back, err := mfa.ParseChallengeID(id.String()); err != nil || back != id {
			t.Errorf("%x is read back as %x, %v", id, back, err)
		}
	})
}

func TestIDsOfAProcessSortAsTheyWereMade(t *testing.T) {
	for _, tc := range []struct {
		name string
		rand repeated
	}{
		{"in the middle of the random bits", 0x5a},
		{"at their upper end", 0xff},
		{"at their lower end", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newFixture(t, mfa.Options{Rand: tc.rand})
			var made []string
			for n := range 50 { // in many buckets, within one millisecond
				e := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: fmt.Sprint("user ", n)})
				made = append(made, e.ID.String())
			}
			w.clock.Advance(time.Millisecond)
			made = append(made, w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID.String())
			if !slices.IsSorted(made) || len(slices.Compact(slices.Clone(made))) != len(made) {
				t.Errorf("ids are not in order: %q", made)
			}
		})
	}
}

func TestIDsOfManyGoroutinesDiffer(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	by := in(t, sandbox, map[string]string{"max_factors_per_user": "64"})
	ids := make([]mfa.FactorID, 64)
	mfatest.Together(len(ids), func(i int) {
		e, err := w.Enroll(t.Context(), by, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
		if err != nil {
			t.Error(err)
		}
		ids[i] = e.ID
	})
	seen := make(map[mfa.FactorID]bool)
	for _, id := range ids {
		if seen[id] || id.Bucket() != mfa.UserBucket(sandbox.ID, "ada") {
			t.Errorf("%s is there twice or not in the user's bucket", id)
		}
		seen[id] = true
	}
}

func TestFactorsWithoutAUserAreSpread(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	buckets := make(map[mfa.Bucket]bool)
	for range 100 {
		buckets[w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP}).ID.Bucket()] = true
	}
	if len(buckets) < 80 {
		t.Errorf("100 factors are in %d buckets", len(buckets))
	}
}

func TestUserBucketDependsOnBothParts(t *testing.T) {
	differ := 0
	for n := range 100 {
		user := fmt.Sprint("user ", n)
		a, b := mfa.UserBucket(1, user), mfa.UserBucket(2, user)
		if a != mfa.UserBucket(1, user) || a >= mfa.Buckets {
			t.Fatalf("bucket of %q is %d, then another", user, a)
		}
		if a != b {
			differ++
		}
	}
	if differ < 90 {
		t.Errorf("of 100 users %d have another bucket in another environment", differ)
	}
}

func BenchmarkNewID(b *testing.B) {
	next := mfa.NewIDs(rand.Reader)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := next(time.Now(), 512); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFormatID(b *testing.B) {
	id := mfa.FactorID{1, 15: 255}
	b.ReportAllocs()
	for b.Loop() {
		_ = id.String()
	}
}

func BenchmarkParseID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mfa.ParseFactorID("auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M"); err != nil {
			b.Fatal(err)
		}
	}
}

// repeated is a source of one byte, over and over.
type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}
