// Package sqlite keeps everything in one SQLite database, for one machine.
//
// All writes go through one goroutine that commits in groups: it runs every waiting
// write, commits once, then answers all. One fsync serves many requests, and no request
// is answered before its commit.
//
// Start reading at Store.Update in rows.go. writer.go commits groups and reader.go shares
// read transactions. table.go makes statements, binds and scans from the descriptions in
// package rows. memory.go keeps recent rows of the writer, files.go guards the files, and
// checkpoint.go moves the log into the database file.
package sqlite
