package conformance_test

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestWebAuthn registers and uses passkeys in Chromium with its virtual authenticator, against
// nodes over one PostgreSQL.
func TestWebAuthn(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	chromium := testenv.Tool(t, "chromium")
	installed(t, "node", "node_modules")
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	f := &signInFixture{t: t, binary: binary, dir: t.TempDir(), store: pgtest.Shared(t).Database(t)}
	f.command("keyset", "create", "keyset")
	f.command("migrate", "--store", f.store)
	_, first := f.serve()
	_, second := f.serve()
	_, short := f.serve("--challenge-ttl", "3s")
	key := f.command("key", "create", "--env", "staging", "--store", f.store)
	logcapture.Secret(t, key)
	run(t, func(line) {}, "node", []string{
		"COUNTERSIGN_URL=" + first, "COUNTERSIGN_SECOND_URL=" + second, "COUNTERSIGN_SHORT_URL=" + short,
		"COUNTERSIGN_API_KEY=" + key, "COUNTERSIGN_CHROMIUM=" + chromium,
	}, node, "webauthn.mjs")
}
