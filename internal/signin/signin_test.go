package signin_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
)

func TestLifeOfAnOperator(t *testing.T) {
	f := newFixture(t)
	key, session := f.enroll("ada", access.RoleSupport)
	who, err := f.Identify(t.Context(), session)
	if err != nil || who.Operator.Name != "ada" || who.Operator.Role != access.RoleSupport || who.Method != signin.ByLink || who.Browser != "Firefox" ||
		!who.FreshUntil.Equal(f.clock.Now().Add(5*minute)) {
		t.Fatalf("Identify = %+v, %v", who, err)
	}
	if err := f.SignOut(t.Context(), f.at(session)); err != nil {
		t.Fatal(err)
	}
	f.want(session, signin.ErrSignedOut)
	session = f.mustSignIn(key)
	f.want(session, nil)
	f.wantEvents(0, "created ada: support by root", "link_created ada by root", "passkey_added Laptop by ada", "signed_in link by ada",
		"signed_out by ada", "signed_in passkey by ada")
	a := f.account("ada")
	if len(a.Passkeys) != 1 || a.Passkeys[0].SignCount != 2 || !a.Passkeys[0].UsedAt.Equal(f.clock.Now()) || len(a.Sessions) != 1 || !a.Link.IsZero() {
		t.Errorf("the account is %+v", a)
	}
}

func TestLinkIsGoodOnceAndFor15Minutes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after func(f *fixture, link secret.String)
		want  error
	}{
		{"in the last millisecond", func(f *fixture, _ secret.String) { f.clock.Advance(15*minute - time.Millisecond) }, nil},
		{"after 15 minutes", func(f *fixture, _ secret.String) { f.clock.Advance(15 * minute) }, signin.ErrLink},
		{"after a newer link", func(f *fixture, _ secret.String) { f.link("ada", "") }, signin.ErrLink},
		{"after the link of another operator", func(f *fixture, _ secret.String) { f.link("eve", "") }, nil},
		{"after the operator was disabled", func(f *fixture, _ secret.String) { f.Disable(t.Context(), root, "ada") }, signin.ErrLink},
		{"after it was used", func(f *fixture, link secret.String) {
			b, _ := f.BeginEnrollment(t.Context(), f.client, link)
			_, response := passkeytest.Create(t, b.Options, origin)
			if _, err := f.FinishEnrollment(t.Context(), f.client, b.Token, "first", response); err != nil {
				t.Error(err)
			}
		}, signin.ErrLink},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			link := f.link("ada", "")
			tc.after(f, link)
			if _, err := f.BeginEnrollment(t.Context(), f.client, link); !errors.Is(err, tc.want) {
				t.Errorf("BeginEnrollment = %v; want %v", err, tc.want)
			}
		})
	}
}

// TestLinkMakesOnePasskey begins several ceremonies with a link and finishes all at once.
func TestLinkMakesOnePasskey(t *testing.T) {
	f := newFixture(t)
	link := f.link("ada", "")
	const racers = 8
	var wg sync.WaitGroup
	results := make([]error, racers)
	finish := make(chan struct{})
	for i := range racers {
		b, err := f.BeginEnrollment(t.Context(), f.client, link)
		if err != nil {
			t.Fatal(err)
		}
		_, response := passkeytest.Create(t, b.Options, origin)
		wg.Go(func() {
			<-finish
			_, results[i] = f.node().FinishEnrollment(t.Context(), f.client, b.Token, "key", response)
		})
	}
	close(finish)
	wg.Wait()
	wins := 0
	for _, err := range results {
		if err == nil {
			wins++
		} else if !errors.Is(err, signin.ErrLink) {
			t.Errorf("FinishEnrollment = %v; want %v", err, signin.ErrLink)
		}
	}
	if keys := f.account("ada").Passkeys; wins != 1 || len(keys) != 1 {
		t.Errorf("%d of %d succeeded, and there are %d passkeys; want 1", wins, racers, len(keys))
	}
}

