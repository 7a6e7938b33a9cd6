package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
)

// TestWhoMayDoWhat is the whole table a second time, so a change of it is seen in review.
func TestWhoMayDoWhat(t *testing.T) {
	// v, s, a: the roles. A: api, E: events:read, R: operator:read, W: operator:write.
	want := map[access.Permission]string{
		access.Public:             "vsa AERW",
		access.ReadSelf:           "vsa RW",
		access.CallAPI:            " A",
		access.ReadEnvironments:   "vsa RW",
		access.ReadStatistics:     "vsa RW",
		access.ReadMessages:       "vsa RW",
		access.ReadEvents:         "vsa ERW",
		access.ReadPeople:         "vsa RW",
		access.ReadWebhooks:       "vsa RW",
		access.ReadKeys:           "vsa RW",
		access.ReadOperators:      "vsa RW",
		access.ReadSystem:         "vsa RW",
		access.ActOnPeople:        "sa W",
		access.BypassCodes:        "sa W",
		access.DeleteData:         "a W",
		access.ManageMessages:     "a W",
		access.ManageWebhooks:     "a W",
		access.ManageKeys:         "a W",
		access.ManageEnvironments: "a W",
		access.ManageSettings:     "a W",
		access.ManageOperators:    "a W",
	}
	letters := map[access.Scope]string{access.ScopeAPI: "A", access.ScopeEventsRead: "E", access.ScopeOperatorRead: "R", access.ScopeOperatorWrite: "W"}
	names := map[string]bool{}
	for p := range access.Permissions {
		got := ""
		for _, r := range access.Roles() {
			if r.Allows(p) {
				got += string(r[:1])
			}
		}
		got += " "
		for _, s := range access.AllScopes() {
			if access.ScopesOf(s).Allows(p) {
				got += letters[s]
			}
		}
		if w, ok := want[p]; !ok || got != w {
			t.Errorf("%v is allowed to %q; want %q", p, got, w)
		}
		if name := p.String(); name == "" || names[name] {
			t.Errorf("the name %q of permission %d is missing or taken", name, p)
		} else {
			names[name] = true
		}
	}
	if len(names) != len(want) {
		t.Errorf("there are %d permissions; want %d", len(names), len(want))
	}
}

func TestUnknownNamesAllowNothing(t *testing.T) {
	for p := range access.Permissions {
		for _, r := range []access.Role{"", "root", "Admin"} {
			if r.Allows(p) {
				t.Errorf("the role %q allows %v", r, p)
			}
		}
		if access.Scopes(0).Allows(p) || access.Scopes(0xf0).Allows(p) {
			t.Errorf("a set without scopes allows %v", p)
		}
	}
	for _, p := range []access.Permission{0, 200, 255} {
		if access.RoleAdmin.Allows(p) || access.Scopes(0xff).Allows(p) {
			t.Errorf("%v is allowed", p)
		}
	}
	if _, err := access.ParseRole("root"); err == nil || !strings.Contains(err.Error(), "admin") {
		t.Errorf("ParseRole = %v; want an error that lists the roles", err)
	}
	if _, err := access.ParseScope("operator"); err == nil || !strings.Contains(err.Error(), "operator:read") {
		t.Errorf("ParseScope = %v; want an error that lists the scopes", err)
	}
}

func TestScopes(t *testing.T) {
	set := access.ScopesOf(access.ScopeEventsRead, access.ScopeAPI)
	if got := set.List(); !slices.Equal(got, []access.Scope{access.ScopeAPI, access.ScopeEventsRead}) {
		t.Errorf("List = %q", got)
	}
	if got := set.String(); got != "api events:read" {
		t.Errorf("String = %q", got)
	}
	for _, s := range access.AllScopes() {
		if parsed, err := access.ParseScope(string(s)); err != nil || parsed != s {
			t.Errorf("ParseScope(%q) = %q, %v", s, parsed, err)
		}
	}
}

func TestDeniedErrorsNameWhatIsMissing(t *testing.T) {
	both := []access.Permission{access.CallAPI, access.ReadEvents}
	for _, tc := range []struct {
		err  error
		want access.Scope
	}{
		{access.ScopesOf(access.ScopeAPI).Need(both...), access.ScopeEventsRead},
		{access.ScopesOf(access.ScopeEventsRead).Need(both...), access.ScopeAPI},
		{access.ScopesOf(access.ScopeOperatorRead).Need(access.ManageKeys), access.ScopeOperatorWrite},
		{access.RoleViewer.Need(access.ReadPeople, access.ActOnPeople), access.ScopeOperatorWrite},
	} {
		denied, ok := errors.AsType[*access.DeniedError](tc.err)
		if !ok || denied.Scope() != tc.want || !errors.Is(tc.err, access.ErrDenied) {
			t.Errorf("Need = %v; want one that names %s", tc.err, tc.want)
		}
	}
	if err := access.ScopesOf(access.ScopeAPI, access.ScopeEventsRead).Need(both...); err != nil {
		t.Errorf("Need = %v", err)
	}
	if err := access.RoleSupport.Need(access.ReadPeople, access.ActOnPeople); err != nil {
		t.Errorf("Need = %v", err)
	}
}
