// Package web is the part of an HTTP server that all faces share: the API, and later
// the operator API and the console. It gives each request an id, turns errors and panics
// into JSON answers, writes one log line per request, reads bodies, and bounds the
// requests in progress.
//
// Start reading at Mux, which a face fills with handlers. A Gate bounds the requests of
// each tenant. Problem is an error on the wire. Listener handles the requests that
// net/http refuses before any handler sees them.
package web
