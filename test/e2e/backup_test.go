package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// enrollMany enrolls n generic_otp factors from several callers and returns their ids.
func enrollMany(t *testing.T, api *api, n int64) []string {
	t.Helper()
	var mu sync.Mutex
	var ids []string
	var left atomic.Int64
	left.Store(n)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				got, err := api.send(t.Context(), "POST", "/auth/factors/enroll", `{"type":"generic_otp"}`, "")
				if err != nil || got.status != http.StatusCreated {
					t.Errorf("enroll: status %d, %v", got.status, err)
					return
				}
				mu.Lock()
				ids = append(ids, got.ID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return ids
}

// documented returns the backup and restore commands of docs/operating.md as
// arguments. It replaces the directories of the document with directories of the
// test.
func documented(t *testing.T, store, backups string) (backup, restore []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	one := func(name string) []string {
		lines := regexp.MustCompile(`(?m)^ +countersign (`+name+` .*)$`).FindAllStringSubmatch(string(text), -1)
		if len(lines) != 1 {
			t.Fatalf("docs/operating.md has %d lines with 'countersign %s'; want one", len(lines), name)
		}
		return strings.Fields(strings.NewReplacer("/var/lib/countersign", store, "/var/backups/countersign", backups).Replace(lines[0][1]))
	}
	return one("backup"), one("restore")
}

// TestRestoreAfterACrash follows docs/operating.md: it backs up, crashes the server
// and restores.
func TestRestoreAfterACrash(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir, backups := t.TempDir(), t.TempDir()
	path, store := filepath.Join(dir, "countersign.db"), storeIn(t, dir)
	backup, restore := documented(t, dir, backups)
	flags := append([]string{"--store", store}, unlocking...)

	p := serve(t, flags...)
	p.key = createKey(t, dir, "staging")
	before := enrollMany(t, p.api(), 2000)
	// The backup ends although the store is written to all the time.
	ctx, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				enrollMany(t, p.api(), 16)
			}
		})
	}
	succeed(t, backup...)
	done()
	wg.Wait()
	after := enrollMany(t, p.api(), 6000)

	_, refusal, code := command(t, restore...)
	if code != 1 || !strings.Contains(refusal, "in use") {
		t.Fatalf("restore to a store in use: exit code %d\n%s", code, refusal)
	}
	p.kill()

	// A restore over an existing store is refused, and changes nothing.
	old := []string{path + ".old", path + ".old-wal"}
	copyFile(t, path, old[0])
	copyFile(t, path+"-wal", old[1])
	copyFile(t, filepath.Join(backups, "countersign.db"), path)
	_, refusal, code = command(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, flags...)...)
	if code != 1 || !strings.Contains(refusal, "the log does not belong to the database") || !strings.Contains(refusal, "countersign restore") {
		t.Fatalf("serve on a backup that was copied over the store: exit code %d\n%s", code, refusal)
	}
	if got, want := readFile(t, path+"-wal"), readFile(t, old[1]); !slices.Equal(got, want) {
		t.Error("the log was changed")
	}

	succeed(t, restore...)
	p2 := serve(t, flags...)
	p2.key = p.key
	api := p2.api()
	for _, id := range before {
		api.want(http.StatusOK, "GET", "/auth/factors/"+id, "")
	}
	for _, id := range after {
		api.want(http.StatusNotFound, "GET", "/auth/factors/"+id, "")
	}
	enrollMany(t, api, 100)
	p2.stop()
	checkFile(t, path)
	kept, err := filepath.Glob(path + ".replaced-*")
	if err != nil || len(kept) != 2 { // the database and its log
		t.Errorf("the replaced store is kept as %v, %v", kept, err)
	}

	// A lost store is created again from the backup.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, refusal, code = command(t, append([]string{"serve", "--addr", "127.0.0.1:0"}, flags...)...)
	if code != 1 || !strings.Contains(refusal, "its keyset") {
		t.Fatalf("serve without the store, next to its keyset: exit code %d\n%s", code, refusal)
	}
	succeed(t, restore...)
	p3 := serve(t, flags...)
	p3.key = p.key
	p3.api().want(http.StatusOK, "GET", "/auth/factors/"+before[0], "")
}