func TestRefusedSignIns(t *testing.T) {
	f := newFixture(t)
	key, _ := f.enroll("ada", "")
	other, _ := f.enroll("eve", "")
	disabled, _ := f.enroll("bob", "")
	if err := f.Disable(t.Context(), root, "bob"); err != nil {
		t.Fatal(err)
	}
	from := len(f.events(0))
	for _, tc := range []struct {
		name   string
		key    *passkeytest.Passkey
		change func(*passkeytest.Answer)
		reason string
	}{
		{"on another site", key, func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://evil.example" }, "passkey_refused by ada"},
		{"without verification of the person", key, func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified }, "passkey_refused by ada"},
		{"with a passkey of another operator", key, func(a *passkeytest.Answer) { a.UserHandle = other.UserHandle }, "passkey_refused by ada"},
		{"without a user handle", key, func(a *passkeytest.Answer) { a.UserHandle = nil }, "passkey_refused by ada"},
		{"with an unknown passkey", key, func(a *passkeytest.Answer) { a.ID = []byte("another one 1234") }, "unknown_passkey by"},
		{"as a disabled operator", disabled, func(*passkeytest.Answer) {}, "disabled by bob"},
	} {
		session, err := f.signIn(tc.key, tc.change)
		if !errors.Is(err, signin.ErrRefused) || session.Reveal() != "" {
			t.Errorf("%s: %v; want %v", tc.name, err, signin.ErrRefused)
		}
		got := f.events(from)
		if from += len(got); len(got) != 1 || strings.TrimSpace(got[0]) != "sign_in_failed "+tc.reason {
			t.Errorf("%s: the events are %q; want %q", tc.name, got, tc.reason)
		}
	}
	f.mustSignIn(key)
}

func TestClonedPasskeyIsRefused(t *testing.T) {
	f := newFixture(t)
	key, _ := f.enroll("ada", "")
	f.mustSignIn(key)
	from := len(f.events(0))
	if _, err := f.signIn(key, func(a *passkeytest.Answer) { a.Counter = 1 }); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a falling counter = %v; want %v", err, signin.ErrRefused)
	}
	f.wantEvents(from, "passkey_clone_suspected Laptop by ada", "sign_in_failed passkey_cloned by ada")
}

func TestCeremonyHasOneAnswerAndEnds(t *testing.T) {
	f := newFixture(t)
	key, session := f.enroll("ada", "")
	ctx := t.Context()
	b, err := f.BeginSignIn(ctx, f.client)
	if err != nil {
		t.Fatal(err)
	}
	response := key.Get(t, b.Options)
	if _, err := f.FinishSignIn(ctx, f.client, b.Token, response); err != nil {
		t.Fatal(err)
	}
	if _, err := f.FinishSignIn(ctx, f.client, b.Token, response); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("a replayed answer = %v; want %v", err, signin.ErrExpired)
	}
	b, _ = f.BeginSignIn(ctx, f.client)
	f.clock.Advance(5 * minute)
	if _, err := f.FinishSignIn(ctx, f.client, b.Token, key.Get(t, b.Options)); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("an answer after 5 minutes = %v; want %v", err, signin.ErrExpired)
	}
	// The answer of one browser is not for the ceremony of another.
	one, _ := f.BeginSignIn(ctx, f.client)
	two, _ := f.BeginSignIn(ctx, f.client)
	if _, err := f.FinishSignIn(ctx, f.client, two.Token, key.Get(t, one.Options)); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("an answer to another challenge = %v; want %v", err, signin.ErrRefused)
	}
	confirm, err := f.BeginConfirmation(ctx, f.at(session))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.FinishSignIn(ctx, f.client, confirm.Token, key.Get(t, confirm.Options)); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("an answer for another purpose = %v; want %v", err, signin.ErrExpired)
	}
	for _, token := range []string{"", "x", session.Reveal(), f.link("eve", "").Reveal()} {
		if _, err := f.FinishSignIn(ctx, f.client, secret.NewString(token), response); !errors.Is(err, signin.ErrExpired) {
			t.Errorf("an answer without a ceremony = %v; want %v", err, signin.ErrExpired)
		}
	}
}

func TestOtherSecretsAreNotSessions(t *testing.T) {
	f := newFixture(t)
	f.enroll("ada", "")
	b, _ := f.BeginSignIn(t.Context(), f.client)
	for _, token := range []secret.String{{}, b.Token, f.link("ada", ""), secret.NewString("x")} {
		f.want(token, signin.ErrSignedOut)
	}
}

func TestSessionEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(f *fixture, session secret.String)
		want error
	}{
		{"not while it is used every 29 minutes", func(f *fixture, s secret.String) { f.use(s, 29*minute, 16) }, nil},
		{"after 30 minutes without use", func(f *fixture, s secret.String) { f.clock.Advance(30 * minute) }, signin.ErrSignedOut},
		{"after 8 hours in all", func(f *fixture, s secret.String) { f.use(s, 20*minute, 23); f.clock.Advance(20 * minute) }, signin.ErrSignedOut},
		{"when the operator is disabled", func(f *fixture, s secret.String) { f.Disable(f.t.Context(), root, "ada") }, signin.ErrSignedOut},
		{"when the operator was disabled and is enabled", func(f *fixture, s secret.String) {
			f.Disable(f.t.Context(), root, "ada")
			f.Enable(f.t.Context(), root, "ada")
		}, signin.ErrSignedOut},
		{"when all sessions are ended", func(f *fixture, s secret.String) { f.EndSessions(f.t.Context(), root, "ada", "") }, signin.ErrSignedOut},
		{"when it is ended", func(f *fixture, s secret.String) {
			f.EndSessions(f.t.Context(), root, "ada", f.account("ada").Sessions[0].ID)
		}, signin.ErrSignedOut},
		{"when its passkey is removed", func(f *fixture, s secret.String) {
			f.RemovePasskey(f.t.Context(), root, "ada", f.account("ada").Passkeys[0].ID)
		}, signin.ErrSignedOut},
		{"when the operator signs out everywhere", func(f *fixture, s secret.String) { f.SignOutEverywhere(f.t.Context(), f.at(s)) }, signin.ErrSignedOut},
		{"when the browser signs in again", func(f *fixture, s secret.String) { f.client.Session = s; f.enroll("eve", "") }, signin.ErrSignedOut},
		{"not when another operator is disabled", func(f *fixture, s secret.String) {
			f.enroll("eve", "")
			f.Disable(f.t.Context(), root, "eve")
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			_, session := f.enroll("ada", "")
			tc.do(f, session)
			f.want(session, tc.want)
		})
	}
}

// use identifies a session n times.
func (f *fixture) use(session secret.String, every time.Duration, n int) {
	f.t.Helper()
	for i := range n {
		f.clock.Advance(every)
		if _, err := f.node().Identify(f.t.Context(), session); err != nil {
			f.t.Fatalf("the session ended after %v: %v", time.Duration(i+1)*every, err)
		}
	}
}

func TestOperatorHasAtMost20Sessions(t *testing.T) {
	f := newFixture(t)
	key, first := f.enroll("ada", "")
	var last secret.String
	for range 20 {
		f.clock.Advance(time.Second)
		last = f.mustSignIn(key)
	}
	f.want(first, signin.ErrSignedOut)
	f.want(last, nil)
	if n := len(f.account("ada").Sessions); n != 20 {
		t.Errorf("%d sessions; want 20", n)
	}
}

func TestRoleChangesAtOnce(t *testing.T) {
	f := newFixture(t)
	_, session := f.enroll("ada", access.RoleAdmin)
	if err := f.SetRole(t.Context(), operator.By{Operator: "root", Reason: "ticket 7"}, "ada", access.RoleViewer); err != nil {
		t.Fatal(err)
	}
	who, err := f.node().Identify(t.Context(), session)
	if err != nil || who.Operator.Role != access.RoleViewer {
		t.Errorf("Identify = %+v, %v; want a viewer", who, err)
	}
	if got := f.events(4); len(got) != 1 || got[0] != "role_changed ada: viewer (ticket 7) by root" {
		t.Errorf("the events are %q", got)
	}
	if err := f.SetRole(t.Context(), root, "ada", "owner"); err == nil {
		t.Error("the role owner was accepted")
	}
	if err := f.SetRole(t.Context(), root, "nobody", access.RoleViewer); !errors.Is(err, signin.ErrNotFound) {
		t.Errorf("SetRole = %v; want %v", err, signin.ErrNotFound)
	}
}

// TestAnUnknownAddressIsNotAllAddresses: behind a proxy at a Unix socket, the address of a
// client may be unknown.
func TestAnUnknownAddressIsNotAllAddresses(t *testing.T) {
	f := newFixture(t)
	c := f.client
	c.Network = ""
	for i := range 20 {
		if _, err := f.FinishSignIn(t.Context(), c, secret.NewString("x"), nil); !errors.Is(err, signin.ErrExpired) {
			t.Fatalf("attempt %d = %v; want %v", i+1, err, signin.ErrExpired)
		}
	}
	if _, err := f.BeginSignIn(t.Context(), c); !errors.Is(err, &signin.BlockedError{}) {
		t.Errorf("after 20 failures = %v; want a BlockedError", err)
	}
	if _, err := f.BeginSignIn(t.Context(), f.client); err != nil {
		t.Errorf("a known address = %v", err)
	}
}

// TestAConfirmationNeedsNoUserHandle: an authenticator may leave the handle out if the options
// list its passkey. A sign-in still needs it, and the passkey must be the operator's.
func TestAConfirmationNeedsNoUserHandle(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	without := func(a *passkeytest.Answer) { a.UserHandle = nil }
	key, session := f.enroll("ada", "")
	other, _ := f.enroll("eve", "")
	c := f.at(session)
	b, _ := f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, c, b.Token, other.Get(t, b.Options, without)); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("Confirm with the passkey of another operator = %v; want %v", err, signin.ErrRefused)
	}
	b, _ = f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, c, b.Token, key.Get(t, b.Options, without)); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	if _, err := f.signIn(key, without); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("sign in without a handle = %v; want %v", err, signin.ErrRefused)
	}
}

