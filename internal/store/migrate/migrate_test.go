package migrate_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/countersign-mfa/countersign/internal/store/migrate"
)

func files(names ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, n := range names {
		fsys[n] = &fstest.MapFile{Data: []byte("-- " + n)}
	}
	return fsys
}

func TestLoadReadsInOrder(t *testing.T) {
	all, err := migrate.Load(files("0002_second.sql", "0001_first.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Version != 1 || all[0].Name != "first" || all[1].SQL != "-- 0002_second.sql" {
		t.Errorf("Load = %+v", all)
	}
}

func TestLoadRefusesUnorderedMigrations(t *testing.T) {
	for _, names := range [][]string{
		{"0002_second.sql"},
		{"0001_first.sql", "0003_third.sql"},
		{"0001_first.sql", "0001_twin.sql"},
		{"first.sql"},
		{"0001_first.txt"},
	} {
		if all, err := migrate.Load(files(names...)); err == nil {
			t.Errorf("Load(%q) = %+v; want an error", names, all)
		}
	}
}

func TestAfter(t *testing.T) {
	all, err := migrate.Load(files("0001_first.sql", "0002_second.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range []int{2, 1, 0} {
		left, err := migrate.After(all, version)
		if err != nil || len(left) != want {
			t.Errorf("After(%d) = %d migrations, %v; want %d", version, len(left), err, want)
		}
	}
	if _, err := migrate.After(all, 3); !errors.Is(err, migrate.ErrNewer) {
		t.Errorf("After(3) = %v; want ErrNewer", err)
	}
}
