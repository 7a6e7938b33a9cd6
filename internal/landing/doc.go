// Package landing serves the first page of 'countersign dev': its address, its key, and
// programs to begin with.
package landing
