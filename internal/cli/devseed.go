package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
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
	if err := f.Apply(ctx, seed.Services{Access: srv.Access(), Factors: srv.Factors(), Webhooks: srv.Webhooks()}, accountName()); err != nil {
		return err
	}
	return atomicfile.Replace(mark, []byte(f.hash+"\n"), 0o600)
}
