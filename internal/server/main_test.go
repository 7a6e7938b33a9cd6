package server_test

import (
	"os"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.RemoveShared()
	os.Exit(code)
}
