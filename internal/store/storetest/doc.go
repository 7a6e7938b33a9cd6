// Package storetest tests the promises of stores. Each store runs the same suites from
// its own tests, so the two stores behave in the same way.
//
// Start reading at Run in storetest.go: it lists the promises of mfa.Store, one per
// line, with the test of each. RunAccess in access.go does the same for access.Store,
// and RunMeta in meta.go for named values. rows.go makes the rows for all suites.
package storetest
