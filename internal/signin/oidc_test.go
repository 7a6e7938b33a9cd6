package signin_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
)

var grace = signin.Identity{Issuer: "https://id.example.com", Subject: "7", Name: "grace", Role: access.RoleSupport}

// visit signs a person in at the identity provider.
func (f *fixture) visit(c signin.Client, who signin.Identity, confirm bool) (secret.String, error) {
	f.t.Helper()
	a, err := f.BeginOIDC(f.t.Context(), c, "/console/events", confirm)
	if err != nil {
		return secret.String{}, err
	}
	resumed, err := f.node().ResumeOIDC(f.t.Context(), c, a.Token, a.State)
	if err != nil {
		f.t.Fatal(err)
	}
	if resumed.Nonce != a.Nonce || resumed.Verifier != a.Verifier || resumed.Back != "/console/events" || resumed.Confirm != confirm {
		f.t.Errorf("ResumeOIDC = %+v; want what began", resumed)
	}
	return f.FinishOIDC(f.t.Context(), c, resumed, who)
}

func TestProviderDecidesTheRole(t *testing.T) {
	f := newFixture(t)
	session, err := f.visit(f.client, grace, false)
	if err != nil {
		t.Fatal(err)
	}
	who, err := f.Identify(t.Context(), session)
	if err != nil || who.Operator.Name != "grace" || who.Operator.Role != access.RoleSupport || !who.FreshUntil.Before(f.clock.Now()) {
		t.Errorf("Identify = %+v, %v; want a support that is not fresh", who, err)
	}
	admin := grace
	admin.Role, admin.Name = access.RoleAdmin, "another name"
	again, err := f.visit(f.client, admin, false)
	if err != nil {
		t.Fatal(err)
	}
	if who, _ := f.Identify(t.Context(), again); who.Operator.Name != "grace" || who.Operator.Role != access.RoleAdmin {
		t.Errorf("Identify = %+v; want grace as admin", who)
	}
	gone := grace
	gone.Role = ""
	if _, err := f.visit(f.client, gone, false); !errors.Is(err, signin.ErrNoRole) {
		t.Errorf("a person without a role = %v; want %v", err, signin.ErrNoRole)
	}
	f.want(session, signin.ErrSignedOut)
	f.want(again, signin.ErrSignedOut)
	if err := f.SetRole(t.Context(), root, "grace", access.RoleAdmin); !errors.Is(err, signin.ErrExternal) {
		t.Errorf("SetRole = %v; want %v", err, signin.ErrExternal)
	}
	if _, err := f.CreateLink(t.Context(), root, "grace", ""); !errors.Is(err, signin.ErrExternal) {
		t.Errorf("CreateLink = %v; want %v", err, signin.ErrExternal)
	}
	f.wantEvents(0, "created support by grace", "signed_in oidc by grace", "role_changed grace: admin by grace", "signed_in oidc by grace", "sign_in_failed no_role by grace")
}

func TestRefusedPersonsOfTheProvider(t *testing.T) {
	f := newFixture(t)
	f.enroll("ada", access.RoleAdmin)
	if _, err := f.visit(f.client, grace, false); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		who  signin.Identity
		want error
	}{
		{"the name of an operator with passkeys", signin.Identity{Issuer: grace.Issuer, Subject: "8", Name: "ada", Role: access.RoleAdmin}, signin.ErrNameTaken},
		{"the name of another person", signin.Identity{Issuer: grace.Issuer, Subject: "8", Name: "grace", Role: access.RoleAdmin}, signin.ErrNameTaken},
		{"the subject at another issuer", signin.Identity{Issuer: "https://evil.example", Subject: "7", Name: "grace", Role: access.RoleAdmin}, signin.ErrNameTaken},
		{"no name", signin.Identity{Issuer: grace.Issuer, Subject: "9", Role: access.RoleAdmin}, signin.ErrRefused},
		{"a name that events cannot have", signin.Identity{Issuer: grace.Issuer, Subject: "9", Name: "<b>", Role: access.RoleAdmin}, signin.ErrRefused},
		{"no role", signin.Identity{Issuer: grace.Issuer, Subject: "9", Name: "bob"}, signin.ErrNoRole},
	} {
		if session, err := f.visit(f.client, tc.who, false); !errors.Is(err, tc.want) || session.Reveal() != "" {
			t.Errorf("%s: %v; want %v", tc.name, err, tc.want)
		}
	}
	if err := f.Disable(t.Context(), root, "grace"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.visit(f.client, grace, false); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a disabled operator = %v; want %v", err, signin.ErrRefused)
	}
	if all, err := f.Accounts(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("the operators are %+v, %v; want 2", all, err)
	}
}

