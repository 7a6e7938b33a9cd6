package server_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestOneKeysetWins starts three nodes with different keysets on an empty database at
// once, three times.
func TestOneKeysetWins(t *testing.T) {
	for round := range 3 {
		store := pgtest.Shared(t).Database(t)
		var errs [3]error
		start := make(chan struct{})
		var nodes sync.WaitGroup
		for i := range errs {
			cfg := postgresConfig(t) // with a separate keyset
			cfg.Store = store
			nodes.Go(func() {
				<-start
				var s *server.Server
				if s, errs[i] = server.New(t.Context(), cfg, parts(t)); errs[i] == nil {
					s.Close()
				}
			})
		}
		close(start)
		nodes.Wait()
		served := 0
		for _, err := range errs {
			switch {
			case err == nil:
				served++
			case !strings.Contains(err.Error(), "this keyset is not the one"):
				t.Errorf("New = %v; want an error that the keyset is another one", err)
			}
		}
		if served != 1 {
			t.Errorf("round %d: %d nodes served; want 1", round, served)
		}
	}
}

// TestOldKeysAreRetiredWhenNoRowNeedsThem rotates the keyset of a store with one factor.
func TestOldKeysAreRetiredWhenNoRowNeedsThem(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
	if w := post(s, sandboxKey(t, s), "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Acme","totp_user":"ada"}`); w.Code != http.StatusCreated {
		t.Fatalf("enroll: %d %s", w.Code, w.Body)
	}
	before, err := secret.ReadKeysetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := before.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if err := secret.WriteKeysetFile(path, keys); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	unused := func(keys *secret.Keyset) error {
		return server.OldKeysUnused(t.Context(), cfg.Store, keys, time.Now())
	}

	if err := unused(keys); err == nil || !strings.Contains(err.Error(), "1 rows of factors") {
		t.Errorf("before rows are resealed: %v; want an error that counts one factor", err)
	}
	if err := s.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := unused(keys); err != nil {
		t.Errorf("after rows are resealed: %v", err)
	}
	other, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if err := unused(other); err == nil || !strings.Contains(err.Error(), "this keyset is not the one") {
		t.Errorf("the keyset of another store: %v", err)
	}
}

// TestAWrongPathLeavesNothingBehind starts servers that cannot start.
func TestAWrongPathLeavesNothingBehind(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
	}{
		{"certificate", func(c *config.Config) { c.TLSCert, c.TLSKey = "/no/such/cert", "/no/such/key" }},
		{"keyset", func(c *config.Config) { c.Keyset = "file:/no/such/keyset" }},
		{"keyset source", func(c *config.Config) { c.Keyset = "nonsense" }},
		{"SMS providers", func(c *config.Config) { c.SMS = "/no/such/sms.yaml" }},
		{"limit", func(c *config.Config) { c.RateLimit = 0 }},
		{"country", func(c *config.Config) { c.SMSCountries = []string{"USA"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := configIn(dir)
			tc.change(&cfg)
			if s, err := server.New(t.Context(), cfg, parts(t)); err == nil {
				s.Close()
				t.Fatal("the server started")
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("left %v (%v); want no file", entries, err)
			}
		})
	}
}
