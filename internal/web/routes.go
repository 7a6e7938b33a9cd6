package web

import (
	"fmt"
	"slices"
)

// A Route is an entry of the route list of a face: a pattern of http.ServeMux, the
// permissions that a caller needs, all of them, and the handler. P is the type of
// permissions, which this package does not know.
type Route[P comparable, H any] struct {
	Pattern string
	Needs   []P
	Handler H
}

// Routes is the route list of a face. A route cannot be added without a permission. Tests
// compare the list with the table of who may do what.
type Routes[P comparable, H any] struct{ all []Route[P, H] }

// Add adds a route that needs a permission, and further ones. It panics if one of them is the
// zero value, which is not a permission, or if the list has the pattern: both are mistakes in
// the program.
func (l *Routes[P, H]) Add(pattern string, h H, needs P, further ...P) {
	var none P
	all := append([]P{needs}, further...)
	if slices.Contains(all, none) {
		panic(fmt.Sprintf("web: the route %q needs a permission", pattern))
	}
	for _, r := range l.all {
		if r.Pattern == pattern {
			panic(fmt.Sprintf("web: there are two routes %q", pattern))
		}
	}
	l.all = append(l.all, Route[P, H]{pattern, all, h})
}

// All returns the routes in the order in which they were added.
func (l *Routes[P, H]) All() []Route[P, H] { return slices.Clone(l.all) }
