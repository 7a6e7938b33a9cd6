package postgres_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/store/migrate"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
)

// TestMigrateTogether starts ten nodes at once on an empty database.
func TestMigrateTogether(t *testing.T) {
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			url := isolated(cluster.Database(t), isolation)
			var nodes sync.WaitGroup
			for range 10 {
				nodes.Go(func() {
					if err := postgres.Migrate(t.Context(), url); err != nil {
						t.Errorf("Migrate = %v", err)
					}
				})
			}
			nodes.Wait()
			var versions int
			if err := connect(t, url).QueryRow(t.Context(), `SELECT count(*) FROM schema_versions`).Scan(&versions); err != nil {
				t.Fatal(err)
			}
			if versions != postgres.Known() {
				t.Errorf("%d migrations were made; want %d", versions, postgres.Known())
			}
			takesWrites(t, openAt(t, url, postgres.Options{}))
		})
	}
}

func TestSchema(t *testing.T) {
	url := cluster.Database(t)
	if _, err := postgres.Open(t.Context(), url, postgres.Options{}); !errors.Is(err, postgres.ErrOutdated) {
		t.Errorf("Open of an empty database = %v; want %v", err, postgres.ErrOutdated)
	}
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	exec(t, conn, `INSERT INTO schema_versions (version, name) VALUES ($1, 'of tomorrow')`, postgres.Known()+1)
	if err := postgres.Migrate(t.Context(), url); !errors.Is(err, migrate.ErrNewer) {
		t.Errorf("Migrate of a newer schema = %v; want %v", err, migrate.ErrNewer)
	}
	if _, err := postgres.Open(t.Context(), url, postgres.Options{}); !errors.Is(err, migrate.ErrNewer) {
		t.Errorf("Open of a newer schema = %v; want %v", err, migrate.ErrNewer)
	}
	exec(t, conn, `DELETE FROM schema_versions`)
	if _, err := postgres.Open(t.Context(), url, postgres.Options{}); !errors.Is(err, postgres.ErrOutdated) {
		t.Errorf("Open of an older schema = %v; want %v", err, postgres.ErrOutdated)
	}
}

func TestDistributeWithoutCitus(t *testing.T) {
	if err := postgres.Distribute(t.Context(), migrated(t)); !errors.Is(err, postgres.ErrNoCitus) {
		t.Errorf("Distribute = %v; want %v", err, postgres.ErrNoCitus)
	}
}
