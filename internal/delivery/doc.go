// Package delivery decides about the messages that carry codes: to which numbers they may
// go, how many, and in which words. It sends them, and reads what providers report.
//
// A message has a channel and an address. The only channel today is SMS, whose addresses
// are phone numbers. The code of a message is passed on next to its text, for channels that
// speak the code, or whose provider has the template.
//
// # Where to start
//
// Policy (policy.go) has the checked rules of all environments. A message takes the
// following steps. The package decides; package mfa, which imports it, reads and writes the
// rows, and stores the message in its challenge. So each step that needs the database is
// one Update of package mfa, in one bucket:
//
//   - Plan: Policy.Destination (destination.go) says where the message goes, or why it may
//     not be sent, and Policy.Text (rules.go) returns its text.
//   - Reserve: Policy.Reserve (policy.go) counts the message in the limit of its address
//     (limit.go) and in the counters of its environment (counter.go).
//   - Send: Policy.Send (send.go) hands the message to a Sender. Package sms has the router
//     over the providers.
//   - Settle: the message is recorded in its challenge (Record, record.go). If it was not
//     sent, Policy.Uncount gives back its count.
//
// Later, a Receipt of the provider changes the state of the Record (receipt.go).
package delivery
