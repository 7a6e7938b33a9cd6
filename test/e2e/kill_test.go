package e2e_test

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// unlocking are flags that keep the failures of a test from locking a factor.
var unlocking = []string{"--rate-limit", "10000000", "--free-failures", "100", "--factor-failures", "100"}

// TestAnsweredWritesSurviveAKill kills the server repeatedly while it serves
// requests.
func TestAnsweredWritesSurviveAKill(t *testing.T) {
	t.Parallel()
	const rounds, customers = 12, 16
	dir := t.TempDir()
	all := newCrowd(t, customers)
	for range rounds {
		p := dev(t, dir, unlocking...)
		all.moveTo(p.api())
		all.audit(t.Context())
		all.liveUntil(t.Context(), 50+rand.IntN(200), p.kill)
		if !pgtest.Chosen() {
			checkCopy(t, dir)
		}
	}
	p := dev(t, dir, unlocking...)
	all.moveTo(p.api())
	all.audit(t.Context())

	cut := all.count(func(c *customer) int { return c.cut })
	if cut < rounds {
		t.Errorf("%d requests were cut off in %d kills: the server was not killed in the middle of its work", cut, rounds)
	}
	t.Logf("%d kills cut off %d requests; %d factors and %d recorded answers hold", rounds, cut,
		all.count(func(c *customer) int { return len(c.factors) }), all.count(func(c *customer) int { return len(c.recorded) }))
}

// checkCopy checks a copy of the database after a kill. The server itself recovers
// the original.
func checkCopy(t *testing.T, dir string) {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"countersign.db", "countersign.db-wal"} {
		copyFile(t, filepath.Join(dir, name), filepath.Join(to, name))
	}
	store, err := sqlite.Open(filepath.Join(to, "countersign.db"), slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context()); err != nil {
		t.Errorf("the database is damaged: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
