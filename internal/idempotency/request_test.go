package idempotency_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
)

func request(t *testing.T, key string, s idempotency.Scope) *idempotency.Request[int] {
	t.Helper()
	r, err := idempotency.New[int](key, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryPartOfTheScopeMakesAnotherKey(t *testing.T) {
	scope := idempotency.Scope{APIKey: "one", Method: "POST", Path: "/a", Body: []byte("{}")}
	seen := map[[32]byte]string{request(t, "k", scope).Key: "the scope"}
	for name, change := range map[string]func(*idempotency.Scope){
		"API key": func(s *idempotency.Scope) { s.APIKey = "two" },
		"method":  func(s *idempotency.Scope) { s.Method = "PUT" },
		"path":    func(s *idempotency.Scope) { s.Path = "/b" },
		"split":   func(s *idempotency.Scope) { s.Method, s.Path = "POST/", "a" },
	} {
		other := scope
		change(&other)
		key := request(t, "k", other).Key
		if same, ok := seen[key]; ok {
			t.Errorf("another %s has the key of %s", name, same)
		}
		seen[key] = name
	}
}

func TestTheBodyIsPartOfADerivedKeyOnly(t *testing.T) {
	one, two := idempotency.Scope{Body: []byte("one")}, idempotency.Scope{Body: []byte("two")}
	for _, tc := range []struct {
		key     string
		derived bool
		keep    time.Duration
	}{
		{"k", false, 24 * time.Hour},
		{"retry-" + strings.Repeat("0a", 32), true, 30 * time.Second},
		{"retry-" + strings.Repeat("0A", 32), false, 24 * time.Hour},
		{"retry-0", false, 24 * time.Hour},
	} {
		a, b := request(t, tc.key, one), request(t, tc.key, two)
		if a.Derived != tc.derived || a.Keep != tc.keep {
			t.Errorf("%s: derived is %v, and its answer is kept for %v; want %v and %v", tc.key, a.Derived, a.Keep, tc.derived, tc.keep)
		}
		if other := a.Key != b.Key; other != tc.derived {
			t.Errorf("%s: another body makes another key: %v; want %v", tc.key, other, tc.derived)
		}
		if a.Fingerprint == b.Fingerprint {
			t.Errorf("%s: two bodies have one fingerprint", tc.key)
		}
	}
}

func TestInvalidKeys(t *testing.T) {
	for _, key := range []string{"", strings.Repeat("k", 256), "a\tb", "clé"} {
		if _, err := idempotency.New[int](key, idempotency.Scope{}, nil); !errors.Is(err, idempotency.ErrInvalidKey) {
			t.Errorf("New(%q) = %v; want %v", key, err, idempotency.ErrInvalidKey)
		}
	}
	request(t, strings.Repeat("~", 255), idempotency.Scope{})
}

func TestADerivedKeyNeedsAPolicy(t *testing.T) {
	derived := &idempotency.Request[int]{Derived: true}
	if idempotency.Begin(idempotency.Policy{}, nil, derived) != nil {
		t.Error("a derived key has an effect without a policy that says so")
	}
	if idempotency.Begin[int](idempotency.Policy{Derived: true}, nil, nil) != nil {
		t.Error("a request without a key is recorded")
	}
}