func TestAnswerOfTheProviderBelongsToTheBrowser(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	mine, err := f.BeginOIDC(ctx, f.client, "/console", false)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := f.BeginOIDC(ctx, f.client, "/console", false)
	if _, err := f.ResumeOIDC(ctx, f.client, mine.Token, other.State); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("the state of another browser = %v; want %v", err, signin.ErrExpired)
	}
	if _, err := f.ResumeOIDC(ctx, f.client, mine.Token, mine.State); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("a second answer = %v; want %v", err, signin.ErrExpired)
	}
	for _, state := range []string{"", "x"} {
		another, _ := f.BeginOIDC(ctx, f.client, "/console", false)
		if _, err := f.ResumeOIDC(ctx, f.client, another.Token, state); !errors.Is(err, signin.ErrExpired) {
			t.Errorf("the state %q = %v; want %v", state, err, signin.ErrExpired)
		}
	}
	if _, err := f.ResumeOIDC(ctx, f.client, secret.String{}, other.State); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("an answer without a cookie = %v; want %v", err, signin.ErrExpired)
	}
	f.clock.Advance(5 * minute)
	if _, err := f.ResumeOIDC(ctx, f.client, other.Token, other.State); !errors.Is(err, signin.ErrExpired) {
		t.Errorf("an answer after 5 minutes = %v; want %v", err, signin.ErrExpired)
	}
}

func TestProviderConfirms(t *testing.T) {
	f := newFixture(t)
	session, err := f.visit(f.client, grace, false)
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(10 * minute)
	c := f.at(session)
	now := f.clock.Now()
	for _, tc := range []struct {
		name string
		at   time.Time
		as   string
		want error
	}{
		{"without a time", time.Time{}, "7", signin.ErrRefused},
		{"with an old sign-in", now.Add(-2 * minute), "7", signin.ErrRefused},
		{"as another person", now, "8", signin.ErrRefused},
		{"now", now, "7", nil},
	} {
		who := grace
		who.AuthTime, who.Subject = tc.at, tc.as
		opened, err := f.visit(c, who, true)
		if !errors.Is(err, tc.want) || opened.Reveal() != "" {
			t.Errorf("%s: %v; want %v", tc.name, err, tc.want)
		}
		got, err := f.Identify(t.Context(), session)
		if err != nil || got.FreshUntil.After(now) != (tc.want == nil) {
			t.Errorf("%s: the session is %+v, %v", tc.name, got, err)
		}
	}
	if _, err := f.visit(f.client, grace, true); !errors.Is(err, signin.ErrSignedOut) {
		t.Errorf("without a session = %v; want %v", err, signin.ErrSignedOut)
	}
}

// TestConfirmingAtTheProviderAdoptsTheRole: the groups of a person may have changed since the
// session began.
func TestConfirmingAtTheProviderAdoptsTheRole(t *testing.T) {
	f := newFixture(t)
	session, err := f.visit(f.client, grace, false)
	if err != nil {
		t.Fatal(err)
	}
	viewer := grace
	viewer.Role, viewer.AuthTime = access.RoleViewer, f.clock.Now()
	if _, err := f.visit(f.at(session), viewer, true); err != nil {
		t.Fatal(err)
	}
	if who, err := f.Identify(t.Context(), session); err != nil || who.Operator.Role != access.RoleViewer {
		t.Errorf("after a group was left, Identify = %+v, %v; want a viewer", who, err)
	}
	gone := viewer
	gone.Role = ""
	if _, err := f.visit(f.at(session), gone, true); !errors.Is(err, signin.ErrNoRole) {
		t.Errorf("confirm after all groups were left = %v; want %v", err, signin.ErrNoRole)
	}
	f.want(session, signin.ErrSignedOut)
	f.wantEvents(2, "role_changed grace: viewer by grace", "confirmed oidc by grace", "sign_in_failed no_role by grace")
}

// TestPasskeyOfAnExternalOperatorOnlyConfirms: a person who has left the groups must not get
// in with a passkey.
func TestPasskeyOfAnExternalOperatorOnlyConfirms(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	session, err := f.visit(f.client, grace, false)
	if err != nil {
		t.Fatal(err)
	}
	c := f.at(session)
	if _, err := f.BeginConfirmation(ctx, c); !errors.Is(err, signin.ErrNotFound) {
		t.Errorf("BeginConfirmation without a passkey = %v; want %v", err, signin.ErrNotFound)
	}
	who := grace
	who.AuthTime = f.clock.Now()
	if _, err := f.visit(c, who, true); err != nil {
		t.Fatal(err)
	}
	b, err := f.BeginPasskey(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	key, response := passkeytest.Create(t, b.Options, origin)
	if err := f.FinishPasskey(ctx, c, b.Token, "key", response); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(10 * minute)
	b, _ = f.BeginConfirmation(ctx, c)
	if err := f.Confirm(ctx, c, b.Token, key.Get(t, b.Options)); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	if _, err := f.signIn(key); !errors.Is(err, signin.ErrExternal) {
		t.Errorf("sign in with the passkey = %v; want %v", err, signin.ErrExternal)
	}
}
