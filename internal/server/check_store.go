package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/certs"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/inspection"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// inspectWait limits the time to connect to a database and to read its state.
const inspectWait = 15 * time.Second

// inspect reads the state of the store that cfg names, and changes nothing. Call Close of
// the State, also after an error.
func inspect(ctx context.Context, cfg config.Config) (inspection.State, error) {
	names := []string{metaKeyset, transfer.MetaMoved, transfer.MetaProgress, metaDevelopment}
	for _, domain := range cfg.Domains {
		names = append(names, certs.Names(cfg.ACMEDirectory, domain)...)
	}
	if path, ok := config.SQLitePath(cfg.Store); ok {
		return sqlite.Inspect(path, names...)
	}
	return postgres.Inspect(ctx, cfg.Store, names...)
}

// metas are the values of an inspected store by their names.
type metas map[string][]byte

// Meta is transfer.MetaReader.Meta.
func (m metas) Meta(_ context.Context, name string) ([]byte, error) { return m[name], nil }

// checkStore checks the store and all that depends on it: schema, keyset, clock and disk.
func (c *checker) checkStore(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, inspectWait)
	defer cancel()
	const check = "store"
	if err := config.CheckStore(c.cfg.Store); err != nil {
		c.failed(check, "correct the store or its name", err)
		return
	}
	path, local := config.SQLitePath(c.cfg.Store)
	if local {
		if err := c.storeFiles(path); err != nil {
			c.fail(check, "run this command and the server under the account that owns the store", "%v", err)
			c.checkKeyset(ctx, nil)
			return
		}
	}
	state, err := inspect(ctx, c.cfg)
	if err != nil {
		state.Close() // a second error would say nothing more
		c.failed(check, "correct the store or its name", err)
		c.checkKeyset(ctx, nil)
		return
	}
	defer state.Close()
	c.reportStore(ctx, path, state)
	c.checkSchema(state)
	keys := c.checkKeyset(ctx, &state)
	if keys != nil {
		c.checkCertificates(keys, state.Meta)
	}
	c.checkNodes(state, keys)
	c.checkClock(ctx, state)
	if local {
		c.checkDisk(path)
	}
}

// storeFiles checks the permissions of the files of a SQLite store.
func (c *checker) storeFiles(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-lock"} {
		err := canOpen(path+suffix, os.O_RDWR)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("this account, %s, cannot use a file of the store: %w", accountOf(os.Geteuid()), err)
		}
	}
	c.checkOwner("store", path)
	return canWriteIn(filepath.Dir(path))
}

// reportStore reports the store itself.
func (c *checker) reportStore(ctx context.Context, path string, state inspection.State) {
	const check = "store"
	name := config.StoreName(c.cfg.Store)
	switch {
	case state.ReadOnly:
		c.fail(check, "name the primary server in the URL", "the server of %s accepts no writes: it is a standby, or default_transaction_read_only is on", name)
	case state.Restoring:
		c.warn(check, "start the server, or run 'countersign restore' again", "a restore of %s was interrupted; the next start completes it", name)
	case !state.Exists && c.cfg.StoreMustExist:
		c.fail(check, "mount its volume, or name the right store", "%s does not exist, and store_must_exist is set", name)
	case !state.Exists && path != "" && exists(keysetFile(path)):
		c.fail(check, "restore the store from a backup with 'countersign restore', or move the keyset away to begin a new store",
			"%s does not exist or is empty, but its keyset %s exists", name, keysetFile(path))
	case !state.Exists:
		c.ok(check, "%s does not exist; the server creates it", name)
	case state.InUse:
		c.ok(check, "%s can be read, and a process is using it", name)
	default:
		c.ok(check, "%s can be read", name)
	}
	if err := transfer.Servable(ctx, metas(state.Meta)); err != nil {
		c.failed(check, "use the other store", err)
	}
	if state.Meta[metaDevelopment] != nil {
		c.warn(check, "create a new store for real users", "%s was made by 'countersign dev', which shows all messages without a key", name)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *checker) checkSchema(state inspection.State) {
	const check = "schema"
	switch {
	case !state.Exists:
	case state.Version > state.Known:
		c.fail(check, "run the newer version, or restore the backup that was made before its start", "the store has schema %d, written by a newer version; this one knows %d", state.Version, state.Known)
	case state.Version < state.Known:
		c.warn(check, "back up the store first: older versions do not open it after that", "the store has schema %d; the server updates it to %d at its start", state.Version, state.Known)
	default:
		c.ok(check, "the store has schema %d, the one of this version", state.Version)
	}
}

// checkKeyset loads the keyset and tries it on the store. state is nil if the store cannot be
// read. It returns nil if the keyset does not open the store.
func (c *checker) checkKeyset(ctx context.Context, state *inspection.State) *secret.Keyset {
	const check = "keyset"
	source, err := KeysetSource(c.cfg)
	if err != nil {
		c.failed(check, "set keyset", err)
		return nil
	}
	var proof []byte
	if state != nil {
		proof = state.Meta[metaKeyset]
	}
	path, isFile := strings.CutPrefix(source, "file:")
	keys, err := secret.LoadKeyset(ctx, source)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.cfg.Keyset == "" && state != nil && proof == nil:
		c.ok(check, "%s does not exist; the server creates it", path)
		return nil
	case errors.Is(err, fs.ErrNotExist) && proof != nil:
		c.fail(check, "restore the file from its backup", "the store is sealed, but its keyset is gone: %v", err)
		return nil
	case err != nil:
		c.failed(check, "name a keyset that this account can read", err)
		return nil
	}
	if isFile {
		c.checkOwner(check, path)
	}
	shown := keysetName(source)
	switch {
	case state == nil:
		c.warn(check, "correct the store, then check again", "%s can be loaded; whether it opens the store is not known", shown)
	case proof == nil:
		c.ok(check, "%s can be loaded; no server has sealed the store yet", shown)
	case !opensProof(keys, proof):
		c.fail(check, "name the right one with keyset, or put back the key that was retired before all rows were sealed again", "%s is not the keyset that the store is sealed with", shown)
	default:
		c.ok(check, "%s opens the store", shown)
		return keys
	}
	return nil
}

