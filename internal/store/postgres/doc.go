// Package postgres keeps everything in PostgreSQL, for many stateless nodes that share
// one database. Every statement of the request path names one bucket, so a
// hash-distributed PostgreSQL routes it to one shard.
//
// Waiting writes share transactions. A few writers each take the waiting writes, fetch
// all rows that they decide on in one round trip, let each write decide, and send all
// changes with COMMIT in a second round trip.
//
// Start reading at Store.Update in queue.go. From there a write goes through commit.go
// (transactions, conflicts, unknown results), group.go (the statements of a group) and
// txrows.go (the rows of a transaction). table.go makes statements, parameters and scans
// from the descriptions in package rows. view.go serves reads, lanes.go serves the writes
// that wait for locked rows, and stall.go refuses requests while commits are not answered.
package postgres
