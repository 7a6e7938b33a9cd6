package access_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestKeyTellsItsKindOfEnvironment(t *testing.T) {
	w := newFixture(t)
	for _, tc := range []struct {
		name       string
		production bool
		want       *regexp.Regexp
	}{
		{"Acme Test", false, regexp.MustCompile(`^sk_test_[A-Z2-7]{26}$`)},
		{"Acme", true, regexp.MustCompile(`^sk_live_[A-Z2-7]{26}$`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := w.environment(tc.name, tc.production)
			text, k := w.key(env)
			if !tc.want.MatchString(text) {
				t.Errorf("a key has %d characters and begins with %.8s; want the form %s", len(text), text, tc.want)
			}
			now := w.clock.Now().Truncate(time.Millisecond)
			if k.Environment != env || k.Hint != text[len(text)-4:] || !k.CreatedAt.Equal(now) || !k.RevokedAt.IsZero() {
				t.Errorf("key is %+v", k)
			}
			if !strings.HasPrefix(string(k.ID), "key_") || strings.Contains(text, string(k.ID)[4:]) {
				t.Errorf("the id %s gives some of the key away", k.ID)
			}
			if got, err := w.Authenticate(t.Context(), text); err != nil || got != k {
				t.Errorf("Authenticate = %+v, %v; want %+v", got, err, k)
			}
		})
	}
}

func TestOnlyTheHashOfAKeyIsStored(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	files, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(w.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, log...)
	sum := sha256.Sum256([]byte(text))
	if !bytes.Contains(files, sum[:]) {
		t.Error("the hash is not there")
	}
	for _, part := range []string{text, strings.TrimPrefix(text, "sk_live_"), text[8:20], text[14:]} {
		if bytes.Contains(files, []byte(part)) {
			t.Errorf("the files hold %d characters of the key", len(part))
		}
	}
	if found, err := w.store.KeyByHash(t.Context(), sum); err != nil || found != k {
		t.Errorf("KeyByHash = %+v, %v; want %+v", found, err, k)
	}
}

func TestKeysDiffer(t *testing.T) {
	w := newFixture(t)
	env := w.environment("Acme", false)
	seen := make(map[string]bool)
	for range 100 {
		text, k := w.key(env)
		if seen[text] || seen[string(k.ID)] {
			t.Fatal("a key came twice")
		}
		seen[text], seen[string(k.ID)] = true, true
	}
	if keys, err := w.Keys(t.Context()); err != nil || len(keys) != 100 {
		t.Errorf("Keys lists %d, %v; want 100", len(keys), err)
	}
}

func TestKeyOfNoEnvironment(t *testing.T) {
	w := newFixture(t)
	if text, _, err := w.CreateKey(t.Context(), mfa.Caller{Environment: mfa.Environment{ID: 7}}, access.KeyParams{}); err == nil || text.Reveal() != "" {
		t.Errorf("CreateKey for an environment that is not there = %v", err)
	}
}

func TestRevoke(t *testing.T) {
	w := newFixture(t)
	env := w.environment("Acme", false)
	_, kept := w.key(env)
	w.clock.Advance(time.Second)
	text, k := w.key(env)
	w.clock.Advance(time.Second)
	at := w.clock.Now().Truncate(time.Millisecond)
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Second)
	if err := w.Revoke(t.Context(), mfa.Caller{}, k.ID); err != nil {
		t.Errorf("Revoke for the second time = %v", err)
	}
	if err := w.Revoke(t.Context(), mfa.Caller{}, "key_of_nobody"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("Revoke of an unknown key = %v; want %v", err, access.ErrNotFound)
	}
	if _, err := w.Authenticate(t.Context(), text); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("Authenticate = %v; want %v", err, access.ErrUnauthorized)
	}
	keys, err := w.Keys(t.Context())
	if err != nil || len(keys) != 2 || keys[0] != kept || keys[1].ID != k.ID || !keys[1].RevokedAt.Equal(at) {
		t.Errorf("Keys = %+v, %v; want both, oldest first, the second revoked at %v", keys, err, at)
	}
}

func TestEnvironmentNames(t *testing.T) {
	w := newFixture(t)
	for _, tc := range []struct {
		name string
		want error
	}{
		{"production", nil},
		{"Acme Corp. - EU_1", nil},
		{"Gänseblümchen", nil},
		{"東京", nil},
		{"7", nil},
		{strings.Repeat("ä", 64), nil},
		{strings.Repeat("a", 65), access.ErrInvalidName},
		{"", access.ErrInvalidName},
		{" a", access.ErrInvalidName},
		{"-a", access.ErrInvalidName},
		{"a\n", access.ErrInvalidName},
		{"a\tb", access.ErrInvalidName},
		{"a/b", access.ErrInvalidName},
		{"<b>", access.ErrInvalidName},
		{"a\xff", access.ErrInvalidName},
		{"production", access.ErrExists},
	} {
		e, err := w.CreateEnvironment(t.Context(), mfa.Caller{}, tc.name, true)
		if !errors.Is(err, tc.want) {
			t.Errorf("CreateEnvironment(%q) = %v; want %v", tc.name, err, tc.want)
		}
		if err == nil && (e.Name != tc.name || !e.Production || e.ID == 0) {
			t.Errorf("CreateEnvironment(%q) = %+v", tc.name, e)
		}
	}
}

func TestEnvironments(t *testing.T) {
	w := newFixture(t)
	first, second := w.environment("Zebra", false), w.environment("Acme", true)
	all, err := w.Environments(t.Context())
	if err != nil || len(all) != 2 || all[0] != first || all[1] != second {
		t.Errorf("Environments = %+v, %v; want them oldest first", all, err)
	}
	if e, err := w.Environment(t.Context(), "Acme"); err != nil || e != second {
		t.Errorf("Environment = %+v, %v; want %+v", e, err, second)
	}
	if _, err := w.Environment(t.Context(), "acme"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("Environment of an unknown name = %v; want %v", err, access.ErrNotFound)
	}
}