// TestRestoreOfRecoveryCodes restores a backup that was made between two uses of recovery codes.
func TestRestoreOfRecoveryCodes(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	binary, err := releasedBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, saved := storeIn(t, dir), filepath.Join(t.TempDir(), "saved.db")
	p := devBy(t, binary, dir)
	const path = "/user_management/users/user_42"
	var set struct{ Codes []string }
	if err := json.Unmarshal(p.api().want(http.StatusCreated, "POST", path+"/recovery_codes", `{"allow_sole":true}`).body, &set); err != nil {
		t.Fatal(err)
	}
	logcapture.Secret(t, set.Codes...)
	want := func(valid bool, what string, code int) {
		t.Helper()
		if got := p.api().want(http.StatusOK, "POST", path+"/verify", codeBody(set.Codes[code])).Valid; got != valid {
			t.Errorf("%s: valid = %t; want %t", what, got, valid)
		}
	}
	want(true, "a code before the backup", 0)
	succeed(t, "backup", saved, "--store", store)
	want(true, "a code after the backup", 1)
	if p.stop() != 0 {
		t.Fatal("the server did not stop")
	}
	succeed(t, "restore", saved, "--store", store)
	p = devBy(t, binary, dir)
	want(false, "the code that the backup has as used", 0)
	want(true, "the code whose use is lost", 1)
	want(true, "another code", 2)
	want(false, "the same code again", 2)
	if body := string(p.api().want(http.StatusOK, "GET", path+"/recovery_codes", "").body); !strings.Contains(body, `"remaining":7`) {
		t.Errorf("after the restore: %s; want 7 left", body)
	}
	shown := succeed(t, "user", "show", "user_42", "--env", "sandbox", "--store", store)
	if !regexp.MustCompile(`(?m)^recovery codes +7 of 10 left, created \d{4}-.*, last used \d{4}-`).MatchString(shown) {
		t.Errorf("user show does not have the recovery codes:\n%s", shown)
	}
	for _, code := range set.Codes {
		if strings.Contains(shown, code) {
			t.Error("user show has a code")
		}
	}
}

// checkFile checks a database that no process has open.
func checkFile(t *testing.T, path string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "checked.db")
	succeed(t, "backup", to, "--store", "sqlite:"+path)
}

// TestRestoreRefusesUnreadableBackups gives restore bad files, and checks that the
// store does not change.
func TestRestoreRefusesUnreadableBackups(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		p := serve(t, "--store", storeIn(t, d))
		p.key = createKey(t, d, "staging")
		enrollMany(t, p.api(), 500)
		p.stop()
	}
	good, foreign := filepath.Join(dir, "good"), filepath.Join(dir, "foreign")
	succeed(t, "backup", good, "--store", storeIn(t, dir))
	succeed(t, "backup", foreign, "--store", storeIn(t, other))
	whole := readFile(t, good)
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := slices.Clone(whole)
	copy(damaged[len(damaged)/2:], make([]byte, 4096))
	store := filepath.Join(dir, "countersign.db")
	was := readFile(t, store)
	for _, tc := range []struct{ name, file, says string }{
		{"of another store", foreign, "the keyset"},
		{"cut short", write("short", whole[:len(whole)/2]), "cannot be restored"},
		{"damaged", write("damaged", damaged), "cannot be restored"},
		{"empty", write("empty", nil), "empty"},
		{"not a database", write("text", []byte(strings.Repeat("text ", 100))), "not a database"},
		{"missing", filepath.Join(dir, "missing"), "no such file"},
		{"the store itself", store, "the store itself"},
	} {
		_, says, code := command(t, "restore", tc.file, "--store", storeIn(t, dir))
		if code != 1 || !strings.Contains(says, tc.says) {
			t.Errorf("%s: exit code %d, %q; want 1 and %q", tc.name, code, says, tc.says)
		}
		if !slices.Equal(readFile(t, store), was) {
			t.Fatalf("%s: the store was changed", tc.name)
		}
	}
	for _, args := range [][]string{
		{"backup", good, "--store", storeIn(t, dir)},
		{"backup", store, "--overwrite", "--store", storeIn(t, dir)},
		{"backup", filepath.Join(dir, "x"), "--store", "postgres://localhost/x"},
		{"restore", good, "--store", "postgres://localhost/x"},
	} {
		if _, says, code := command(t, args...); code != 1 {
			t.Errorf("%v: exit code %d\n%s", args, code, says)
		}
	}
	succeed(t, "backup", good, "--overwrite", "--store", storeIn(t, dir))
	if info, err := os.Stat(good); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, %v", info.Mode(), err)
	}
}

