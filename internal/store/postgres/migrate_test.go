package postgres_test

import (
	"errors"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/migrate"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// TestMigrateTogether starts ten nodes at the same time on an empty database.
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

// TestUpgradeWhileOlderNodesRun migrates while a node of the first schema is connected.
// The statements of that node must still work, including the prepared ones.
func TestUpgradeWhileOlderNodesRun(t *testing.T) {
	const (
		insert = `INSERT INTO challenges (bucket, id, factor, code_mac, sealed_code, attempts, created_at, updated_at, expires_at, verified_at)` +
			` VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
		read = `SELECT c.id, c.factor, c.code_mac, c.sealed_code, c.attempts, c.created_at, c.updated_at, c.expires_at, c.verified_at` +
			` FROM challenges c WHERE c.bucket = $1 AND c.id = $2 FOR UPDATE OF c`
		update = `UPDATE challenges SET sealed_code = $1, attempts = $2, updated_at = $3, verified_at = $4 WHERE bucket = $5 AND id = $6`
	)
	url := cluster.Database(t)
	older := connect(t, url)
	first, err := os.ReadFile("migrations/0001_init.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{string(first), postgres.CreateVersions, `INSERT INTO schema_versions (version, name) VALUES (1, 'init')`} {
		exec(t, older, sql)
	}
	f := storetest.NewFactor(storetest.NewUser())
	b := int16(f.ID.Bucket())
	exec(t, older, `INSERT INTO factors (bucket, id, environment, type, last_step, failures, created_at, updated_at)`+
		` VALUES ($1, $2, 1, 'generic_otp', 0, 0, $3, $3)`, b, f.ID, f.CreatedAt)
	challenges := []*mfa.Challenge{storetest.NewChallenge(f), storetest.NewChallenge(f)}
	work := func(c *mfa.Challenge) {
		t.Helper()
		exec(t, older, insert, b, c.ID, c.Factor, c.CodeMAC, c.SealedCode, 0, c.CreatedAt, c.UpdatedAt, c.ExpiresAt, nil)
		exec(t, older, read, b, c.ID)
		exec(t, older, update, c.SealedCode, 1, c.UpdatedAt, nil, b, c.ID)
		c.Attempts = 1
	}
	file := func() (n uint32) {
		t.Helper()
		if err := older.QueryRow(t.Context(), `SELECT pg_relation_filenode('challenges')`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	work(challenges[0])
	before := file()
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if file() != before {
		t.Error("the challenges were rewritten")
	}
	work(challenges[1])
	s := openAt(t, url, postgres.Options{})
	for _, want := range challenges {
		c := view(t, s, readChallenge(want.ID)).Challenge
		if !reflect.DeepEqual(c, want) {
			t.Errorf("got  %+v\nwant %+v", c, want)
		}
		c.Messages = []delivery.Record{{State: delivery.Sent, At: c.CreatedAt, UpdatedAt: c.CreatedAt}}
		if err := s.Update(t.Context(), readChallenge(c.ID), storetest.Writing(c.Update())); err != nil {
			t.Fatal(err)
		}
		exec(t, older, update, c.SealedCode, 2, c.UpdatedAt, nil, b, c.ID)
		c.Attempts = 2
		if got := view(t, s, readChallenge(c.ID)).Challenge; !reflect.DeepEqual(got, c) {
			t.Errorf("after an older node's change: got %+v\nwant %+v", got, c)
		}
	}
}
