package server

import (
	"runtime"
	"testing"

	"github.com/countersign-mfa/countersign/internal/admission"
)

func TestConnectionsWithin(t *testing.T) {
	others := uint64(64 + 4*runtime.GOMAXPROCS(0) + admission.Spare)
	for _, tc := range []struct {
		files      uint64
		most, want int
	}{
		{0, 4096, 4096},
		{1 << 63, 4096, 4096},
		{others + 4096, 4096, 4096},
		{others + 4095, 4096, 4095},
		{others + 1, 4096, 1},
		{others, 4096, 1},
		{3, 4096, 1},
	} {
		if got := connectionsWithin(tc.files, tc.most); got != tc.want {
			t.Errorf("connectionsWithin(%d, %d) = %d; want %d", tc.files, tc.most, got, tc.want)
		}
	}
}
