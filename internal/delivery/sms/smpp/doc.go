// Package smpp sends messages to a carrier by SMPP 3.4 and receives its receipts.
//
// Start with Provider in smpp.go, which keeps one connection. A session (session.go) is the
// connection after a bind; pdu.go encodes and decodes its frames, text.go the texts of
// messages, and receipts.go the texts of receipts. Section numbers refer to "Short
// Message Peer to Peer Protocol Specification v3.4".
package smpp
