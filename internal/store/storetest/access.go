package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// RunAccess tests every promise of access.Store. open returns an empty store.
func RunAccess(t *testing.T, open func(*testing.T) access.Store) {
	check := func(promise string, test func(*testing.T, access.Store)) {
		t.Run(promise, func(t *testing.T) { test(t, open(t)) })
	}
	check("environments are numbered from 1 and listed by number", environmentsAreNumbered)
	check("a name belongs to one environment", environmentNamesAreUnique)
	check("racing environments get numbers of their own", racingEnvironments)
	check("an environment keeps its settings, and each change leaves its event", environmentKeepsSettings)
	check("of two racing changes of environments, one sees the other", racingChangesSeeOneAnother)
	check("racing changes of settings are all kept", racingSettings)
	check("a key is found by its hash", keyIsFoundByHash)
	check("a key needs its environment", keyNeedsEnvironment)
	check("a key is stored once", keyIsStoredOnce)
	check("keys are listed oldest first", keysAreListed)
	check("a key is revoked once", keyIsRevokedOnce)
	check("a key is renamed, and no other", keyIsRenamed)
	check("a key keeps its name, scopes and expiry, and may open all environments", keyKeepsItsFields)
	check("the last use of a key only grows", lastUseGrows)
	check("each change leaves its event, and a change that fails none", accessEvents)
}

// changed returns the event of a change by an operator.
func changed(typ mfa.EventType, at time.Time) mfa.Event {
	return mfa.Event{Type: typ, At: at, Caller: "operator:ada"}
}

