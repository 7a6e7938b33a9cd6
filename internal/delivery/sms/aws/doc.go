// Package aws sends messages through AWS End User Messaging SMS or SNS.
//
// Start with Provider.Send in aws.go. sign.go signs its requests, and credentials.go finds and
// renews the keys for this. Provider.Receipts in receipts.go checks the posts of
// an SNS topic, and certificates.go fetches the certificates that this needs.
package aws
