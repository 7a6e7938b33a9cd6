package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// fill writes large factors from several callers until the store has refused each
// caller a few times, and returns the accepted factors. Every refusal must be an
// ErrUnavailable.
func fill(ctx context.Context, s *sqlite.Store) ([]*mfa.Factor, error) {
	const callers, refusals = 16, 5
	var mu sync.Mutex
	var accepted []*mfa.Factor
	var wrong []error
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for refused := 0; refused < refusals; {
				f := storetest.NewFactor(storetest.NewUser())
				f.Sealed = bytes.Repeat(f.ID[:], 512)
				err := s.Update(ctx, readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f}))
				mu.Lock()
				switch {
				case err == nil:
					accepted = append(accepted, f)
				case !errors.Is(err, mfa.ErrUnavailable):
					wrong = append(wrong, err)
					fallthrough
				default:
					refused++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return accepted, errors.Join(wrong...)
}

// fillAndRecover fills the disk under a store and makes room again. It checks that no
// accepted factor is lost and that the store works again.
func fillAndRecover(ctx context.Context, path string, makeRoom func() error) (err error) {
	s, err := sqlite.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	accepted, err := fill(ctx, s)
	if err != nil {
		return fmt.Errorf("refused with something else than ErrUnavailable: %w", err)
	}
	if len(accepted) == 0 {
		return errors.New("nothing was accepted")
	}
	if err := stored(ctx, s, accepted); err != nil {
		return fmt.Errorf("while the disk is full: %w", err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	for range 100 {
		f := storetest.NewFactor(storetest.NewUser())
		if err := s.Update(ctx, readFactor(f.ID), storetest.Writing(mfa.InsertFactor{Factor: f})); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
		accepted = append(accepted, f)
	}
	if err := errors.Join(stored(ctx, s, accepted), s.Check(ctx), s.Close()); err != nil {
		return err
	}
	if s, err = sqlite.Open(path, nil); err != nil {
		return err
	}
	return errors.Join(stored(ctx, s, accepted), s.Check(ctx))
}

// stored returns an error if the store does not return one of factors unchanged.
func stored(ctx context.Context, s *sqlite.Store, factors []*mfa.Factor) error {
	for _, f := range factors {
		rows, err := s.View(ctx, readFactor(f.ID))
		if err != nil {
			return err
		}
		if rows.Factor == nil || !bytes.Equal(rows.Factor.Sealed, f.Sealed) {
			return fmt.Errorf("%s was accepted and is not stored", f.ID)
		}
	}
	return nil
}

// TestFullDisk fills a disk twice: once before the first checkpoint of the log and once
// after it.
func TestFullDisk(t *testing.T) {
	for _, size := range []int{12 << 20, 64 << 20} {
		t.Run(fmt.Sprint(size>>20, " MiB"), func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
				t.Skipf("mount a small disk: %v (TestFileLimit covers failing writes)", err)
			}
			defer func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			}()
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, size*3/8), 0o600); err != nil {
				t.Fatal(err)
			}
			makeRoom := func() error { return os.Remove(ballast) }
			if err := fillAndRecover(t.Context(), filepath.Join(dir, "countersign.db"), makeRoom); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFileLimit does the same in a process that may not write beyond the first 2 MiB of
// any file. It needs no special rights.
func TestFileLimit(t *testing.T) {
	if out, err := process(t, "limit", newPath(t)).Output(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func writeUnderLimit(path string, _ io.Writer) error {
	signal.Ignore(syscall.SIGXFSZ) // the write returns an error instead of ending the process
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	room := limit.Cur
	limit.Cur = 2 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	return fillAndRecover(context.Background(), path, func() error {
		limit.Cur = room
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	})
}