// checkNodes lists the nodes that serve the store, and compares their keysets with keys, if that is not nil.
func (c *checker) checkNodes(state inspection.State, keys *secret.Keyset) {
	const check = "nodes"
	if state.Version != state.Known || !state.Exists {
		return
	}
	current := ""
	if keys != nil {
		_, current = describeKeyset(keys)
	}
	var live, other []string
	versions := make(map[string]bool)
	for _, n := range state.Nodes {
		if n.IsLost(c.now()) {
			continue
		}
		name := fmt.Sprintf("%s at %s", n.Name, n.Address)
		live = append(live, fmt.Sprintf("%s (%s)", name, n.Version))
		versions[n.Version] = true
		if current != "" && n.Keyset != current {
			other = append(other, name)
		}
	}
	switch {
	case len(live) == 0:
		c.ok(check, "no node serves the store now")
	case len(other) > 0:
		c.warn(check, "give the keyset to every node and send SIGHUP", "these nodes have another keyset than this one: %s", strings.Join(other, ", "))
	case len(versions) > 1:
		c.warn(check, "complete the upgrade", "the nodes have different versions: %s", strings.Join(live, ", "))
	default:
		c.ok(check, "these nodes serve the store: %s", strings.Join(live, ", "))
	}
}

// keysetName names a source of a keyset without the arguments of a command, which may be
// secret.
func keysetName(source string) string {
	if command, ok := strings.CutPrefix(source, "exec:"); ok {
		name, _, _ := strings.Cut(strings.TrimSpace(command), " ")
		return "the output of " + name
	}
	return source
}

func (c *checker) checkClock(ctx context.Context, state inspection.State) {
	const check = "clock"
	limit := c.cfg.MaxClockSkew
	clock := &clock{store: readClock(state.Clock), now: c.now, limit: limit, log: slog.New(slog.DiscardHandler)}
	if state.Clock == nil {
		if err := clock.follows(ctx, newestRow(state.Newest)); err != nil {
			c.failed(check, "correct the clock", err)
			return
		}
		c.ok(check, "not behind the newest row of the store")
		return
	}
	ahead, wrong, err := clock.compare(ctx)
	switch {
	case err != nil:
		c.failed(check, "check the connection to the database", fmt.Errorf("read the clock of the database: %w", err))
	case wrong:
		c.fail(check, "synchronize both clocks, by NTP for example", "the clock of this machine is %s that of the database; max_clock_skew is %v", difference(ahead), limit)
	case ahead.Abs() > limit/2:
		c.warn(check, "synchronize both clocks, by NTP for example", "the clock of this machine is %s that of the database, more than half of max_clock_skew, %v", difference(ahead), limit)
	default:
		c.ok(check, "the clock of this machine is %s that of the database; max_clock_skew is %v", difference(ahead), limit)
	}
}

// readClock is a clockStore.
type readClock func(context.Context) (time.Time, error)

// Clock is clockStore.Clock.
func (r readClock) Clock(ctx context.Context) (time.Time, error) { return r(ctx) }

// newestRow is a datedStore.
type newestRow time.Time

// Newest is datedStore.Newest.
func (n newestRow) Newest(context.Context) (time.Time, error) { return time.Time(n), nil }

const (
	diskLow   = 1 << 30  // bytes free from which Check warns
	diskEmpty = 64 << 20 // bytes free from which Check fails
)

// checkDisk checks the free space for a SQLite store.
func (c *checker) checkDisk(path string) {
	const check = "disk_space"
	dir := filepath.Dir(path)
	for !exists(dir) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
	}
	free, err := freeSpace(dir)
	if err != nil {
		c.warn(check, "compare the free space with the size of the store", "the free space in %s is not known: %v", dir, err)
		return
	}
	size := sizeOf(path)
	switch {
	case free < diskEmpty:
		c.fail(check, "free some space: a store that cannot write answers 503", "only %s are free in %s", bytesText(free), dir)
	case free < max(diskLow, size):
		c.warn(check, "free some space: an upgrade can need as much as the store has now", "%s are free in %s, and the store has %s", bytesText(free), dir, bytesText(size))
	default:
		c.ok(check, "%s are free in %s, and the store has %s", bytesText(free), dir, bytesText(size))
	}
}

// sizeOf returns the size of a SQLite store with its log, in bytes.
func sizeOf(path string) (size int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}

// bytesText writes a number of bytes with a unit.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n == 0:
		return "0 bytes"
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
