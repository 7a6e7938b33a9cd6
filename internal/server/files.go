package server

import (
	"runtime"

	"github.com/countersign-mfa/countersign/internal/admission"
)

// connectionsWithin returns how many connections may be kept while so many files may be
// open, 0 if that is not known: most, or fewer, and at least one. With more than that
// those who come too many would not be let in at all, not even to be told so.
func connectionsWithin(files uint64, most int) int {
	// The store has up to four for each processor; the 64 are for all else.
	others := 64 + 4*runtime.GOMAXPROCS(0) + admission.Spare
	if files == 0 || files >= uint64(others+most) {
		return most
	}
	return max(1, int(files)-others)
}