func TestConfirmationMakesTheSessionFresh(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	key, session := f.enroll("ada", "")
	other, others := f.enroll("eve", "")
	f.clock.Advance(10 * minute)
	c := f.at(session)
	if _, err := f.BeginPasskey(ctx, c); !errors.Is(err, signin.ErrStale) {
		t.Errorf("BeginPasskey in a stale session = %v; want %v", err, signin.ErrStale)
	}
	if err := f.RemoveOwnPasskey(ctx, c, key.ID); !errors.Is(err, signin.ErrStale) {
		t.Errorf("RemoveOwnPasskey in a stale session = %v; want %v", err, signin.ErrStale)
	}
	b, _ := f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, c, b.Token, other.Get(t, b.Options)); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("Confirm with the passkey of another operator = %v; want %v", err, signin.ErrRefused)
	}
	b, _ = f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, f.at(others), b.Token, key.Get(t, b.Options)); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("Confirm in another session = %v; want %v", err, signin.ErrExpired)
	}
	b, _ = f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, c, b.Token, key.Get(t, b.Options)); err != nil {
		t.Fatalf("Confirm = %v", err)
	}
	who, err := f.Identify(ctx, session)
	if err != nil || !who.FreshUntil.Equal(f.clock.Now().Add(5*minute)) {
		t.Errorf("Identify = %+v, %v; want it fresh for 5 minutes", who, err)
	}
	if who, _ := f.Identify(ctx, others); !who.FreshUntil.Before(f.clock.Now()) {
		t.Error("another session became fresh")
	}
}

func TestFurtherPasskeys(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	first, session := f.enroll("ada", "")
	c := f.at(session)
	if err := f.RemoveOwnPasskey(ctx, c, first.ID); !errors.Is(err, signin.ErrLastPasskey) {
		t.Errorf("RemoveOwnPasskey of the only one = %v; want %v", err, signin.ErrLastPasskey)
	}
	b, err := f.BeginPasskey(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Options, []byte(`"excludeCredentials":[{`)) {
		t.Errorf("the options exclude no passkey: %s", b.Options)
	}
	second, response := passkeytest.Create(t, b.Options, origin)
	for _, name := range []string{"", "  ", strings.Repeat("x", 65), "two\nlines", "\xff"} {
		if err := f.FinishPasskey(ctx, c, b.Token, name, response); !errors.Is(err, signin.ErrName) {
			t.Errorf("a passkey with the name %q = %v; want %v", name, err, signin.ErrName)
		}
	}
	if err := f.FinishPasskey(ctx, c, b.Token, " Phone ", response); err != nil {
		t.Fatal(err)
	}
	elsewhere := f.mustSignIn(second)
	_, evesSession := f.enroll("eve", "")
	if err := f.RemoveOwnPasskey(ctx, f.at(evesSession), second.ID); !errors.Is(err, signin.ErrNotFound) {
		t.Errorf("RemoveOwnPasskey of another operator's = %v; want %v", err, signin.ErrNotFound)
	}
	if err := f.RemoveOwnPasskey(ctx, c, second.ID); err != nil {
		t.Fatal(err)
	}
	f.want(elsewhere, signin.ErrSignedOut)
	f.want(session, nil)
	if _, err := f.signIn(second); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a removed passkey = %v; want %v", err, signin.ErrRefused)
	}
}

