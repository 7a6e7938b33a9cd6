package e2e_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// largeStore makes a store of some 50 MB and returns its name.
func largeStore(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.db")
	store, err := sqlite.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var writes []mfa.Write
		user := storetest.NewUser()
		for range 100 {
			f := storetest.NewFactor(user)
			f.Sealed = bytes.Repeat(f.ID[:], 640)
			writes = append(writes, mfa.InsertFactor{Factor: f})
		}
		if err := store.Update(t.Context(), mfa.Read{}, storetest.Writing(writes...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

// TestProgressOfLongWork runs long commands in a terminal, where they draw a bar and remove it
// at the end, and in a pipe, where they draw none.
func TestProgressOfLongWork(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	store := largeStore(t)
	for _, tc := range []struct {
		name, bar, last string
		args            func(dir string) []string
	}{
		{"backup", `\[[#-]{24}\] backup: [0-9.]+ MiB of [0-9.]+ MiB, \d+ %, \d+s`, "backed up ",
			func(dir string) []string { return []string{"backup", filepath.Join(dir, "b.db"), "--store", store} }},
		{"copy", `\[[#-]{24}\] factors: \d+ of \d+ rows, \d+ %, \d+s`, "copied ",
			func(dir string) []string {
				return []string{"copy", "--from", store, "--to", "sqlite:" + filepath.Join(dir, "c.db")}
			}},
	} {
		shown := openTerminal(t, nil, binary, tc.args(t.TempDir())...)
		shown.sees(tc.bar)
		<-shown.done // on a busy machine it takes longer than the patience of sees
		shown.sees(tc.last)
		screen := shown.screen.String()
		if last := screen[:strings.Index(screen, tc.last)]; !strings.HasSuffix(last, "\n") && !strings.HasSuffix(last, "\r\x1b[K") {
			t.Errorf("%s: the bar is not removed before the last line: %q", tc.name, screen)
		}
		succeed(t, "copy", "--unmark", store)
		out, errs, code := command(t, tc.args(t.TempDir())...)
		if code != 0 || strings.Contains(out+errs, "\r") || strings.Contains(out+errs, "#") || strings.Count(errs, "\n") > 10 {
			t.Errorf("%s in a pipe: exit code %d\n%s%s", tc.name, code, out, errs)
		}
		succeed(t, "copy", "--unmark", store)
	}
}
