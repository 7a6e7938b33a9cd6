package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Permission is something that a caller may do. Each route of a face names the permissions
// that it needs; the zero Permission is not one, so a route without a permission cannot be
// registered.
type Permission uint8

// The permissions.
const (
	_ Permission = iota

	Public   // no caller is needed: sign-in pages, style sheets, probes
	ReadSelf // who the caller is; the caller's own sessions and passkeys

	CallAPI // factors and challenges through the API of applications

	ReadEnvironments // names, kinds and settings of environments
	ReadStatistics   // counts over time, coverage
	ReadMessages     // messages by country, provider and prefix; paused prefixes
	ReadEvents       // events, live or listed
	ReadPeople       // users, their factors, challenges and timelines
	ReadWebhooks     // webhook endpoints and their attempts, without secrets
	ReadKeys         // names, scopes and last use of API keys and operator keys
	ReadOperators    // operators and their roles
	ReadSystem       // nodes, version, store, queues, keyset, certificates

	ActOnPeople // unlock users and factors, suspend and resume factors
	BypassCodes // issue a one-time bypass code

	DeleteData         // delete factors, erase users
	ManageMessages     // release paused prefixes, send test messages
	ManageWebhooks     // create, change, delete, replay; secrets
	ManageKeys         // create and revoke API keys and operator keys
	ManageEnvironments // create environments
	ManageSettings     // change the settings of environments
	ManageOperators    // invite and remove operators, change their roles, end their sessions

	permissionsEnd
)

// A Role is what an operator may do. Each role may do all that the previous one may.
type Role string

// The roles, from the one with the fewest permissions.
const (
	RoleViewer  Role = "viewer"  // reads
	RoleSupport Role = "support" // also helps people: unlocks, suspends, issues bypass codes
	RoleAdmin   Role = "admin"   // may do everything
)

// Roles lists all roles in their order.
func Roles() []Role { return []Role{RoleViewer, RoleSupport, RoleAdmin} }

// A Scope is what a key may do.
type Scope string

// The scopes. API keys have the first two, operator keys the others.
const (
	ScopeAPI           Scope = "api"            // factors and challenges; webhook endpoints, together with events:read
	ScopeEventsRead    Scope = "events:read"    // events
	ScopeOperatorRead  Scope = "operator:read"  // what a viewer may do
	ScopeOperatorWrite Scope = "operator:write" // what an admin may do
)

// AllScopes lists all scopes. Stores keep their positions, so new ones go to the end.
func AllScopes() []Scope {
	return []Scope{ScopeAPI, ScopeEventsRead, ScopeOperatorRead, ScopeOperatorWrite}
}

// noRole is the least role of permissions that no operator has.
const noRole Role = ""

// permissions is the table of who may do what: the name of each permission in answers, the
// least role that has it, and further scopes that have it. A scope of operators has the
// permissions of its role.
var permissions = [permissionsEnd]struct {
	name   string
	least  Role
	scopes []Scope
}{
	Public:   {"public", RoleViewer, []Scope{ScopeAPI, ScopeEventsRead}},
	ReadSelf: {"self:read", RoleViewer, nil},

	CallAPI: {"api:call", noRole, []Scope{ScopeAPI}},

	ReadEnvironments: {"environments:read", RoleViewer, nil},
	ReadStatistics:   {"statistics:read", RoleViewer, nil},
	ReadMessages:     {"messages:read", RoleViewer, nil},
	ReadEvents:       {"events:read", RoleViewer, []Scope{ScopeEventsRead}},
	ReadPeople:       {"people:read", RoleViewer, nil},
	ReadWebhooks:     {"webhooks:read", RoleViewer, nil},
	ReadKeys:         {"keys:read", RoleViewer, nil},
	ReadOperators:    {"operators:read", RoleViewer, nil},
	ReadSystem:       {"system:read", RoleViewer, nil},

	ActOnPeople: {"people:act", RoleSupport, nil},
	BypassCodes: {"bypass_codes:create", RoleSupport, nil},

	DeleteData:         {"data:delete", RoleAdmin, nil},
	ManageMessages:     {"messages:manage", RoleAdmin, nil},
	ManageWebhooks:     {"webhooks:manage", RoleAdmin, nil},
	ManageKeys:         {"keys:manage", RoleAdmin, nil},
	ManageEnvironments: {"environments:manage", RoleAdmin, nil},
	ManageSettings:     {"settings:manage", RoleAdmin, nil},
	ManageOperators:    {"operators:manage", RoleAdmin, nil},
}

