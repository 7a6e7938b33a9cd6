// Package stats counts events per hour and answers questions about the counts.
//
// Requests do not count anything: a Counter follows the order of events (package events) in
// the background and adds them to rows, one for each environment, series and hour. The
// position up to which events are counted changes in the same transaction as the rows, and
// only from the position that the counter started at. So each event is counted exactly once,
// on any number of nodes, also if a process is killed.
//
// The same package counts users by the factors that they have, in a slow walk over all
// factors (coverage.go).
//
// Start reading at classify.go, which lists the counts, and then at counter.go. A Reader
// answers queries. The stores implement Store.
package stats
