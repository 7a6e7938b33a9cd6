// Package wire has the parts that SMS providers share: it calls the HTTP API of a
// service, turns answers into errors of package sms, and checks options and callbacks.
//
// Start with Exchange, which sends a request, and Codes, the table of what a service's
// error codes mean.
package wire
