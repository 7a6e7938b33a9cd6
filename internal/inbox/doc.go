// Package inbox receives text messages in development. Instead of a phone, it has a page
// for people and a JSON document for programs, both at one address.
//
// Start reading at Inbox. It receives messages with Send and shows them with ServeHTTP.
// Package web keeps the scripts of other websites from reading them.
package inbox
