// Package httpapi is the face for applications: it decodes requests, authenticates their
// callers, calls the domain and encodes its results. It contains no rules.
//
// Start reading at the list of routes in api.go. Each handler decodes a request, makes
// one call and responds. The names on the wire are in factors.go and challenges.go for
// requests, in shapes.go and kinds.go for answers, and in problems.go for errors. What a
// Mux does around each handler is in package web.
package httpapi
