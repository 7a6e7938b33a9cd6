// Package smstext handles the text of messages: its length for carriers (Measure), the
// parts of it that phones turn into links (Link), its translations (Templates), and the
// last line that binds a code to a website (OriginBound).
package smstext