func environment(t *testing.T, s access.Store, name string, production bool) mfa.Environment {
	t.Helper()
	e, err := s.InsertEnvironment(t.Context(), mfa.Environment{Name: name, Production: production}, changed(mfa.EnvironmentCreated, morning))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func environments(t *testing.T, s access.Store) []mfa.Environment {
	t.Helper()
	all, err := s.Environments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func environmentsAreNumbered(t *testing.T, s access.Store) {
	sameList(t, environments(t, s), nil)
	want := []mfa.Environment{{ID: 1, Name: "zebra", Production: true}, {ID: 2, Name: awkward}, {ID: 3, Name: "Zebra"}}
	for _, e := range want {
		got := environment(t, s, e.Name, e.Production)
		same(t, &got, &e)
	}
	sameList(t, environments(t, s), want)
}

func environmentNamesAreUnique(t *testing.T, s access.Store) {
	want := environment(t, s, "sandbox", false)
	if _, err := s.InsertEnvironment(t.Context(), mfa.Environment{Name: "sandbox", Production: true}, changed(mfa.EnvironmentCreated, morning)); !errors.Is(err, access.ErrExists) {
		t.Errorf("InsertEnvironment = %v; want %v", err, access.ErrExists)
	}
	sameList(t, environments(t, s), []mfa.Environment{want})
}

func racingEnvironments(t *testing.T, s access.Store) {
	errs := together(20, func(i int) error {
		_, err := s.InsertEnvironment(t.Context(), mfa.Environment{Name: string(rune('a' + i/2))}, changed(mfa.EnvironmentCreated, morning))
		return err
	})
	for i := 0; i < len(errs); i += 2 {
		if (errs[i] == nil) == (errs[i+1] == nil) || !errors.Is(errors.Join(errs[i], errs[i+1]), access.ErrExists) {
			t.Errorf("of two racers: %v and %v; want one ErrExists", errs[i], errs[i+1])
		}
	}
	if all := environments(t, s); len(all) != 10 {
		t.Errorf("stored %+v; want 10", all)
	}
}

// set changes one setting of an environment.
func set(t *testing.T, s access.Store, id mfa.EnvironmentID, name, text string) error {
	_, err := s.UpdateEnvironment(t.Context(), id, func(e *mfa.Environment, _ []mfa.Environment) (_ *mfa.Event, err error) {
		e.Settings, err = e.Settings.With(map[string]string{name: text})
		updated := changed(mfa.EnvironmentUpdated, morning)
		updated.Reason = name
		return &updated, err
	})
	return err
}

// racingChangesSeeOneAnother lets two environments take a value that only one of them may have.
func racingChangesSeeOneAnother(t *testing.T, s access.Store) {
	racers := []mfa.Environment{environment(t, s, "one", false), environment(t, s, "two", true)}
	for round := range 20 {
		wanted := map[string]string{"receipt_issuer": fmt.Sprintf("https://%d.example.com", round)}
		taken := errors.New("taken")
		errs := make([]error, len(racers))
		var wg sync.WaitGroup
		for i, racer := range racers {
			wg.Go(func() {
				_, errs[i] = s.UpdateEnvironment(t.Context(), racer.ID, func(e *mfa.Environment, all []mfa.Environment) (_ *mfa.Event, err error) {
					for _, other := range all {
						if other.Settings.Values().ReceiptIssuer == wanted["receipt_issuer"] {
							return nil, taken
						}
					}
					e.Settings, err = e.Settings.With(wanted)
					updated := changed(mfa.EnvironmentUpdated, morning)
					return &updated, err
				})
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), taken) {
			t.Fatalf("round %d: %v and %v; want one of them refused", round, errs[0], errs[1])
		}
	}
}

func environmentKeepsSettings(t *testing.T, s access.Store) {
	one, two := environment(t, s, "one", false), environment(t, s, "two", true)
	k, h := storeKey(t, s, one, morning)
	for _, text := range []string{"5", "6", ""} {
		if err := set(t, s, one.ID, "max_factors_per_user", text); err != nil {
			t.Fatal(err)
		}
		var err error
		if one.Settings, err = one.Settings.With(map[string]string{"max_factors_per_user": text}); err != nil {
			t.Fatal(err)
		}
		sameList(t, environments(t, s), []mfa.Environment{one, two})
		k.Environment = one
		got := keyByHash(t, s, h)
		same(t, &got, &k)
		all, err := s.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sameList(t, all, []access.Key{k})
	}
	refused := errors.New("refused")
	for _, change := range []func(e *mfa.Environment) (*mfa.Event, error){
		func(e *mfa.Environment) (*mfa.Event, error) { return nil, nil },
		func(e *mfa.Environment) (*mfa.Event, error) { return new(mfa.Event), refused },
	} {
		if _, err := s.UpdateEnvironment(t.Context(), one.ID, func(e *mfa.Environment, _ []mfa.Environment) (*mfa.Event, error) {
			var err error
			if e.Settings, err = e.Settings.With(map[string]string{"max_factors_per_user": "9"}); err != nil {
				t.Error(err)
			}
			return change(e)
		}); err != nil && !errors.Is(err, refused) {
			t.Error(err)
		}
		sameList(t, environments(t, s), []mfa.Environment{one, two})
	}
	if err := set(t, s, 99, "max_factors_per_user", "5"); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("UpdateEnvironment of an unknown one = %v; want %v", err, access.ErrNotFound)
	}
	updates := 0
	for _, e := range eventsOf(t, s, one.ID) {
		if e.Type == mfa.EnvironmentUpdated && e.Reason == "max_factors_per_user" {
			updates++
		}
	}
	if updates != 3 || len(eventsOf(t, s, two.ID)) != 1 {
		t.Errorf("%d changes left their event; want 3, and none of the other environment", updates)
	}
}

func racingSettings(t *testing.T, s access.Store) {
	e := environment(t, s, "one", false)
	names := []string{"max_factors_per_user", "delete_requires_challenge"}
	texts := []string{"7", "5m"}
	errs := together(len(names), func(i int) error { return set(t, s, e.ID, names[i], texts[i]) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	want := "delete_requires_challenge=5m max_factors_per_user=7"
	if got := environments(t, s)[0].Settings.String(); got != want {
		t.Errorf("the settings are %s; want %s", got, want)
	}
}

// newAccessKey returns a key of e that is not stored yet.
func newAccessKey(e mfa.Environment, at time.Time) (access.Key, access.Hash) {
	id := mfa.EventID(newID(morning, 0)).String()
	return access.Key{ID: access.KeyID(id), Environment: e, Scopes: access.DefaultScopes, Hint: id[len(id)-4:], CreatedAt: at}, access.Hash(newKey())
}

func storeKey(t *testing.T, s access.Store, e mfa.Environment, at time.Time) (access.Key, access.Hash) {
	t.Helper()
	k, h := newAccessKey(e, at)
	if err := s.InsertKey(t.Context(), k, h, changed(mfa.KeyCreated, morning)); err != nil {
		t.Fatal(err)
	}
	return k, h
}

func keyByHash(t *testing.T, s access.Store, h access.Hash) access.Key {
	t.Helper()
	k, err := s.KeyByHash(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyIsFoundByHash(t *testing.T, s access.Store) {
	one, two := environment(t, s, "one", false), environment(t, s, "two", true)
	for _, e := range []mfa.Environment{one, two, one} {
		want, h := storeKey(t, s, e, morning)
		got := keyByHash(t, s, h)
		same(t, &got, &want)
		h[0]++
		if k, err := s.KeyByHash(t.Context(), h); !errors.Is(err, access.ErrNotFound) {
			t.Errorf("KeyByHash = %+v, %v; want %v", k, err, access.ErrNotFound)
		}
	}
}

func keyNeedsEnvironment(t *testing.T, s access.Store) {
	k, h := newAccessKey(mfa.Environment{ID: 7, Name: "none"}, morning)
	if err := s.InsertKey(t.Context(), k, h, changed(mfa.KeyCreated, morning)); err == nil {
		t.Error("InsertKey = nil; want an error")
	}
	if k, err := s.KeyByHash(t.Context(), h); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("KeyByHash = %+v, %v; want %v", k, err, access.ErrNotFound)
	}
}

func keyIsStoredOnce(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	want, h := storeKey(t, s, e, morning)
	other, otherHash := newAccessKey(e, morning)
	for name, err := range map[string]error{
		"the same":  s.InsertKey(t.Context(), want, h, changed(mfa.KeyCreated, morning)),
		"its hash":  s.InsertKey(t.Context(), other, h, changed(mfa.KeyCreated, morning)),
		"and by id": s.InsertKey(t.Context(), want, otherHash, changed(mfa.KeyCreated, morning)),
	} {
		if err == nil {
			t.Errorf("%s: InsertKey = nil; want an error", name)
		}
	}
	got := keyByHash(t, s, h)
	same(t, &got, &want)
}

func keyKeepsItsFields(t *testing.T, s access.Store) {
	var want []access.Key
	for i, change := range []func(*access.Key){
		func(k *access.Key) { k.Name = awkward },
		func(k *access.Key) { k.Scopes = access.ScopesOf(access.AllScopes()...) },
		func(k *access.Key) { k.ExpiresAt = morning.Add(90 * 24 * time.Hour) },
		func(k *access.Key) {
			k.Environment, k.Scopes = mfa.Environment{}, access.ScopesOf(access.ScopeOperatorWrite)
		},
	} {
		k, h := newAccessKey(environment(t, s, fmt.Sprint("e", i), true), morning.Add(time.Duration(i)*time.Second))
		change(&k)
		if err := s.InsertKey(t.Context(), k, h, changed(mfa.KeyCreated, morning)); err != nil {
			t.Fatal(err)
		}
		got := keyByHash(t, s, h)
		same(t, &got, &k)
		want = append(want, k)
	}
	got, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sameList(t, got, want)
	all := want[len(want)-1]
	if err := s.RevokeKey(t.Context(), all.ID, changed(mfa.KeyRevoked, morning)); err != nil {
		t.Fatal(err)
	}
	if events := eventsOf(t, s, 0); len(events) != 2 || events[0].Type != mfa.KeyCreated || events[1].Type != mfa.KeyRevoked {
		t.Errorf("a key of all environments left the events %+v", events)
	}
}

func lastUseGrows(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	want, h := storeKey(t, s, e, morning)
	other, otherHash := storeKey(t, s, e, morning)
	for _, minutes := range []time.Duration{3, 7, 5, 7} {
		at := morning.Add(minutes * time.Minute)
		if err := s.TouchKeys(t.Context(), []access.Use{{Key: want.ID, At: at}, {Key: "key_unknown", At: at}}); err != nil {
			t.Fatal(err)
		}
		if want.LastUsedAt.Before(at) {
			want.LastUsedAt = at
		}
		got := keyByHash(t, s, h)
		same(t, &got, &want)
	}
	got := keyByHash(t, s, otherHash)
	same(t, &got, &other)
	errs := together(8, func(i int) error { // in both orders
		used := []access.Use{{Key: want.ID, At: morning.Add(time.Hour)}, {Key: other.ID, At: morning.Add(time.Hour)}}
		if i%2 == 1 {
			slices.Reverse(used)
		}
		return s.TouchKeys(t.Context(), used)
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("racing uses: %v", err)
	}
}

func keysAreListed(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	second, _ := storeKey(t, s, e, morning)
	third, _ := storeKey(t, s, e, morning.Add(time.Millisecond))
	first, _ := storeKey(t, s, e, morning.Add(-time.Hour))
	got, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sameList(t, got, []access.Key{first, second, third})
}

func keyIsRevokedOnce(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	want, h := storeKey(t, s, e, morning)
	bystander, bystanderHash := storeKey(t, s, e, morning)
	want.RevokedAt = morning.Add(time.Hour)
	for _, at := range []time.Time{want.RevokedAt, morning.Add(2 * time.Hour), morning} {
		if err := s.RevokeKey(t.Context(), want.ID, changed(mfa.KeyRevoked, at)); err != nil {
			t.Fatal(err)
		}
		got := keyByHash(t, s, h)
		same(t, &got, &want)
	}
	got := keyByHash(t, s, bystanderHash)
	same(t, &got, &bystander)
	if err := s.RevokeKey(t.Context(), "key_unknown", changed(mfa.KeyRevoked, morning)); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("RevokeKey = %v; want %v", err, access.ErrNotFound)
	}
}

func keyIsRenamed(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	want, h := storeKey(t, s, e, morning)
	bystander, bystanderHash := storeKey(t, s, e, morning)
	for _, name := range []string{"checkout – blå", "checkout – blå", ""} {
		if err := s.RenameKey(t.Context(), want.ID, name, changed(mfa.KeyRenamed, morning)); err != nil {
			t.Fatal(err)
		}
		want.Name = name
		got := keyByHash(t, s, h)
		same(t, &got, &want)
	}
	got := keyByHash(t, s, bystanderHash)
	same(t, &got, &bystander)
	renamed := 0
	for _, found := range eventsOf(t, s, e.ID) {
		if found.Type == mfa.KeyRenamed {
			renamed++
		}
	}
	if renamed != 2 {
		t.Errorf("two changes of a name and one repetition left %d events", renamed)
	}
	if err := s.RenameKey(t.Context(), "key_unknown", "x", changed(mfa.KeyRenamed, morning)); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("RenameKey = %v; want %v", err, access.ErrNotFound)
	}
}

func accessEvents(t *testing.T, s access.Store) {
	e := environment(t, s, "sandbox", false)
	k, h := newAccessKey(e, morning)
	created := changed(mfa.KeyCreated, morning)
	created.Reason = string(k.ID)
	if err := s.InsertKey(t.Context(), k, h, created); err != nil {
		t.Fatal(err)
	}
	if err := s.InsertKey(t.Context(), k, h, created); err == nil {
		t.Error("InsertKey of a stored key = nil; want an error")
	}
	if _, err := s.InsertEnvironment(t.Context(), e, changed(mfa.EnvironmentCreated, morning)); !errors.Is(err, access.ErrExists) {
		t.Errorf("InsertEnvironment = %v; want %v", err, access.ErrExists)
	}
	for range 2 {
		if err := s.RevokeKey(t.Context(), k.ID, changed(mfa.KeyRevoked, morning.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, found := range eventsOf(t, s, e.ID) {
		got = append(got, fmt.Sprint(found.Type, " ", found.Reason, " by ", found.Caller, " ", found.At.Sub(morning)))
	}
	id := string(k.ID)
	want := []string{"environment.created  by operator:ada 0s", "api_key.created " + id + " by operator:ada 0s", "api_key.revoked  by operator:ada 1h0m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("events are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