// TestReplacedStoreIsNoticed removes files of the store while the server runs.
func TestReplacedStoreIsNoticed(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	for _, tc := range []struct {
		name string
		do   func(path string) error
	}{
		{"all files removed", func(path string) error {
			var err error
			for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
				if e := os.Remove(path + suffix); e != nil {
					err = e
				}
			}
			return err
		}},
		{"the database replaced", func(path string) error { return os.Rename(path+".other", path) }},
		{"the index of the log removed", func(path string) error { return os.Remove(path + "-shm") }},
		{"the log removed", func(path string) error { return os.Remove(path + "-wal") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "countersign.db")
			p := serve(t, "--store", storeIn(t, dir))
			p.key = createKey(t, dir, "staging")
			enrollMany(t, p.api(), 10)
			succeed(t, "backup", path+".other", "--store", storeIn(t, dir))
			if err := tc.do(path); err != nil {
				t.Fatal(err)
			}
			key, says, code := command(t, "key", "create", "--env", "staging", "--store", storeIn(t, dir))
			if code == 0 {
				logcapture.Secret(t, strings.TrimSpace(key))
				t.Error("key create reports success")
			}
			if !strings.Contains(says, "replaced or removed") && !strings.Contains(says, "its keyset") {
				t.Errorf("key create says %q", says)
			}
			got, err := p.api().send(t.Context(), "POST", "/auth/factors/enroll", `{"type":"generic_otp"}`, "")
			if err != nil || got.status != http.StatusServiceUnavailable {
				t.Errorf("enroll: status %d, %v; want 503", got.status, err)
			}
			p.apiAs("").want(http.StatusServiceUnavailable, "GET", "/readyz", "")
			p.await(p.log, `the store cannot be written to`)
		})
	}
}

// TestCopyStopsARunningServer copies a store while a server runs on it, as an
// operator may do by mistake.
func TestCopyStopsARunningServer(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir := t.TempDir()
	p := serve(t, append([]string{"--store", storeIn(t, dir)}, unlocking...)...)
	p.key = createKey(t, dir, "staging")
	api := p.api()
	before := enrollMany(t, api, 100)
	target := pgtest.Shared(t).Database(t)
	succeed(t, "copy", "--from", storeIn(t, dir), "--to", target, "--as", "ada")
	for _, store := range []string{storeIn(t, dir), target} {
		recorded := succeed(t, "events", "list", "--type", "operator.*", "--store", store, "--keyset", "file:"+filepath.Join(dir, "countersign.db.keyset"), "--json")
		if !strings.Contains(recorded, `"caller":{"type":"operator","id":"ada"}`) || strings.Count(recorded, "operator.store_copied") != 1 {
			t.Errorf("events of operators in %s: %s; want one about the copy by ada", store, recorded)
		}
	}

	got, err := api.send(t.Context(), "POST", "/auth/factors/enroll", `{"type":"generic_otp"}`, "")
	if err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("enroll on the old store: status %d, %v; want 503", got.status, err)
	}
	p.apiAs("").want(http.StatusServiceUnavailable, "GET", "/readyz", "")
	p.await(p.log, `this store was copied to`)
	if _, says, code := command(t, "key", "create", "--env", "staging", "--store", storeIn(t, dir)); code != 1 || !strings.Contains(says, "was copied to") {
		t.Errorf("key create on the old store: exit code %d\n%s", code, says)
	}

	p2 := serve(t, "--store", target, "--keyset", "file:"+filepath.Join(dir, "countersign.db.keyset"))
	p2.key = p.key
	for _, id := range before {
		p2.api().want(http.StatusOK, "GET", "/auth/factors/"+id, "")
	}
	// The target has rows now: this copy fails, and does not change its source.
	third := t.TempDir()
	p3 := serve(t, "--store", storeIn(t, third))
	p3.key = createKey(t, third, "staging")
	if _, says, code := command(t, "copy", "--from", storeIn(t, third), "--to", target); code != 1 || !strings.Contains(says, "not empty") {
		t.Errorf("copy into a store that is not empty: exit code %d\n%s", code, says)
	}
	enrollMany(t, p3.api(), 1)
}
