package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A stored population is a store with factors in it.
type stored struct {
	Key     string        `json:"key"` // an API key
	Generic []load.Factor `json:"generic"`
	TOTP    []load.Factor `json:"totp"`
	Bytes   int64         `json:"bytes"` // of the file; SQLite

	build    string // the program that serves it
	store    string // as --store takes it
	keyset   string
	database int
}

const (
	databaseFile   = "countersign.db"
	keysetFile     = "keyset" // not the default name, which tells a server that its store is missing
	populationFile = "population.json"
)

// sqlite returns a new SQLite store with size factors for a build to serve. Some of
// them, spread over all, were enrolled over the API; the others were written into
// the file. A filled store is kept and copied afterwards.
func (b *bench) sqlite(ctx context.Context, build, name string, size int) (*stored, error) {
	generic, totp := b.opts.generic, b.opts.totp
	if size > 0 && generic+totp > size {
		generic, totp = size*9/10, size/10
	}
	filled := max(0, size-generic-totp)
	if err := b.room(int64(filled) * 800); err != nil { // two copies, and their logs
		return nil, err
	}
	schema, err := b.schema(ctx, build)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(b.opts.dir, "stores", fmt.Sprintf("schema%d-%s-%d-%d-%d", schema, b.opts.fill, filled, generic, totp))
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		b.say("filling a SQLite store with %s factors", sizeName(generic+totp+filled))
		if err := b.fillSQLite(ctx, build, kept, generic, totp, filled); err != nil {
			return nil, fmt.Errorf("fill a store: %w", err)
		}
	}
	dir := filepath.Join(b.work, name)
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		return nil, err
	}
	st := &stored{build: build, store: "sqlite:" + filepath.Join(dir, databaseFile), keyset: filepath.Join(dir, keysetFile)}
	if err := os.Chmod(st.keyset, 0o600); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, populationFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it", kept, err)
	}
	// Now, and not while something is being measured.
	f, err := os.Open(filepath.Join(dir, databaseFile))
	if err != nil {
		return nil, err
	}
	return st, errors.Join(f.Sync(), f.Close())
}

// room refuses to fill a disk up.
func (b *bench) room(wanted int64) error {
	left, disk, err := free(b.opts.dir)
	switch {
	case err != nil:
		return err
	case !disk:
		return fmt.Errorf("%s lies in memory, where fsync costs nothing: name another by -dir", b.opts.dir)
	case left < wanted+1<<30:
		return fmt.Errorf("%s has %d MiB left; filling takes %d MiB and leaves 1 GiB", b.opts.dir, left>>20, wanted>>20)
	}
	return nil
}

// fillSQLite makes a store in the directory kept.
func (b *bench) fillSQLite(ctx context.Context, build, kept string, generic, totp, filled int) error {
	partial := kept + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return err
	}
	path := filepath.Join(partial, databaseFile)
	st := &stored{build: build, store: "sqlite:" + path, keyset: filepath.Join(partial, keysetFile)}
	if err := b.populate(ctx, st, generic, totp); err != nil {
		return err
	}
	if err := fill(ctx, path, b.opts.fill, filled); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	st.Bytes = info.Size()
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, populationFile), text, 0o600); err != nil {
		return err
	}
	return os.Rename(partial, kept)
}

// schema returns the version of the SQLite stores that a build makes.
func (b *bench) schema(ctx context.Context, build string) (uint32, error) {
	path := filepath.Join(b.work, "schema", databaseFile)
	defer os.RemoveAll(filepath.Dir(path))
	if _, err := b.command(ctx, build, "migrate", "--store", "sqlite:"+path); err != nil {
		return 0, err
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	const at = 60 // of the user version, in the header of every SQLite file
	return binary.BigEndian.Uint32(file[at:]), nil
}

// postgres returns a new store in a PostgreSQL cluster that is removed with the
// bench, with the factors that are enrolled over the API.
func (b *bench) postgres(ctx context.Context, build string) (*stored, error) {
	if _, disk, err := free(os.TempDir()); err != nil || !disk {
		return nil, fmt.Errorf("the cluster would lie in %s, in memory, where fsync costs nothing: set TMPDIR (%v)", os.TempDir(), err)
	}
	b.say("filling a PostgreSQL store with %s factors", sizeName(b.opts.generic+b.opts.totp))
	cluster, err := pgtest.New()
	if err != nil {
		return nil, err
	}
	b.cleanup = append(b.cleanup, cluster.Remove)
	st := &stored{build: build, store: cluster.URL("postgres"), keyset: filepath.Join(b.work, fmt.Sprintf("postgres-%d.keyset", len(b.cleanup)))}
	pid, err := os.ReadFile(filepath.Join(cluster.Dir, "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscan(string(pid), &st.database); err != nil {
		return nil, fmt.Errorf("postmaster.pid: %w", err)
	}
	return st, b.populate(ctx, st, b.opts.generic, b.opts.totp)
}

// populate makes an environment, a key and factors in an empty store.
func (b *bench) populate(ctx context.Context, st *stored, generic, totp int) (err error) {
	if _, err := b.command(ctx, st.build, "keyset", "create", st.keyset); err != nil {
		return err
	}
	if _, err := b.command(ctx, st.build, "environment", "create", "bench", "--production", "--store", st.store); err != nil {
		return err
	}
	if st.Key, err = b.command(ctx, st.build, "key", "create", "--env", "bench", "--store", st.store); err != nil {
		return err
	}
	s, err := b.startStore(ctx, "filling", st)
	if err != nil {
		return err
	}
	clients, err := load.Clients(s.addr, s.key, b.clientName(), b.opts.connections)
	if err != nil {
		return err
	}
	defer load.CloseAll(clients)
	if st.Generic, st.TOTP, err = load.Enroll(clients, generic, totp); err != nil {
		return err
	}
	return s.stop()
}

// command runs countersign to its end and returns its output.
func (b *bench) command(ctx context.Context, build string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, build, args...)
	cmd.Env = environment()
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("countersign %s: %w\n%s", args[0], err, problems.String())
	}
	return strings.TrimSpace(string(out)), nil
}
