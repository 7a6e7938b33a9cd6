package operatorapi

import "github.com/countersign-mfa/countersign/internal/access"

// A NeededRoute is a route with the permissions that it needs.
type NeededRoute struct {
	Pattern string
	Needs   []access.Permission
}

// Routes lists all routes.
func (a *API) Routes() (all []NeededRoute) {
	for _, r := range a.routes.All() {
		all = append(all, NeededRoute{r.Pattern, r.Needs})
	}
	return all
}

// Describe is describe.
var Describe = describe

// Codes returns the code of every error that the operator API knows.
func Codes() (codes []string) {
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	return codes
}
