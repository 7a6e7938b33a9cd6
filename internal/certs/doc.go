// Package certs obtains certificates from a certificate authority by ACME (RFC 8555) and renews
// them. The nodes of a store share one account and one certificate for each domain, and one
// node at a time orders. Start with Manager: Run orders and renews, Get answers handshakes.
// record.go keeps the values in the store, order.go speaks to the authority.
package certs
