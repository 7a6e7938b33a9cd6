package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// directories has the directory of each PostgreSQL database that storeIn created, by
// URL.
var directories sync.Map

// storeIn returns the name of the store of a directory: a file in it, or a database
// if the tests run on PostgreSQL. A directory always has the same store.
func storeIn(t testing.TB, dir string) (store string) {
	t.Helper()
	if !pgtest.Chosen() {
		return "sqlite:" + filepath.Join(dir, "countersign.db")
	}
	directories.Range(func(url, of any) bool {
		if of == dir {
			store = url.(string)
		}
		return store == ""
	})
	if store == "" {
		store = pgtest.Shared(t).Database(t)
		directories.Store(store, dir)
		if _, err := secret.CreateKeysetFile(filepath.Join(dir, "countersign.db.keyset")); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// directoryOf returns the directory of the PostgreSQL database that args name, or
// "". The program runs there and reads its keyset from there.
func directoryOf(args []string) string {
	i := slices.Index(args, "--store")
	if i < 0 || i+1 == len(args) {
		return ""
	}
	dir, _ := directories.Load(args[i+1])
	name, _ := dir.(string)
	return name
}

// certificateIn returns the certificate that dev created for the store of dir.
func certificateIn(t testing.TB, dir string) []byte {
	t.Helper()
	name := filepath.Join(dir, "countersign.db.crt")
	if pgtest.Chosen() {
		name = filepath.Join(dir, ".countersign", "dev.crt")
	}
	cert, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// onlySQLite skips a test that needs the files of an SQLite store.
func onlySQLite(t testing.TB) {
	t.Helper()
	if pgtest.Chosen() {
		t.Skip("PostgreSQL has no such files")
	}
}