func TestKnownPasskeyIsNotRegisteredAgain(t *testing.T) {
	f := newFixture(t)
	link := f.link("ada", "")
	b, _ := f.BeginEnrollment(t.Context(), f.client, link)
	_, response := passkeytest.Create(t, b.Options, origin)
	if _, err := f.FinishEnrollment(t.Context(), f.client, b.Token, "key", response); err != nil {
		t.Fatal(err)
	}
	// The same response cannot match another challenge; a passkey with a stored id must not
	// replace the stored one either.
	link = f.link("eve", "")
	b, _ = f.BeginEnrollment(t.Context(), f.client, link)
	if _, err := f.FinishEnrollment(t.Context(), f.client, b.Token, "key", response); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a replayed registration = %v; want %v", err, signin.ErrRefused)
	}
	if n := len(f.account("eve").Passkeys); n != 0 {
		t.Errorf("eve has %d passkeys; want 0", n)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFixture(t)
	key, _ := f.enroll("ada", "")
	from := len(f.events(0))
	fail := func(c signin.Client) error {
		_, err := f.FinishSignIn(t.Context(), c, secret.NewString("guess"), nil)
		return err
	}
	for i := range 20 {
		if err := fail(f.client); !errors.Is(err, signin.ErrExpired) {
			t.Fatalf("failure %d = %v", i+1, err)
		}
	}
	blocked, ok := errors.AsType[*signin.BlockedError](fail(f.client))
	if !ok || !blocked.Until.Equal(f.clock.Now().Add(15*minute)) {
		t.Errorf("failure 21 = %v; want it blocked for 15 minutes", blocked)
	}
	if _, err := f.signIn(key); !isBlocked(err) {
		t.Errorf("a good passkey from the blocked address = %v", err)
	}
	if _, err := f.BeginEnrollment(t.Context(), f.client, f.link("eve", "")); !isBlocked(err) {
		t.Errorf("a good link from the blocked address = %v", err)
	}
	got := f.events(from)
	if got[19] != "sign_in_failed too_many_attempts by " || strings.Contains(strings.Join(got[20:], " "), "failed") {
		t.Errorf("the events are %q; want one that tells of the limit, and none after it", got)
	}
	// The failures of other addresses block no further address. After 500 in all, no event is recorded.
	for i := 20; i < 600; i++ {
		c := f.client
		c.Network = fmt.Sprintf("198.51.100.%d", i/10)
		if err := fail(c); !errors.Is(err, signin.ErrExpired) {
			t.Fatalf("failure %d = %v", i+1, err)
		}
	}
	if n := strings.Count(strings.Join(f.events(from), "\n"), "sign_in_failed"); n != 500 {
		t.Errorf("600 failures left %d events; want 500", n)
	}
	blockedAddress := f.client
	f.client.Network = "203.0.113.9"
	f.mustSignIn(key)
	f.client = blockedAddress
	f.clock.Advance(15 * minute)
	f.mustSignIn(key)
	from = len(f.events(0))
	if err := fail(f.client); !errors.Is(err, signin.ErrExpired) || len(f.events(from)) != 1 {
		t.Errorf("a failure after 15 minutes = %v with the events %q; want one", err, f.events(from))
	}
}

func isBlocked(err error) bool {
	_, ok := errors.AsType[*signin.BlockedError](err)
	return ok
}

func TestStartsAreBoundedAndExpiredOnesRemoved(t *testing.T) {
	f := newFixture(t)
	for i := range 100 {
		if _, err := f.BeginSignIn(t.Context(), f.client); err != nil {
			t.Fatalf("start %d = %v", i+1, err)
		}
	}
	if _, err := f.BeginSignIn(t.Context(), f.client); !isBlocked(err) {
		t.Errorf("start 101 = %v; want it blocked", err)
	}
	f.clock.Advance(15 * minute)
	for range 6 {
		if _, err := f.BeginSignIn(t.Context(), f.client); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.ViewSignIn(t.Context(), func(r signin.Reader) error {
		left, err := r.Tickets(signin.KindCeremony, "")
		if len(left) != 6 {
			t.Errorf("%d ceremonies are stored; want 6", len(left))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWrongNamesOfOperators(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"", " ada", "a/b", strings.Repeat("x", 65), "line\nbreak"} {
		if _, err := f.CreateLink(t.Context(), root, name, ""); err == nil {
			t.Errorf("an operator with the name %q was made", name)
		}
	}
	if _, err := f.CreateLink(t.Context(), root, "ada", "owner"); err == nil {
		t.Error("an operator with the role owner was made")
	}
	if _, err := f.CreateLink(t.Context(), operator.By{}, "ada", ""); err == nil {
		t.Error("a link was made by an operator without a name")
	}
	if all, err := f.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the operators are %+v, %v", all, err)
	}
}

func TestSecretsAreStoredAsHashes(t *testing.T) {
	f := newFixture(t)
	link := f.link("ada", "")
	_, session := f.enroll("eve", "")
	if err := f.store.ViewSignIn(t.Context(), func(r signin.Reader) error {
		for _, kind := range []signin.Kind{signin.KindLink, signin.KindSession} {
			all, err := r.Tickets(kind, "")
			if err != nil {
				return err
			}
			for _, ticket := range all {
				text := fmt.Sprintf("%s %s", ticket.Hash, ticket.Data)
				if strings.Contains(text, link.Reveal()) || strings.Contains(text, session.Reveal()) {
					t.Errorf("a %s is stored with its secret", kind)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
