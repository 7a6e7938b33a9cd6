package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// TestDevTakesNothingFromTheEnvironment sets the variables that the documents tell
// operators to export for the other commands.
func TestDevTakesNothingFromTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	production := "sqlite:" + filepath.Join(dir, "production.db")
	key := createKey(t, dir, "staging")
	p := launch(t, []string{
		"COUNTERSIGN_STORE=" + production,
		"COUNTERSIGN_ADDR=0.0.0.0:1",
		"COUNTERSIGN_ALLOW_REMOTE=true",
		"COUNTERSIGN_SMS=" + filepath.Join(dir, "missing.yaml"),
		"COUNTERSIGN_RATE_LIMIT=many",
		"COUNTERSIGN_LOG_LEVEL=",
	}, "dev", "--json", "--addr", "127.0.0.1:0", "--store", "sqlite:"+filepath.Join(dir, "dev.db"))
	url := p.await(p.out, `"url":"(http://127\.0\.0\.1:[0-9]+)"`)[1]
	p.await(p.log, `dev ignores COUNTERSIGN_STORE; it takes its settings only from flags`)
	if log := p.log.String(); strings.Contains(log, "LOG_LEVEL") {
		t.Errorf("an empty variable is reported:\n%s", log)
	}
	newAPI(t, url, key).want(http.StatusUnauthorized, "GET", "/auth/factors/x", "")
	if _, err := os.Stat(filepath.Join(dir, "production.db")); !os.IsNotExist(err) {
		t.Errorf("dev made the store of the environment variable (%v)", err)
	}
}

// TestDevRefusesAStoreThatItDidNotMake tries stores that dev did not create: an
// empty one, one with a sandbox, and one with a production environment.
func TestDevRefusesAStoreThatItDidNotMake(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		why     string
	}{
		{"a server has served it", func(t *testing.T, dir string) {
			serve(t, "--store", storeIn(t, dir)).stop()
		}, "was not made by 'countersign dev'"},
		{"it holds a sandbox", func(t *testing.T, dir string) {
			createKey(t, dir, "staging")
		}, "was not made by 'countersign dev'"},
		{"it holds a production environment", func(t *testing.T, dir string) {
			succeed(t, "environment", "create", "live", "--production", "--store", storeIn(t, dir))
		}, `holds the production environment "live"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tc.prepare(t, dir)
			before := namesIn(t, dir)
			refuses(t, tc.why, "dev", "--json", "--addr", "127.0.0.1:0", "--store", storeIn(t, dir))
			for _, name := range namesIn(t, dir) {
				if strings.Contains(name, "apikey") || strings.Contains(name, ".crt") {
					t.Errorf("dev left %s; before there were %q", name, before)
				}
			}
			keys := succeed(t, "key", "list", "--store", storeIn(t, dir))
			if strings.Contains(keys, " sandbox ") && strings.Count(keys, "\n") != 1 {
				t.Errorf("dev made a key:\n%s", keys)
			}
		})
	}
}

// TestAProductionEnvironmentDoesNotFitAStoreOfDev creates a production environment
// while dev is running.
func TestAProductionEnvironmentDoesNotFitAStoreOfDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dev(t, dir)
	refuses(t, "is a store of 'countersign dev'", "environment", "create", "production", "--production", "--store", storeIn(t, dir))
	succeed(t, "environment", "create", "staging", "--store", storeIn(t, dir))
}

func TestDevStaysOnThisMachineUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:4100"} {
		refuses(t, "give --allow-remote", "dev", "--addr", addr, "--store", storeIn(t, dir))
		refuses(t, "give --allow-remote", "dev", "--addr", addr, "--plain-http", "--tls", "--store", storeIn(t, dir))
	}
	if names := namesIn(t, dir); strings.Contains(strings.Join(names, " "), "apikey") {
		t.Errorf("dev left %q", names)
	}
	p := launch(t, nil, "dev", "--json", "--addr", ":0", "--allow-remote", "--store", storeIn(t, dir))
	p.await(p.out, `"url":"http://localhost:`)
	p.await(p.log, "other machines can reach this server")
}

// TestDevDoesNotWriteThroughASymbolicLink creates links with the names of dev's
// files.
func TestDevDoesNotWriteThroughASymbolicLink(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir := t.TempDir()
	planted := map[string]string{}
	for _, name := range []string{"apikey", "crt", "key"} {
		target := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "countersign.db."+name)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		planted[link] = target
	}
	p := dev(t, dir, "--tls")
	logcapture.Secret(t, p.key)
	for link, target := range planted {
		if text := readFile(t, target); len(text) > 0 {
			t.Errorf("%d bytes were written through %s", len(text), link)
		}
		info, err := os.Lstat(link)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 && !strings.HasSuffix(link, ".crt") {
			t.Errorf("%s has mode %v (%v); want a file only for its owner", link, info.Mode(), err)
		}
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
