package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/seed"
	"github.com/countersign-mfa/countersign/internal/server"
)

// A seedFile is the file of --seed. The zero value has nothing to add.
type seedFile struct {
	seed.Seed
	hash string
}

func readSeed(path string) (f seedFile, err error) {
	if path == "" {
		return f, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	hash := sha256.Sum256(text)
	f.hash = hex.EncodeToString(hash[:])
	f.Seed, err = seed.Parse(text)
	return f, err
}

// trySeed applies f to a store that is deleted afterwards, unless the file at mark says that
// the store of dev has a seed. So a mistake in f is found before anything is written.
func (d *devCommand) trySeed(ctx context.Context, f seedFile, mark string) (err error) {
	if _, err := os.Stat(mark); err == nil || f.hash == "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "countersign-seed-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "trial.db")
	trial := d.settings()
	trial.Store, trial.Distribute, trial.StoreMustExist = "sqlite:"+path, false, false
	trial.ConsoleAddr, trial.MetricsAddr, trial.EventsSink, trial.BackupDir, trial.SMS = "", "", "", "", ""
	trial.Webhooks = "off" // delivers nothing; endpoints are checked all the same
	srv, err := server.New(ctx, trial, server.Parts{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	if _, err := d.key(ctx, srv.Access(), path+".apikey"); err != nil {
		return err
	}
	return f.apply(ctx, srv)
}

func (f seedFile) apply(ctx context.Context, srv *server.Server) error {
	return f.Apply(ctx, seed.Services{Access: srv.Access(), Factors: srv.Factors(), Webhooks: srv.Webhooks()}, accountName())
}

// fill adds the content of f to the store of srv, once. The file at mark remembers it.
func (f seedFile) fill(ctx context.Context, srv *server.Server, mark string) error {
	if f.hash == "" {
		return nil
	}
	const begun = " begun"
	kept, err := os.ReadFile(mark)
	switch was := strings.TrimSpace(string(kept)); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case was == f.hash:
		return nil
	case strings.HasSuffix(was, begun):
		return errors.New("the store was filled in part only; delete it, and start again")
	case was != "":
		return errors.New("the store was filled from a file with another content; delete it, or give another --store")
	}
	if err := atomicfile.Replace(mark, []byte(f.hash+begun+"\n"), 0o600); err != nil {
		return err
	}
	if err := f.apply(ctx, srv); err != nil {
		return err
	}
	return atomicfile.Replace(mark, []byte(f.hash+"\n"), 0o600)
}
