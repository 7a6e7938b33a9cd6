package e2e_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// An enrollment is a factor that the server has acknowledged.
type enrollment struct {
	id, secret string
	answered   time.Time
}

// enrollUntil enrolls TOTP factors from several callers until stop returns true, and returns
// the acknowledged ones.
func enrollUntil(t *testing.T, api *api, stop func() bool) []enrollment {
	t.Helper()
	var mu sync.Mutex
	var all []enrollment
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop() {
				got, err := api.send(t.Context(), "POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Example","totp_user":"ada"}`, "")
				if err != nil {
					continue // the server was killed
				}
				if got.status != http.StatusCreated {
					t.Errorf("enroll: status %d", got.status)
					return
				}
				mu.Lock()
				all = append(all, enrollment{got.ID, got.TOTP.Secret, time.Now()})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// TestRestoreDrill kills a server that backs up on a schedule while it is under load, and
// restores the newest backup as docs/operating.md says. All that was acknowledged before the
// time in the name of the backup is there, and codes verify.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir, backups := t.TempDir(), t.TempDir()
	flags := append([]string{"--store", storeIn(t, dir)}, unlocking...)
	p := serve(t, append(flags, "--backup-dir", backups, "--backup-every", "1s", "--backup-keep", "2")...)
	p.key = createKey(t, dir, "staging")

	var killed atomic.Bool
	go func() {
		defer killed.Store(true)
		for end := time.Now().Add(patience); strings.Count(p.log.String(), "backed up the store") < 4 && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond) // some writes are newer than the backup
		p.kill()
	}()
	all := enrollUntil(t, p.api(), killed.Load)
	if n := strings.Count(p.log.String(), "backed up the store"); n < 4 {
		t.Fatalf("%d backups were made under load; want 4:\n%s", n, p.log.tail())
	}

	files, err := filepath.Glob(filepath.Join(backups, "*.backup"))
	if err != nil || len(files) < 2 || len(files) > 3 { // the oldest may not be removed yet
		t.Fatalf("the backups are %q, %v; want the newest two", files, err)
	}
	newest := slices.Max(files)
	_, text, _ := strings.Cut(strings.TrimSuffix(newest, ".backup"), "countersign.db-")
	at, err := time.Parse("20060102T150405.000Z", text)
	if err != nil {
		t.Fatal(err)
	}
	_, restore := documented(t, dir, backups)
	for i, arg := range restore {
		if arg == filepath.Join(backups, "countersign.db") {
			restore[i] = newest
		}
	}
	succeed(t, restore...)

	p2 := serve(t, flags...)
	p2.key = p.key
	api := p2.api()
	held, verified := 0, 0
	for _, e := range all {
		if e.answered.After(at) {
			continue
		}
		api.want(http.StatusOK, "GET", "/auth/factors/"+e.id, "")
		if held++; held%20 == 0 {
			logcapture.Secret(t, e.secret)
			if !api.verify(api.challenge(e.id).ID, codeNow(t, e.secret)) {
				t.Errorf("a right code of %s is refused", e.id)
			}
			verified++
		}
	}
	if held < 20 || held == len(all) {
		t.Errorf("of %d factors, %d are older than the backup; want some newer ones as well", len(all), held)
	}
	t.Logf("of %d acknowledged factors, the %d older than the backup are there, and %d codes verified", len(all), held, verified)
}
