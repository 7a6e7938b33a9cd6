package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A Store is an open store, split into the interfaces of its users. All are implemented by the
// same sqlite.Store or postgres.Store.
type Store struct {
	mfa        mfa.Store
	phones     phones
	events     events.Log
	access     access.Store
	webhook    webhook.Store
	deliveries webhook.Queue
	stats      stats.Store
	signin     signin.Store
	nodes      nodes.Store
	transfer   transfer.Store
	health     health
	special    any // for what only one of the two has, see keyWatcher and others
}

// An operatorStore is the store of an operator.Service.
type operatorStore struct {
	mfa.Store
	phones
	events.Log
}

// phones finds factors by their phone number.
type phones interface {
	FactorsByPhone(ctx context.Context, phone mfa.PhoneHash, limit int) ([]mfa.Factor, error)
}

// health is what a server asks of a store as a whole.
type health interface {
	// Ping reports whether requests can be served.
	Ping(ctx context.Context) error
	// Rows returns about how many rows are stored, for the progress of long work.
	Rows(ctx context.Context) (int64, error)
	io.Closer
}

// Close closes the store.
func (s *Store) Close() error { return s.health.Close() }

func ofSQLite(s *sqlite.Store, err error) (*Store, error) {
	if err != nil {
		return nil, err
	}
	return &Store{s, s, s, s, s, s, s, s, s, s, s, s}, nil
}

func ofPostgres(s *postgres.Store, err error) (*Store, error) {
	if err != nil {
		return nil, err
	}
	return &Store{s, s, s, s, s, s, s, s, s, s, s, s}, nil
}

// A metaStore keeps named values; see transfer.Store.
type metaStore interface {
	Meta(ctx context.Context, name string) ([]byte, error)
	PutMeta(ctx context.Context, name string, value []byte) error
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
}

// OpenStore opens the store of that name, or makes it, and brings its schema up to
// date. It does not make an SQLite store next to a keyset: the store that the keyset
// belongs to is missing.
func OpenStore(ctx context.Context, name string, log *slog.Logger) (*Store, error) {
	if path, ok := config.SQLitePath(name); ok {
		if _, err := os.Stat(keysetFile(path)); err == nil && isMissing(path) {
			return nil, fmt.Errorf("there is no store at %s, or it is empty, but its keyset %s exists; restore the store from a backup with "+
				"'countersign restore', or move the keyset away to begin a new store", path, keysetFile(path))
		}
	}
	return openNew(ctx, name, log)
}

// openNew is OpenStore without the check of the files next to a missing store.
func openNew(ctx context.Context, name string, log *slog.Logger) (*Store, error) {
	if err := config.CheckStore(name); err != nil {
		return nil, err
	}
	if path, ok := config.SQLitePath(name); ok {
		return ofSQLite(sqlite.Open(path, log))
	}
	if err := postgres.Migrate(ctx, name); err != nil {
		return nil, err
	}
	return ofPostgres(postgres.Open(ctx, name, postgres.Options{Logger: log}))
}

// OpenExisting is OpenStore, but returns an error if the store does not exist.
func OpenExisting(ctx context.Context, name string, log *slog.Logger) (*Store, error) {
	if err := config.CheckStore(name); err != nil {
		return nil, err
	}
	if path, ok := config.SQLitePath(name); ok {
		return ofSQLite(sqlite.OpenExisting(path, log))
	}
	exists, err := postgres.Exists(ctx, name)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no store in the database %s: it has no table schema_versions", config.StoreName(name))
	}
	return openNew(ctx, name, log)
}

// keysetFile is where the keyset of an SQLite store is unless one is named.
func keysetFile(path string) string { return path + ".keyset" }

