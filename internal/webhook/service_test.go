package webhook_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

const hook = "https://example.com/hook"

func failedOnly() []string { return []string{string(mfa.ChallengeFailed)} }

func TestAnEndpointIsCreatedOnce(t *testing.T) {
	w := newFixture(t)
	create := func(by mfa.Caller, p webhook.Params) (webhook.Details, error) { return w.Create(t.Context(), by, p) }
	d, err := create(w.by, webhook.Params{
		URL: "HTTPS://Example.com:443/hook", Events: []string{"factor.enrolled", "authentication.mfa_failed", "factor.enrolled"}, Creation: [32]byte{1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.URL != hook || d.Status != webhook.Enabled || d.Replayed || !slices.Equal(d.Events, []mfa.EventType{mfa.ChallengeFailed, mfa.FactorEnrolled}) {
		t.Errorf("created %+v", d.Endpoint)
	}
	if text := d.Current.Reveal(); !strings.HasPrefix(text, "whsec_") || len(text) != 50 {
		t.Errorf("the secret has %d characters", len(text))
	}
	if _, err := create(w.by, webhook.Params{URL: hook, Events: failedOnly()}); !errors.Is(err, webhook.ErrDuplicate) {
		t.Errorf("a second endpoint with the URL: %v; want ErrDuplicate", err)
	}
	again, err := create(w.by, webhook.Params{URL: hook, Events: failedOnly(), Creation: [32]byte{1}})
	if err != nil || !again.Replayed || again.ID != d.ID || again.Current.Reveal() != d.Current.Reveal() {
		t.Errorf("the same request again: %+v, %v", again.Endpoint, err)
	}
	if _, err := create(mfa.Caller{Environment: sandbox}, webhook.Params{URL: hook, Events: failedOnly()}); err != nil {
		t.Errorf("the URL in another environment: %v", err)
	}
	all := w.recorded(production.ID)
	if len(all) != 1 || all[0].Type != mfa.EndpointCreated || all[0].Reason != d.ID.String() || all[0].Caller != w.by.Key || all[0].Request != w.by.Request {
		t.Errorf("the events are %+v", all)
	}
}

func TestRacingRequestsWithAKeyCreateOneEndpoint(t *testing.T) {
	w := newFixture(t)
	p := webhook.Params{URL: hook, Events: failedOnly(), Creation: [32]byte{1}}
	ids := make([]webhook.EndpointID, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			d, err := w.Create(t.Context(), w.by, p)
			if ids[i] = d.ID; err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if ids = slices.Compact(ids); len(ids) != 1 {
		t.Errorf("%d endpoints were created", len(ids))
	}
}

func TestACreationIsReplayedAfterItsURLWasChanged(t *testing.T) {
	w := newFixture(t)
	p := webhook.Params{URL: hook, Events: failedOnly(), Creation: [32]byte{1}}
	d, err := w.Create(t.Context(), w.by, p)
	if err != nil {
		t.Fatal(err)
	}
	other := hook + "/other"
	if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{URL: &other}); err != nil {
		t.Fatal(err)
	}
	if again, err := w.Create(t.Context(), w.by, p); err != nil || !again.Replayed || again.ID != d.ID || again.URL != other {
		t.Errorf("the same request again: %+v, %v", again.Endpoint, err)
	}
}

func TestAnEnvironmentHasALimitedNumberOfEndpoints(t *testing.T) {
	w := newFixture(t)
	for i := range 33 {
		_, err := w.Create(t.Context(), w.by, webhook.Params{URL: fmt.Sprint(hook, i), Events: failedOnly()})
		if i < 32 && err != nil || i == 32 && !errors.Is(err, webhook.ErrTooMany) {
			t.Errorf("endpoint %d: %v", i+1, err)
		}
	}
}

func TestRacingRequestsDoNotExceedTheLimit(t *testing.T) {
	w := newFixture(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			_, err := w.Create(t.Context(), w.by, webhook.Params{URL: fmt.Sprint(hook, i), Events: failedOnly()})
			if err != nil && !errors.Is(err, webhook.ErrTooMany) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if found, err := w.List(t.Context(), w.by.ID); err != nil || len(found) != 32 {
		t.Errorf("the environment has %d endpoints, %v; want 32", len(found), err)
	}
}

func TestWrongParametersAreRefused(t *testing.T) {
	w := newFixture(t)
	strict := webhook.NewService(w.store, w.keys, webhook.Options{Now: w.clock.Now})
	for _, tc := range []struct {
		name  string
		by    mfa.Caller
		p     webhook.Params
		field string // "" for a *URLError
	}{
		{"no URL", w.by, webhook.Params{Events: failedOnly()}, "endpoint_url"},
		{"http in production", w.by, webhook.Params{URL: "http://example.com/", Events: failedOnly()}, ""},
		{"a URL that is longer in its normal form", w.by, webhook.Params{URL: hook + strings.Repeat("é", 500), Events: failedOnly()}, ""},
		{"not public", w.by, webhook.Params{URL: "https://127.0.0.1/", Events: failedOnly()}, ""},
		{"no types", w.by, webhook.Params{URL: hook}, "events"},
		{"an unknown type", w.by, webhook.Params{URL: hook, Events: []string{"factor.enrolled", "user.created"}}, "events"},
		{"a type in upper case", w.by, webhook.Params{URL: hook, Events: []string{"FACTOR.ENROLLED"}}, "events"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := strict.Create(t.Context(), tc.by, tc.p)
			if tc.field == "" {
				if _, ok := errors.AsType[*webhook.URLError](err); !ok {
					t.Errorf("Create = %v; want a *URLError", err)
				}
				return
			}
			e, ok := errors.AsType[*mfa.InvalidError](err)
			if !ok || e.Fields[0].Field != tc.field {
				t.Errorf("Create = %v; want an InvalidError for %s", err, tc.field)
			}
		})
	}
	if _, err := strict.Create(t.Context(), mfa.Caller{Environment: sandbox}, webhook.Params{URL: "http://example.com/", Events: failedOnly()}); err != nil {
		t.Errorf("http in a sandbox: %v", err)
	}
	if n := len(w.recorded(production.ID)); n != 0 {
		t.Errorf("%d events are recorded", n)
	}
}

func TestAnEndpointIsChangedAndDeleted(t *testing.T) {
	w := newFixture(t)
	d := w.endpoint(hook)
	other := w.endpoint(hook + "/other")
	url, disabled, wrong := hook+"/new", webhook.Disabled, webhook.Status("off")
	change := func(c webhook.Change) webhook.Details {
		t.Helper()
		w.clock.Advance(time.Second)
		got, err := w.Update(t.Context(), w.by, d.ID, c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := change(webhook.Change{}); !got.UpdatedAt.Equal(d.UpdatedAt) {
		t.Errorf("nothing was changed at %v", got.UpdatedAt)
	}
	if got := change(webhook.Change{URL: &url, Events: []string{"factor.locked"}}); got.URL != url || !slices.Equal(got.Events, []mfa.EventType{mfa.FactorLocked}) ||
		got.Current.Reveal() != d.Current.Reveal() || !got.UpdatedAt.Equal(w.clock.Now()) {
		t.Errorf("changed to %+v", got.Endpoint)
	}
	if got := change(webhook.Change{Status: &disabled}); got.Status != webhook.Disabled || got.DisabledFor != webhook.Requested {
		t.Errorf("disabled: %+v", got.Endpoint)
	}
	for name, tc := range map[string]struct {
		c    webhook.Change
		want error
	}{
		"a URL of another endpoint": {webhook.Change{URL: &other.URL}, webhook.ErrDuplicate},
		"an unknown status":         {webhook.Change{Status: &wrong}, mfa.ErrInvalid},
		"no types":                  {webhook.Change{Events: []string{}}, mfa.ErrInvalid},
	} {
		if _, err := w.Update(t.Context(), w.by, d.ID, tc.c); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v; want %v", name, err, tc.want)
		}
	}
	foreign := mfa.Caller{Environment: sandbox}
	if _, err := w.Update(t.Context(), foreign, d.ID, webhook.Change{URL: &url}); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a change by another environment: %v; want ErrNotFound", err)
	}
	if err := w.Delete(t.Context(), foreign, d.ID); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a deletion by another environment: %v; want ErrNotFound", err)
	}
	if _, err := w.RotateSecret(t.Context(), foreign, d.ID, 0); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a rotation by another environment: %v; want ErrNotFound", err)
	}
	if _, err := w.StartReplay(t.Context(), foreign, d.ID, webhook.Range{From: w.clock.Now().Add(-time.Hour)}); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a replay by another environment: %v; want ErrNotFound", err)
	}
	if _, err := w.Attempts(t.Context(), sandbox.ID, d.ID, webhook.AttemptID{}, 1); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("attempts for another environment: %v; want ErrNotFound", err)
	}
	if err := w.Delete(t.Context(), w.by, d.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), w.by, d.ID); !errors.Is(err, mfa.ErrNotFound) {
		t.Errorf("a second deletion: %v; want ErrNotFound", err)
	}
	if all, err := w.List(t.Context(), production.ID); err != nil || len(all) != 1 || all[0].ID != other.ID {
		t.Errorf("%d endpoints are left, %v", len(all), err)
	}
	var got []string
	for _, e := range w.recorded(production.ID) {
		got = append(got, strings.TrimPrefix(string(e.Type), "webhook_endpoint.")+" "+strings.Replace(e.Reason, d.ID.String(), "it", 1))
	}
	want := []string{"created it", "created " + other.ID.String(), "updated it", "disabled it:requested", "deleted it"}
	if !slices.Equal(got, want) {
		t.Errorf("the events are %q; want %q", got, want)
	}
}

