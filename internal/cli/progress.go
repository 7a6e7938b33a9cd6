package cli

import (
	"os"

	"github.com/countersign-mfa/countersign/internal/progress"
)

// progress returns a Reporter of long work, which writes to standard error.
func (c console) progress(unit progress.Unit) *progress.Reporter {
	return progress.New(c.err, isTerminal(c.err) && os.Getenv("TERM") != "dumb", unit, c.now)
}
