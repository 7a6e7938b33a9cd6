// Package idempotency makes an operation happen once, although a client sends its
// request several times: the first outcome is recorded, and later requests get the
// recorded answer.
//
// # The life of a request
//
//   - A face reads the Idempotency-Key header with New. The result is a Request: a hash of
//     the key within its Scope, a hash of the body, and how to encode an answer.
//   - The operation calls Begin with its Policy. The result is an Operation, which knows
//     the keyed hashes under which the store keeps the Record.
//   - In the transaction of its effect, the operation calls Find with the stored Record. It
//     gets the recorded Answer, an error, or neither: then it carries the request out and
//     stores the Record that Operation.Record returns.
//   - If the scope does not determine the partition of the effect, the operation first
//     stores a Claim in the partition of the key (Operation.NeedsClaim).
//   - While a message is being sent, the record is pending (Operation.Sending): its sender
//     may still remove it. See Record.PendingUntil.
//
// The package decides; package mfa reads and writes the rows.
package idempotency