func TestADisabledEndpointContinuesWhereItStopped(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL)
	w.happen(1, 1)
	w.pass()
	for _, status := range []webhook.Status{webhook.Disabled, webhook.Enabled} {
		if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{Status: &status}); err != nil {
			t.Fatal(err)
		}
		w.happen(2, 1)
		w.pass()
		if got, want := len(r.got()), map[webhook.Status]int{webhook.Disabled: 1, webhook.Enabled: 2}[status]; got != want {
			t.Errorf("%s: %d events arrived; want %d", status, got, want)
		}
	}
}

func TestRotationOverlaps(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL)
	rotated, err := w.RotateSecret(t.Context(), w.by, d.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before, after := d.Current.Reveal(), rotated.Next.Reveal()
	if rotated.Current.Reveal() != before || after == "" || after == before || !rotated.SwitchAt.Equal(w.clock.Now().Add(time.Hour)) {
		t.Errorf("the rotation ends at %v", rotated.SwitchAt)
	}
	signed := func() (workos string, standard []string) {
		t.Helper()
		w.happen(1, 1)
		w.pass()
		h, body := r.headers[0], []byte(r.bodies[0])
		r.got()
		for name, secret := range map[string]string{"before": before, "after": after} {
			if h.Get("WorkOS-Signature") == webhook.Sign(secret, w.clock.Now(), body) {
				workos = name
			}
			want, err := webhook.SignStandard(secret, h.Get("webhook-id"), w.clock.Now(), body)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(strings.Fields(h.Get("webhook-signature")), want) {
				standard = append(standard, name)
			}
		}
		slices.Sort(standard)
		return workos, standard
	}
	if workos, standard := signed(); workos != "before" || !slices.Equal(standard, []string{"after", "before"}) {
		t.Errorf("during the overlap %q and %q sign", workos, standard)
	}
	if again, err := w.RotateSecret(t.Context(), w.by, d.ID, 2*time.Hour); err != nil || again.Next.Reveal() != after {
		t.Errorf("a second rotation during the overlap draws another secret, %v", err)
	}
	w.clock.Advance(2*time.Hour - time.Millisecond)
	if workos, _ := signed(); workos != "before" {
		t.Errorf("just before the switch %q signs", workos)
	}
	w.clock.Advance(time.Millisecond)
	if workos, standard := signed(); workos != "after" || !slices.Equal(standard, []string{"after"}) {
		t.Errorf("after the switch %q and %q sign", workos, standard)
	}
	if got, err := w.Endpoint(t.Context(), production.ID, d.ID); err != nil || got.Current.Reveal() != after || got.Next.Reveal() != "" || !got.SwitchAt.IsZero() {
		t.Errorf("after the switch the endpoint has another secret, %v", err)
	}
	now, err := w.RotateSecret(t.Context(), w.by, d.ID, 0)
	if err != nil || now.Current.Reveal() == after || now.Next.Reveal() != "" {
		t.Errorf("a rotation without an overlap: %v", err)
	}
	for _, overlap := range []time.Duration{-1, webhook.MaxOverlap + 1} {
		if _, err := w.RotateSecret(t.Context(), w.by, d.ID, overlap); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("an overlap of %v: %v", overlap, err)
		}
	}
}

