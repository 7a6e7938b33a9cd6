package server_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/server"
)

func TestStoreMustExist(t *testing.T) {
	for name, store := range map[string]string{
		"SQLite":     "sqlite:" + filepath.Join(t.TempDir(), "countersign.db"),
		"PostgreSQL": pgtest.Shared(t).Database(t),
	} {
		t.Run(name, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			if s, err := server.OpenExisting(t.Context(), store, log); err == nil || !strings.Contains(err.Error(), "there is no store") {
				t.Fatalf("OpenExisting = %v, %v; want an error", s, err)
			}
			s, err := server.OpenStore(t.Context(), store, log)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = server.OpenExisting(t.Context(), store, log); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
