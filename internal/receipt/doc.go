// Package receipt makes signed receipts of verifications: a JSON Web Signature (RFC 7515) in
// its compact form, with which a service checks that a person has proven possession of a
// factor, without a call to Countersign.
//
// A Request says what a receipt is for. Sign signs the Claims of a verification under the
// primary signing key of the keyset, and Keys is the set of public keys (RFC 7517) that
// verifies receipts. The package signs and does not verify; docs/receipts.md has verifiers.
//
// The signature is ES256 by the standard library and deterministic (RFC 6979), so it can be made in a
// transaction that may run again. Libraries for JSON Web Tokens make random signatures.
package receipt
