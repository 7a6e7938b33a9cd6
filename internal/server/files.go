package server

import (
	"runtime"

	"github.com/countersign-mfa/countersign/internal/admission"
)

// connectionsWithin returns how many connections a server may keep with the given
// limit on open files (0 if unknown): at most most, at least one. With more, the
// server could not accept excess connections at all, not even to refuse them.
func connectionsWithin(files uint64, most int) int {
	// The store has up to four for each processor; the 64 are for all else.
	others := 64 + 4*runtime.GOMAXPROCS(0) + admission.Spare
	if files == 0 || files >= uint64(others+most) {
		return most
	}
	return max(1, int(files)-others)
}
