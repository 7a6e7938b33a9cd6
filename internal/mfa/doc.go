// Package mfa has the rules of authentication factors and challenges: which factors a
// client may enroll, when a code may be tried, and how often. Package delivery has the rules
// of the messages that carry codes. Both know neither HTTP nor SQL nor JSON.
//
// # Where to start
//
// Service (service.go) has one method for each operation. Its rows and the transactions on
// them are in store.go: an operation reads rows with a Read, decides, and puts Writes into
// a Tx. The rules of one kind of factor are in kind_totp.go, kind_sms.go and
// kind_generic.go, behind the interface of kind.go.
//
// # The life of a challenge
//
//  1. Enroll (enroll.go) creates a factor: its kind checks the parameters and seals the
//     secret or phone number.
//  2. Service.Challenge (issue.go) draws a code and creates a Challenge. The kind of the
//     factor decides how to check a response: with the shared secret for totp, with a MAC of the
//     code for the others.
//  3. The message of an sms factor takes the steps of send.go: look at the factor in a View,
//     plan the message, reserve it (count it against the limits of its phone number and
//     environment), store it with the challenge, send it, and settle
//     it. Reserving, storing and settling are one Update each, in different buckets; a
//     message with receipts needs a fourth, which refers the provider's id to the
//     challenge. If it cannot be sent, the challenge is deleted. Service.Resend sends the
//     same text again, in the same steps. ADR 29 gives the reason for each Update.
//     Package delivery decides in each step, and this package reads and writes the rows.
//  4. Receipts of the provider change the state of the message (receipt.go).
//  5. Service.Verify (verify.go) checks a code. In one transaction it counts the attempt in
//     the challenge, the factor and the user, and appends the events. A right code
//     verifies the challenge once. After too many wrong codes, the challenge, the factor or
//     the user is locked.
//  6. Ten minutes after its creation the challenge expires; a day later Sweep
//     (maintain.go) deletes it.
//
// A request with an idempotency key has its outcome recorded in the same transaction
// (once.go and package idempotency). Every change appends an Event (event.go).
package mfa
