// Package sqlite is a store in one SQLite database, for one machine.
//
// One goroutine commits all writes in groups: it runs every waiting write, commits
// once, and then answers all callers. One fsync serves many requests, and each request
// is answered after its commit.
//
// Start reading at Store.Update in rows.go. writer.go commits groups and reader.go
// shares read transactions. table.go makes statements, binds and scans from the
// descriptions in package rows. memory.go keeps recent rows of the writer, files.go
// guards the files, and checkpoint.go moves the log into the database file.
package sqlite