func TestSecretsAreSealedAndResealed(t *testing.T) {
	w := newFixture(t)
	d := w.endpoint(hook)
	rotated, err := w.RotateSecret(t.Context(), w.by, d.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	added, err := w.keys.Add()
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := added.Promote()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(promoted)
	if err := w.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	retired, err := promoted.Retire()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(retired)
	got, err := w.Endpoint(t.Context(), production.ID, d.ID)
	if err != nil || got.Current.Reveal() != d.Current.Reveal() || got.Next.Reveal() != rotated.Next.Reveal() {
		t.Errorf("the secrets do not open under the new key: %v", err)
	}
	for _, file := range []string{w.path, w.path + "-wal"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{d.Current.Reveal(), rotated.Next.Reveal()} {
			if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte(strings.TrimPrefix(text, "whsec_"))) {
				t.Errorf("%s contains a secret", file)
			}
		}
	}
	other, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	w.SetKeys(other)
	if _, err := w.List(t.Context(), production.ID); err == nil {
		t.Error("the secrets open under another keyset")
	}
	without := webhook.NewService(w.store, nil, webhook.Options{})
	if all, err := without.List(t.Context(), production.ID); err != nil || len(all) != 1 || all[0].Current.Reveal() != "" {
		t.Errorf("without a keyset %d endpoints are listed, %v", len(all), err)
	}
}

