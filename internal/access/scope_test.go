package access_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestAKeyWithoutScopesMayDoWhatKeysCouldBefore(t *testing.T) {
	w := newFixture(t)
	_, k := w.key(w.environment("Acme", true))
	if err := k.Scopes.Need(access.CallAPI, access.ReadEvents); err != nil || k.IsOperator() {
		t.Errorf("its scopes are %v: %v", k.Scopes, err)
	}
}

func TestOperatorKeys(t *testing.T) {
	w := newFixture(t)
	acme := w.environment("Acme", true)
	for _, tc := range []struct {
		env   mfa.Environment
		scope access.Scope
	}{{acme, access.ScopeOperatorRead}, {mfa.Environment{}, access.ScopeOperatorWrite}} {
		text, k, err := w.CreateKey(t.Context(), mfa.Caller{Environment: tc.env}, access.KeyParams{Name: "terraform", Scopes: access.ScopesOf(tc.scope)})
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^ok_[A-Z2-7]{26}$`).MatchString(text.Reveal()) {
			t.Errorf("an operator key has %d characters and begins with %.3s", len(text.Reveal()), text.Reveal())
		}
		if got, err := w.another(w.store).Authenticate(t.Context(), text.Reveal()); err != nil || got != k || !got.IsOperator() || got.Environment != tc.env {
			t.Errorf("Authenticate = %+v, %v; want %+v", got, err, k)
		}
	}
}

func TestKeyParamsAreChecked(t *testing.T) {
	w := newFixture(t)
	acme := w.environment("Acme", true)
	for name, tc := range map[string]struct {
		env  mfa.Environment
		p    access.KeyParams
		want string // the fields, or "" for a good key
	}{
		"a long name":           {acme, access.KeyParams{Name: strings.Repeat("ä", 64)}, ""},
		"a longer name":         {acme, access.KeyParams{Name: strings.Repeat("ä", 65)}, "name"},
		"two lines":             {acme, access.KeyParams{Name: "a\nb"}, "name"},
		"invalid UTF-8":         {acme, access.KeyParams{Name: "a\xff"}, "name"},
		"both kinds of scopes":  {acme, access.KeyParams{Scopes: access.ScopesOf(access.ScopeAPI, access.ScopeOperatorRead)}, "scopes"},
		"no environment":        {mfa.Environment{}, access.KeyParams{Scopes: access.ScopesOf(access.ScopeAPI)}, "environment"},
		"now":                   {acme, access.KeyParams{ExpiresAt: w.clock.Now()}, "expires_at"},
		"soon":                  {acme, access.KeyParams{ExpiresAt: w.clock.Now().Add(time.Second)}, ""},
		"all of it at one time": {mfa.Environment{}, access.KeyParams{Name: "\t", ExpiresAt: w.clock.Now().Add(-1)}, "name environment expires_at"},
	} {
		_, _, err := w.CreateKey(t.Context(), mfa.Caller{Environment: tc.env}, tc.p)
		var got []string
		if e, ok := errors.AsType[*mfa.InvalidError](err); ok {
			for _, f := range e.Fields {
				got = append(got, f.Field)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if fields := strings.Join(got, " "); fields != tc.want {
			t.Errorf("%s: CreateKey = %v; want an error in %q", name, err, tc.want)
		}
	}
}

func TestAnExpiredKeyIsRefusedAtOnce(t *testing.T) {
	w := newFixture(t)
	text, k, err := w.CreateKey(t.Context(), mfa.Caller{Environment: w.environment("Acme", true)}, access.KeyParams{ExpiresAt: w.clock.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	fresh := w.another(w.store)
	w.clock.Advance(k.ExpiresAt.Sub(w.clock.Now()) - time.Millisecond)
	if _, err := w.Authenticate(t.Context(), text.Reveal()); err != nil {
		t.Errorf("before its expiry: %v", err)
	}
	w.clock.Advance(time.Millisecond) // the key was read a moment ago
	for _, s := range []*access.Service{w.Service, fresh} {
		if _, err := s.Authenticate(t.Context(), text.Reveal()); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("at its expiry: %v; want %v", err, access.ErrUnauthorized)
		}
	}
}

func TestTheLastUseOfAKeyIsStoredOnceAMinute(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	_, idle := w.key(w.environment("Other", true))
	lastUse := func(id access.KeyID) time.Time {
		t.Helper()
		k, err := w.Key(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return k.LastUsedAt
	}
	var writes []time.Time
	for range 150 { // five minutes of a busy key, whose uses are stored every 10 s
		w.clock.Advance(2 * time.Second)
		if _, err := w.Authenticate(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		if w.clock.Now().Second()%10 == 0 {
			if err := w.StoreUses(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at := lastUse(k.ID); len(writes) == 0 || !at.Equal(writes[len(writes)-1]) {
				writes = append(writes, at)
			}
		}
	}
	if len(writes) < 4 || len(writes) > 6 {
		t.Errorf("in five minutes the last use was stored %d times: %v", len(writes), writes)
	}
	if age := w.clock.Now().Sub(lastUse(k.ID)); age < 0 || age > 80*time.Second {
		t.Errorf("the stored use is %v old", age)
	}
	if at := lastUse(idle.ID); !at.IsZero() {
		t.Errorf("an unused key was used at %v", at)
	}
}

// A use that could not be stored is stored later.
func TestALastUseSurvivesAnOutage(t *testing.T) {
	w := newFixture(t)
	text, k := w.key(w.environment("Acme", true))
	if _, err := w.Authenticate(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	used := w.clock.Now().Truncate(time.Millisecond)
	if err := w.store.MarkMoved(t.Context(), "elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := w.StoreUses(t.Context()); err == nil {
		t.Fatal("StoreUses = nil in a store that takes no changes")
	}
	if err := w.store.DeleteMeta(t.Context(), "moved_to"); err != nil {
		t.Fatal(err)
	}
	if err := w.StoreUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Key(t.Context(), k.ID); err != nil || !got.LastUsedAt.Equal(used) {
		t.Errorf("LastUsedAt = %v, %v; want %v", got.LastUsedAt, err, used)
	}
}