// roleOf has the role of each scope of operators.
var roleOf = map[Scope]Role{ScopeOperatorRead: RoleViewer, ScopeOperatorWrite: RoleAdmin}

// granting has, for each permission, the scopes that have it.
var granting = func() (all [permissionsEnd]Scopes) {
	for p := range Permissions {
		for _, s := range AllScopes() {
			if roleOf[s].Allows(p) || slices.Contains(permissions[p].scopes, s) {
				all[p] |= ScopesOf(s)
			}
		}
	}
	return all
}()

// Permissions calls yield for each permission.
func Permissions(yield func(Permission) bool) {
	for p := Public; p < permissionsEnd && yield(p); p++ {
	}
}

// String returns the name of p in answers, such as "people:read".
func (p Permission) String() string {
	if p == 0 || p >= permissionsEnd {
		return fmt.Sprintf("permission %d", uint8(p))
	}
	return permissions[p].name
}

// rank returns the position of a role, from 1, or 0 if r is not a role.
func (r Role) rank() int { return slices.Index(Roles(), r) + 1 }

// Allows reports whether operators with the role r may do p. An unknown role allows nothing.
func (r Role) Allows(p Permission) bool {
	return 0 < p && p < permissionsEnd && permissions[p].least != noRole && r.rank() >= permissions[p].least.rank()
}

// LeastRole returns the least role that may do p. It returns "" if p is not for operators.
func (p Permission) LeastRole() Role { return permissions[p].least }

// ParseRole returns the role of that name.
func ParseRole(name string) (Role, error) {
	if Role(name).rank() == 0 {
		return "", fmt.Errorf("%q is not a role; use viewer, support or admin", name)
	}
	return Role(name), nil
}

// Scopes is a set of scopes.
type Scopes uint8

// ScopesOf returns the set of the given scopes. It panics if one of them is unknown; see
// ParseScope.
func ScopesOf(list ...Scope) (set Scopes) {
	for _, s := range list {
		i := slices.Index(AllScopes(), s)
		if i < 0 {
			panic(fmt.Sprintf("access: %q is not a scope", string(s)))
		}
		set |= 1 << i
	}
	return set
}

// ParseScope returns the scope of that name.
func ParseScope(name string) (Scope, error) {
	if !slices.Contains(AllScopes(), Scope(name)) {
		return "", fmt.Errorf("%q is not a scope; use api, events:read, operator:read or operator:write", name)
	}
	return Scope(name), nil
}

// List returns the scopes of the set in their fixed order.
func (set Scopes) List() []Scope {
	list := []Scope{}
	for i, s := range AllScopes() {
		if set&(1<<i) != 0 {
			list = append(list, s)
		}
	}
	return list
}

// String returns the scopes, separated by spaces.
func (set Scopes) String() string {
	var names []string
	for _, s := range set.List() {
		names = append(names, string(s))
	}
	return strings.Join(names, " ")
}

// Allows reports whether a key with these scopes may do p.
func (set Scopes) Allows(p Permission) bool { return p < permissionsEnd && set&granting[p] != 0 }

// Need returns a *DeniedError for the first of the needed permissions that a key with these
// scopes does not have, and nil if it has all.
func (set Scopes) Need(needed ...Permission) error {
	for _, p := range needed {
		if !set.Allows(p) {
			return &DeniedError{Permission: p}
		}
	}
	return nil
}

// Need returns a *DeniedError for the first of the needed permissions that operators with
// the role r do not have, and nil if they have all.
func (r Role) Need(needed ...Permission) error {
	for _, p := range needed {
		if !r.Allows(p) {
			return &DeniedError{Permission: p}
		}
	}
	return nil
}

// ErrDenied means that a known caller lacks a permission.
var ErrDenied = errors.New("not allowed")

// A DeniedError names the permission that a caller lacks. It matches ErrDenied.
type DeniedError struct{ Permission Permission }

func (e *DeniedError) Error() string { return fmt.Sprintf("not allowed: %v is missing", e.Permission) }

// Is reports whether target is ErrDenied.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// Scope returns the least scope that would allow the caller to do it.
func (e *DeniedError) Scope() Scope {
	for _, s := range AllScopes() {
		if ScopesOf(s).Allows(e.Permission) {
			return s
		}
	}
	return ""
}