func TestReplay(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	w.happen(0, 3) // before the endpoint: a replay may send it
	start := w.clock.Now()
	w.clock.Advance(time.Hour)
	d := w.endpoint(r.URL)
	for hour := range 4 {
		w.happen(10*(hour+1), 5)
		w.pass()
		w.clock.Advance(time.Hour)
	}
	r.got()
	replay := func(r webhook.Range) error {
		t.Helper()
		_, err := w.StartReplay(t.Context(), w.by, d.ID, r)
		return err
	}
	if err := replay(webhook.Range{From: start.Add(2 * time.Hour), To: start.Add(4 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := replay(webhook.Range{From: start}); !errors.Is(err, webhook.ErrReplaying) {
		t.Errorf("a second replay: %v; want ErrReplaying", err)
	}
	w.happen(100, 2)
	w.pass()
	if got, want := sorted(r.got()), slices.Concat(numbers(20, 5), numbers(30, 5), numbers(100, 2)); !slices.Equal(got, want) {
		t.Errorf("sent %v; want %v", got, want)
	}
	if e := w.stored(d.ID); !e.Replay.IsZero() {
		t.Errorf("the replay has not ended: %+v", e.Replay)
	}
	w.clock.Advance(time.Millisecond) // the end of a range does not belong to it
	if err := replay(webhook.Range{From: start}); err != nil {
		t.Fatal(err)
	}
	w.pass()
	want := slices.Concat(numbers(0, 3), numbers(10, 5), numbers(20, 5), numbers(30, 5), numbers(40, 5), numbers(100, 2))
	if got := sorted(r.got()); !slices.Equal(got, want) {
		t.Errorf("a replay of all events sent %v; want %v", got, want)
	}
	for name, r := range map[string]webhook.Range{
		"no beginning":    {},
		"in the future":   {From: w.clock.Now().Add(time.Hour), To: w.clock.Now().Add(2 * time.Hour)},
		"an empty range":  {From: start, To: start},
		"a reverse range": {From: start.Add(time.Hour), To: start},
	} {
		if err := replay(r); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADisabledEndpointGetsNoReplay(t *testing.T) {
	w := newFixture(t)
	d := w.endpoint(hook)
	disabled, enabled := webhook.Disabled, webhook.Enabled
	if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{Status: &disabled}); err != nil {
		t.Fatal(err)
	}
	for _, onlyFailed := range []bool{false, true} {
		r := webhook.Range{From: w.clock.Now().Add(-time.Hour), OnlyFailed: onlyFailed}
		if _, err := w.StartReplay(t.Context(), w.by, d.ID, r); !errors.Is(err, webhook.ErrDisabled) {
			t.Errorf("StartReplay = %v; want %v", err, webhook.ErrDisabled)
		}
	}
	if e := w.stored(d.ID); !e.Replay.IsZero() {
		t.Errorf("a refused replay is stored: %+v", e.Replay)
	}
	if _, err := w.Update(t.Context(), w.by, d.ID, webhook.Change{Status: &enabled}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.StartReplay(t.Context(), w.by, d.ID, webhook.Range{From: w.clock.Now().Add(-time.Hour)}); err != nil {
		t.Errorf("StartReplay of an enabled endpoint = %v", err)
	}
}

func TestEachReplayIsAnEvent(t *testing.T) {
	w := newFixture(t)
	d := w.endpoint(hook)
	by := w.by
	by.Reason = "ticket: 4711"
	from := time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("CET", 3600))
	for _, r := range []webhook.Range{
		{From: from, To: from.Add(time.Hour)},
		{From: from, To: from.Add(time.Hour)}, // refused while the first one is in progress
		{From: from},
		{},
		{From: from, To: from.Add(time.Hour), OnlyFailed: true},
	} {
		w.StartReplay(t.Context(), by, d.ID, r)
	}
	var reasons []string
	for _, e := range w.recorded(production.ID) {
		if e.Type == mfa.EndpointReplayed {
			reasons = append(reasons, e.Reason)
			if e.Caller != by.By() {
				t.Errorf("the caller is %q; want %q", e.Caller, by.By())
			}
		}
	}
	period := d.ID.String() + ":2026-01-01T00:00:00.000Z/2026-01-01T01:00:00.000Z"
	if want := []string{period + ": ticket: 4711", period + ",only_failed: ticket: 4711"}; !slices.Equal(reasons, want) {
		t.Errorf("the events are %q; want %q", reasons, want)
	}
}

func TestOnlyFailedEventsAreReplayed(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	r.answer(500)
	d := w.endpointOf(mfa.Caller{Environment: sandbox}, r.URL)
	start := w.clock.Now()
	w.happenIn(sandbox.ID, 1, 2)
	for range 20 {
		w.after(10 * time.Minute)
	}
	if n := w.failed(d.ID); n != 2 {
		t.Fatalf("%d deliveries have failed; want 2", n)
	}
	r.answer(200)
	w.happenIn(sandbox.ID, 3, 1)
	w.after(time.Hour)
	if got := r.got(); !slices.Contains(got, "3") || w.stored(d.ID).Failures != 0 {
		t.Errorf("sent %v", got)
	}
	if _, err := w.StartReplay(t.Context(), mfa.Caller{Environment: sandbox}, d.ID, webhook.Range{From: start, OnlyFailed: true}); err != nil {
		t.Fatal(err)
	}
	w.pass()
	if got := sorted(r.got()); !slices.Equal(got, numbers(1, 2)) {
		t.Errorf("sent %v; want the events that have failed", got)
	}
	if n := w.failed(d.ID); n != 0 {
		t.Errorf("%d deliveries have failed; want 0", n)
	}
}

func TestAttemptsAreListedPageByPage(t *testing.T) {
	w := newFixture(t)
	r := newReceiver(t, nil)
	d := w.endpoint(r.URL)
	for i := range 7 {
		w.happen(i, 1)
		w.pass()
		w.clock.Advance(time.Millisecond)
	}
	var all []webhook.AttemptDetails
	for after := (webhook.AttemptID{}); ; {
		page, err := w.Attempts(t.Context(), production.ID, d.ID, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Attempts...)
		if after = page.After; after == (webhook.AttemptID{}) {
			break
		}
		if cursor, err := webhook.ParseAttemptCursor(d.ID, after.String()); cursor != after || err != nil {
			t.Errorf("the cursor is read as %s, %v", cursor, err)
		}
	}
	if len(all) != 7 || !slices.IsSortedFunc(all, func(a, b webhook.AttemptDetails) int { return b.At.Compare(a.At) }) {
		t.Errorf("%d attempts are listed; want 7, newest first", len(all))
	}
	for _, text := range []string{"", "wa_", d.ID.String(), "wa_01FZ4WMXXA09XF6NK1XMKNWB3M"} {
		if _, err := webhook.ParseAttemptCursor(d.ID, text); !errors.Is(err, mfa.ErrInvalid) {
			t.Errorf("the cursor %q: %v", text, err)
		}
	}
	// Attempts that succeeded are kept for a day.
	w.clock.Advance(25 * time.Hour)
	if more, err := w.store.SweepWebhooks(t.Context(), w.clock.Now(), 100); more || err != nil {
		t.Fatal(more, err)
	}
	if n := len(w.attempts(d)); n != 0 {
		t.Errorf("%d attempts are left", n)
	}
}
