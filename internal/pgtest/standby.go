package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// backup writes a copy of the running cluster to s, which is empty: by pg_basebackup, or, with
// server binaries that come without it, by the functions on which it is built.
func (c *Cluster) backup(ctx context.Context, s *Cluster) error {
	if _, err := os.Stat(filepath.Join(s.bin, "pg_basebackup")); err == nil {
		out, err := s.run("pg_basebackup", "--pgdata="+s.Dir, "--dbname="+s.source, "--checkpoint=fast", "--wal-method=stream")
		if err != nil {
			return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
		}
		return nil
	}
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SELECT pg_backup_start('pgtest', true)"); err != nil {
		return err
	}
	if err := copyTree(c.Dir, s.Dir, "postmaster.pid", "postmaster.opts", "pg_wal"); err != nil {
		return err
	}
	var label string
	if err := conn.QueryRow(ctx, "SELECT labelfile FROM pg_backup_stop(false)").Scan(&label); err != nil {
		return err
	}
	// The log from the start of the backup to its end, without which the copy is not consistent.
	if err := copyTree(filepath.Join(c.Dir, "pg_wal"), filepath.Join(s.Dir, "pg_wal")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "backup_label"), []byte(label), 0o600); err != nil {
		return err
	}
	if s.account == nil {
		return nil
	}
	return filepath.WalkDir(s.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(s.account.Uid), int(s.account.Gid))
	})
}

// copyTree copies a directory that a server changes. It leaves out the named entries of the
// directory, and files that disappear.
func copyTree(from, to string, except ...string) error {
	skip := map[string]bool{}
	for _, name := range except {
		skip[filepath.Join(from, name)] = true
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != from {
			return nil
		}
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case skip[path] && entry.IsDir():
			return filepath.SkipDir
		case skip[path]:
			return nil
		case entry.IsDir():
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
}