// isMissing reports whether there is no file at path, or an empty one.
func isMissing(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// Backup writes an SQLite store into a file; see sqlite.Backup.
func Backup(ctx context.Context, name, file string, overwrite bool, progress func(done, total int64)) (size int64, err error) {
	path, err := onlySQLite(name, "back it up with pg_dump, or with base backups and an archived write-ahead log (docs/scaling.md)")
	if err != nil {
		return 0, err
	}
	return sqlite.Backup(ctx, path, file, overwrite, progress)
}

// Restore puts a backup in the place of the SQLite store that cfg names, if the keyset
// that cfg names opens it; see sqlite.Restore.
func Restore(ctx context.Context, file string, cfg config.Config, at time.Time, progress func(done, total int64)) (kept string, err error) {
	path, err := onlySQLite(cfg.Store, "restore it with pg_restore, or from its base backups (docs/scaling.md)")
	if err != nil {
		return "", err
	}
	return sqlite.Restore(ctx, file, path, at, func(meta sqlite.Meta) error {
		proof, err := meta(metaKeyset)
		if err != nil || proof == nil {
			return err // no server has used it
		}
		source, err := KeysetSource(cfg)
		if err != nil {
			return err
		}
		keys, err := secret.LoadKeyset(ctx, source)
		if err != nil {
			return fmt.Errorf("load the keyset that opens it: %w; put the keyset back, or name it with --keyset", err)
		}
		if !opensProof(keys, proof) {
			return fmt.Errorf("the keyset %s does not open it; name the right one with --keyset", source)
		}
		return nil
	}, progress)
}

// onlySQLite returns the path of an SQLite store, or an error that says what to do with
// another one.
func onlySQLite(name, instead string) (string, error) {
	if err := config.CheckStore(name); err != nil {
		return "", err
	}
	path, ok := config.SQLitePath(name)
	if !ok {
		return "", fmt.Errorf("%s is a PostgreSQL store; %s", config.StoreName(name), instead)
	}
	return path, nil
}

// Distribute brings the schema of a PostgreSQL store up to date and spreads its
// tables over the machines of a Citus cluster.
func Distribute(ctx context.Context, name string) error {
	if err := config.CheckStore(name); err != nil {
		return err
	}
	if !config.IsPostgres(name) {
		return fmt.Errorf("only the tables of a PostgreSQL store can be distributed, not those of %s", config.StoreName(name))
	}
	if err := postgres.Migrate(ctx, name); err != nil {
		return err
	}
	return postgres.Distribute(ctx, name)
}

// A keyWatcher hears of keys that are revoked on other nodes.
type keyWatcher interface {
	WatchKeys(ctx context.Context, changed func())
}

// Copy copies everything from one store to another; see transfer.Copy. From its start
// on the source takes no writes.
func Copy(ctx context.Context, by operator.By, from, to string, log *slog.Logger, report func(kind string, rows int), progress func(kind string, done, total int64)) (err error) {
	source, err := OpenStore(ctx, from, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openNew(ctx, to, log) // its keyset may have been brought first
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	total, err := source.health.Rows(ctx)
	if err != nil {
		return err
	}
	work := &watchedCopy{total: total, progress: progress}
	record := func() error {
		return operator.NewService(operatorStore{source.mfa, source.phones, source.events}, source.access, operator.Options{}).StoreCopied(ctx, by)
	}
	return transfer.Copy(ctx, watched{source.transfer, work}, watched{target.transfer, work}, config.StoreName(to), record, func(kind transfer.Kind, sum transfer.Sum) { report(string(kind), sum.Rows) })
}

// A watchedCopy reports the progress of a copy.
type watchedCopy struct {
	read, total int64
	progress    func(kind string, done, total int64)
}

// readsOfARow is how often a copy reads a row: to copy it, and in each store to compare it.
const readsOfARow = 3

// watched is a store of a copy.
type watched struct {
	transfer.Store
	work *watchedCopy
}

// Export is transfer.Store.Export.
func (w watched) Export(ctx context.Context, kind transfer.Kind, after string, limit int) ([]transfer.Row, string, error) {
	rows, next, err := w.Store.Export(ctx, kind, after, limit)
	w.work.read += int64(len(rows))
	w.work.progress(string(kind), w.work.read/readsOfARow, w.work.total)
	return rows, next, err
}

// Unmark makes a store that was copied away servable again.
func Unmark(ctx context.Context, name string, log *slog.Logger) error {
	store, err := OpenStore(ctx, name, log)
	if err != nil {
		return err
	}
	return errors.Join(transfer.Unmark(ctx, store.transfer), store.Close())
}

// KeysetSource returns where the keyset of a configuration comes from.
func KeysetSource(cfg config.Config) (string, error) {
	if cfg.Keyset != "" {
		return cfg.Keyset, nil
	}
	if err := config.CheckStore(cfg.Store); err != nil {
		return "", err
	}
	path, ok := config.SQLitePath(cfg.Store)
	if !ok {
		return "", errors.New("a PostgreSQL store needs --keyset, the same on every node: file:PATH, env:NAME or exec:COMMAND; 'countersign keyset create FILE' makes one")
	}
	return "file:" + keysetFile(path), nil
}

// A keyset is tried against a value that was sealed when the store was new, so
// that a server never starts with a keyset that opens nothing.
const (
	metaKeyset  = "keyset_check"
	keysetProof = "countersign"
)

// openKeyset tries the keyset that loadKeyset returned on the store. A new store gets
// a new keyset if none was named.
func openKeyset(ctx context.Context, cfg config.Config, keys *secret.Keyset, store metaStore, log *slog.Logger) (*secret.Keyset, error) {
	proof, err := store.Meta(ctx, metaKeyset)
	if err != nil {
		return nil, err
	}
	if keys == nil {
		source, err := KeysetSource(cfg)
		if err != nil {
			return nil, err
		}
		path := strings.TrimPrefix(source, "file:")
		if proof != nil {
			return nil, fmt.Errorf("the store is sealed, but its keyset is gone: %s: %w; restore the file from its backup", path, fs.ErrNotExist)
		}
		if keys, err = secret.CreateKeysetFile(path); err != nil {
			return nil, fmt.Errorf("load keyset: %w", err)
		}
		log.Warn("created a keyset; back it up, but not in the same place as the store, which cannot be read without it", "file", path)
	}
	return keys, proveKeyset(ctx, store, keys, proof)
}

// loadKeyset loads the keyset of a configuration. It returns nil if none was named and
// the default file is not there.
func loadKeyset(ctx context.Context, cfg config.Config) (*secret.Keyset, error) {
	source, err := KeysetSource(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := secret.LoadKeyset(ctx, source)
	if errors.Is(err, fs.ErrNotExist) && cfg.Keyset == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load keyset: %w", err)
	}
	return keys, nil
}

// proveKeyset returns an error unless keys opens the proof of the store. A new
// store has no proof: of several nodes that start on it at once, the first to store its
// proof decides which keyset is right.
func proveKeyset(ctx context.Context, store metaStore, keys *secret.Keyset, proof []byte) error {
	if proof == nil {
		err := swapProof(ctx, store, keys, nil)
		if err != nil {
			return err
		}
		if proof, err = store.Meta(ctx, metaKeyset); err != nil {
			return err
		}
	}
	if !opensProof(keys, proof) {
		return errors.New("this keyset is not the one that the store is sealed with; name the right one with --keyset, " +
			"or put back the key that was retired before all rows were sealed again")
	}
	return nil
}

// opensProof reports whether keys is the keyset of the store with this proof.
func opensProof(keys *secret.Keyset, proof []byte) bool {
	_, err := keys.Open(proof, []byte(metaKeyset))
	return err == nil
}

// swapProof seals the proof under the newest key in place of old, unless another
// node has replaced old. Until all rows are sealed under the newest key, the proof
// stays under the oldest key that is still needed: a keyset without that key is
// refused.
func swapProof(ctx context.Context, store metaStore, keys *secret.Keyset, old []byte) error {
	proof, err := keys.Seal([]byte(keysetProof), []byte(metaKeyset))
	if err != nil {
		return err
	}
	_, err = store.SwapMeta(ctx, metaKeyset, old, proof)
	return err
}
