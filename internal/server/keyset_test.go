package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/operator"
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
		return server.OldKeysUnused(t.Context(), cfg.Store, keys, time.Time{}, time.Now(), func(string, int) {})
	}

	if err := unused(keys); err == nil || !strings.Contains(err.Error(), "1 of factors") {
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

// TestOldKeysStayWhileARequestCanBeRepeated rotates the keyset after a request with an
// idempotency key, whose answer shows the code that is sealed in the row of its challenge.
func TestOldKeysStayWhileARequestCanBeRepeated(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
	key := sandboxKey(t, s)
	var factor struct{ ID string }
	if w := post(s, key, "/auth/factors/enroll", enrollment); json.Unmarshal(w.Body.Bytes(), &factor) != nil || w.Code != http.StatusCreated {
		t.Fatalf("enroll: %d %s", w.Code, w.Body)
	}
	challenge := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/auth/factors/"+factor.ID+"/challenge", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Idempotency-Key", "one")
		s.ServeHTTP(w, r)
		return w
	}
	first := challenge()
	if first.Code != http.StatusCreated {
		t.Fatalf("challenge: %d %s", first.Code, first.Body)
	}
	keys, err := secret.ReadKeysetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err = keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := secret.WriteKeysetFile(path, keys); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Reload(t.Context()), s.Reseal(t.Context())); err != nil {
		t.Fatal(err)
	}
	if again := challenge(); again.Code != first.Code || again.Body.String() != first.Body.String() {
		t.Errorf("again after the rotation: %d %s; want %s", again.Code, again.Body, first.Body)
	}
	for _, tc := range []struct {
		after time.Duration
		want  string // "" means that the old keys may go
	}{
		{0, "1 of challenges"},
		{time.Hour, "1 of challenges"}, // the challenge has expired; its answer is still given again
		{24*time.Hour + time.Minute, ""},
	} {
		err := server.OldKeysUnused(t.Context(), cfg.Store, keys, time.Time{}, time.Now().Add(tc.after), func(string, int) {})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("after %v: %v; want %q", tc.after, err, tc.want)
		}
	}
}

// TestAnOldSigningKeyStaysWhileItsReceiptsAreValid rotates the keyset, as recorded by an event or not.
func TestAnOldSigningKeyStaysWhileItsReceiptsAreValid(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
	keys, err := secret.ReadKeysetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err = keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := secret.WriteKeysetFile(path, keys); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Reload(t.Context()), s.Reseal(t.Context())); err != nil {
		t.Fatal(err)
	}
	refused := func(written, now time.Time) bool {
		t.Helper()
		err := server.OldKeysUnused(t.Context(), cfg.Store, keys, written, now, func(string, int) {})
		if err != nil && !strings.Contains(err.Error(), "receipts that were signed with the old key") {
			t.Fatal(err)
		}
		return err != nil
	}

	now := time.Now()
	for _, tc := range []struct {
		name    string
		written time.Time
		want    bool
	}{
		{"written now", now, true},
		{"written almost an hour ago", now.Add(-time.Hour + time.Second), true},
		{"written an hour ago", now.Add(-time.Hour), false},
	} {
		if got := refused(tc.written, now); got != tc.want {
			t.Errorf("without an event, %s: refused = %t; want %t", tc.name, got, tc.want)
		}
	}
	before := time.Now()
	err = server.WithOperator(t.Context(), cfg, func(o *operator.Service) error {
		return o.KeysetRotated(t.Context(), operator.By{Operator: "ada"}, operator.KeysPromoted)
	})
	if err != nil {
		t.Fatal(err)
	}
	after := time.Now().Add(time.Millisecond)
	longAgo := now.Add(-48 * time.Hour) // as a copy of the file may be dated
	if !refused(longAgo, before.Add(time.Hour-time.Second)) {
		t.Error("within an hour after the recorded promotion the key may go")
	}
	if refused(longAgo, after.Add(time.Hour)) {
		t.Error("an hour after the recorded promotion the key must stay")
	}
	if !refused(after, after.Add(time.Hour-time.Second)) {
		t.Error("within an hour after a later change of the file the key may go")
	}
	retired, err := keys.Retire()
	if err != nil {
		t.Fatal(err)
	}
	if keys = retired; refused(after, after) {
		t.Error("a keyset without an old signing key is refused")
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
		{"backups", func(c *config.Config) { c.BackupDir = "/no/such/directory" }},
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

// TestARotationSealsCertificatesOfOtherNodes rotates the keyset with a server that has no domain. The store has
// values of a node that has one, and of one that has ended within an order.
func TestARotationSealsCertificatesOfOtherNodes(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	for _, name := range []string{"acme account", "acme certificate mfa.example.com", "acme token mfa.example.com"} {
		s.PutSealed(t, name)
	}
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
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
	if err := errors.Join(s.Reload(t.Context()), s.Reseal(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := server.OldKeysUnused(t.Context(), cfg.Store, keys, time.Time{}, time.Now(), func(string, int) {}); err != nil {
		t.Errorf("after rows are resealed: %v", err)
	}
}
