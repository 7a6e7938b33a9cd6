// Package operatorapi is the API of programs that administer Countersign, under /operator/v1.
// Like the commands and the console, it is a face of package operator.
//
// Start reading at routes in routes.go: it lists every route with its permission. The calls
// are in access.go (environments and keys), people.go (users, factors, challenges),
// bypass.go, webhooks.go, events.go, statistics.go and messages.go.
package operatorapi
