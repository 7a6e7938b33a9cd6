package server

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/backup"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// newBackups returns the schedule of backups, nil if none is set.
func (s *Server) newBackups() (*backup.Schedule, error) {
	path, ok := config.SQLitePath(s.cfg.Store)
	if s.cfg.BackupDir == "" || !ok {
		return nil, nil
	}
	schedule, err := backup.New(path, backup.Options{
		Dir: s.cfg.BackupDir, Every: s.cfg.BackupEvery, Keep: s.cfg.BackupKeep,
		Make: func(ctx context.Context, file string) (int64, error) {
			return sqlite.Backup(ctx, path, file, false, nil)
		},
		Need: func() int64 { return sizeOf(path) },
		Free: freeSpace, Logger: s.log, Now: s.now,
	})
	if err != nil {
		return nil, fmt.Errorf("--backup-dir: %w", err)
	}
	if s.metrics != nil {
		s.metrics.Backups(func() (age float64, size int64, failures int, ok bool) {
			state := schedule.State()
			return s.now().Sub(state.Newest.At).Seconds(), state.Newest.Size, state.Failures, !state.Newest.At.IsZero()
		})
	}
	return schedule, nil
}
