package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestTheStatusOfARotation goes through a rotation of the keyset of a store with one factor.
func TestTheStatusOfARotation(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
	if w := post(s, sandboxKey(t, s), "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Acme","totp_user":"ada"}`); w.Code != http.StatusCreated {
		t.Fatalf("enroll: %d %s", w.Code, w.Body)
	}
	keys, err := secret.ReadKeysetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(step func(*secret.Keyset) (*secret.Keyset, error)) {
		t.Helper()
		if keys, err = step(keys); err != nil {
			t.Fatal(err)
		}
		if err := secret.WriteKeysetFile(path, keys); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reseal := func() {
		t.Helper()
		if err := s.Reseal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name     string
		do       func()
		states   string // of the seal keys
		need     int    // rows of factors
		resealed bool
		next     string
	}{
		{"new", func() {}, "primary", 0, true, "nothing"},
		{"added", func() { rotate((*secret.Keyset).Add) }, "primary waiting", 0, true, "keyset promote"},
		{"promoted", func() { rotate((*secret.Keyset).Promote) }, "old primary", 1, false, "they seal old rows again"},
		{"resealed", reseal, "old primary", 0, true, "run 'countersign keyset retire'"},
		{"retired", func() { rotate((*secret.Keyset).Retire) }, "primary", 0, true, "nothing"},
	} {
		step.do()
		reported := 0
		status, err := server.StatusOfKeyset(t.Context(), cfg, true, func(string, int) { reported++ })
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var states []string
		rows := 0
		for _, key := range status.Keys {
			if key.Use == secret.UseSeal {
				states = append(states, key.State)
				rows += *key.Rows
			}
			if (key.Rows == nil) != (key.Use == secret.UseIndex || key.Use == secret.UseSign) {
				t.Errorf("%s: %+v", step.name, key)
			}
		}
		if got := strings.Join(states, " "); got != step.states {
			t.Errorf("%s: seal keys %q; want %q", step.name, got, step.states)
		}
		if status.Rows.ByKind["factors"] != step.need || !status.Rows.All || rows == 0 || reported == 0 {
			t.Errorf("%s: rows %+v, %d of them sealed; want %d factors that need an old key", step.name, status.Rows, rows, step.need)
		}
		if status.Resealed != step.resealed || !strings.Contains(status.Next, step.next) {
			t.Errorf("%s: resealed %t, next %q; want %t, %q", step.name, status.Resealed, status.Next, step.resealed, step.next)
		}
	}
}

// TestAStatusNamesANodeWithAnotherKeyset changes the file of a keyset, and gives it to the server
// only then.
func TestAStatusNamesANodeWithAnotherKeyset(t *testing.T) {
	cfg := configIn(t.TempDir())
	s := start(t, cfg)
	s.Beat(t.Context())
	read := func() server.KeysetStatus {
		t.Helper()
		status, err := server.StatusOfKeyset(t.Context(), cfg, true, func(string, int) {})
		if err != nil {
			t.Fatal(err)
		}
		if len(status.Nodes) != 1 {
			t.Fatalf("nodes = %+v; want one", status.Nodes)
		}
		return status
	}
	before := read()
	if !before.Nodes[0].Current || before.Nodes[0].Key != before.Keys[0].ID {
		t.Errorf("the node is %+v; want the keyset %+v", before.Nodes[0], before.Keys)
	}
	path := strings.TrimPrefix(cfg.Store, "sqlite:") + ".keyset"
	keys, err := secret.ReadKeysetFile(path)
	if err == nil {
		keys, err = keys.Add()
	}
	if err == nil {
		err = secret.WriteKeysetFile(path, keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	if status := read(); status.Nodes[0].Current || !strings.Contains(status.Next, "has another one") {
		t.Errorf("before SIGHUP: %+v, next %q", status.Nodes, status.Next)
	}
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := read(); !status.Nodes[0].Current || !strings.Contains(status.Next, "keyset promote") {
		t.Errorf("after SIGHUP: %+v, next %q", status.Nodes, status.Next)
	}
}
