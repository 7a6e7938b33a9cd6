// Package inspection describes a store to a reader that changes nothing in it.
package inspection

import (
	"context"
	"time"

	"github.com/countersign-mfa/countersign/internal/nodes"
)

// A State is the state of a store.
type State struct {
	Exists  bool // whether the store has a schema; if not, only InUse is set
	InUse   bool // SQLite: whether a process has the store open
	Version int  // of the schema
	Known   int  // the newest version that this program knows

	// Meta has the values that were asked for, by their names. A value that is not stored
	// is missing.
	Meta map[string][]byte

	Newest    time.Time // SQLite: when the newest row was made; zero if there is no row, or if Version is not Known
	Restoring bool      // SQLite: whether the next start completes an interrupted restore; nothing else is read then
	ReadOnly  bool      // PostgreSQL: whether the server accepts no writes, as a standby

	Nodes []nodes.Node // up to nodes.Most, those seen last first; nil if Version is not Known

	// Clock reads the clock of the store; nil for a store without a clock.
	Clock func(context.Context) (time.Time, error)
	// Close ends the inspection.
	Close func() error
}
