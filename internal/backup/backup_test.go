package backup_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-mfa/countersign/internal/backup"
)

// A fixture is a schedule whose backups are files with the text "backup".
type fixture struct {
	store, dir string
	opts       backup.Options
	fails      error // of the next backups
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{store: filepath.Join(t.TempDir(), "countersign.db"), dir: t.TempDir()}
	f.opts = backup.Options{
		Dir: f.dir, Every: time.Hour, Keep: 3, Logger: slog.New(slog.DiscardHandler),
		Make: func(_ context.Context, file string) (int64, error) {
			if f.fails != nil {
				return 0, f.fails
			}
			return 6, os.WriteFile(file, []byte("backup"), 0o600)
		},
		Need: func() int64 { return 100 << 20 },
	}
	return f
}

// run lets a schedule run for a time, which passes at once in a synctest bubble.
func (f *fixture) run(t *testing.T, d time.Duration) backup.State {
	t.Helper()
	s, err := backup.New(f.store, f.opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	time.Sleep(d)
	synctest.Wait()
	stop()
	<-done
	return s.State()
}

func (f *fixture) names(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTheFirstBackupIsMadeAtOnceAndTheNewestStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t) // the time is 2000-01-01 00:00 UTC
		if state := f.run(t, 0); state.Newest.Size != 6 || !state.Newest.At.Equal(time.Now()) || state.Failures != 0 {
			t.Fatalf("at the start: %+v", state)
		}
		f.run(t, 4*time.Hour+time.Minute)
		want := []string{
			"countersign.db-20000101T020000.000Z.backup", "countersign.db-20000101T030000.000Z.backup", "countersign.db-20000101T040000.000Z.backup",
		}
		if got := f.names(t); !slices.Equal(got, want) {
			t.Errorf("kept %q; want %q", got, want)
		}
		listed, err := backup.List(f.store, f.dir)
		if err != nil || len(listed) != 3 || filepath.Base(listed[2].Path) != want[2] {
			t.Errorf("List = %+v, %v", listed, err)
		}
	})
}

func TestARestartMakesNoBackupThatIsNotDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(t, time.Minute)
		f.run(t, 58*time.Minute)
		if got := f.names(t); len(got) != 1 {
			t.Errorf("after 59 minutes: %q", got)
		}
		f.run(t, 2*time.Minute)
		if got := f.names(t); len(got) != 2 {
			t.Errorf("after 61 minutes: %q", got)
		}
	})
}

func TestOtherFilesAreNeverRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		others := []string{
			"notes.txt", "countersign.db", "countersign.db-20000101T000000.000Z.backup.txt", "countersign.db-19990101T000000.000Z.backup",
			"other.db-19990101T000000.000Z.backup", ".countersign.db-19990101T000000.000Z.backup-partial-1", "countersign.db--partial-",
		}
		for _, name := range others {
			if err := os.WriteFile(filepath.Join(f.dir, name), []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// Another server with a store of the same name backs up to the same directory.
		neighbor := newFixture(t)
		neighbor.opts.Dir, neighbor.dir = f.dir, f.dir
		time.Sleep(time.Millisecond)
		neighbor.run(t, 0)
		time.Sleep(time.Millisecond)
		f.run(t, 10*time.Hour+time.Minute)
		got := f.names(t)
		for _, name := range others {
			if !slices.Contains(got, name) {
				t.Errorf("%s was removed", name)
			}
		}
		if want := len(others) + 1 + f.opts.Keep; len(got) != want {
			t.Errorf("%d files are left, %q; want %d", len(got), got, want)
		}
	})
}

func TestAFailureIsCountedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.fails = errors.New("no space left on device")
		if state := f.run(t, 11*time.Minute); state.Failures != 3 || !state.Newest.At.IsZero() || len(f.names(t)) != 0 {
			t.Errorf("in 11 minutes: %+v, files %q; want 3 failures and no file", state, f.names(t))
		}
		f.fails = nil
		if state := f.run(t, time.Minute); state.Failures != 0 || state.Newest.At.IsZero() {
			t.Errorf("with space again: %+v", state)
		}
	})
}

func TestADiskThatIsAlmostFullIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		free := int64(150 << 20)
		f.opts.Free = func(string) (int64, error) { return free, nil }
		if state := f.run(t, time.Minute); state.Failures != 1 || len(f.names(t)) != 0 {
			t.Errorf("with 150 MiB for a store of 100 MiB: %+v, files %q", state, f.names(t))
		}
		free = 200 << 20
		if state := f.run(t, time.Minute); state.Failures != 0 || len(f.names(t)) != 1 {
			t.Errorf("with 200 MiB: %+v, files %q", state, f.names(t))
		}
	})
}

func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.opts.Make = func(_ context.Context, file string) (int64, error) {
			temp := filepath.Join(f.dir, "."+filepath.Base(file)+backup.PartialMark+"123")
			if err := os.WriteFile(temp, []byte("part"), 0o600); err != nil {
				return 0, err
			}
			return 0, errors.Join(os.Chtimes(temp, time.Now(), time.Now()), errors.New("killed"))
		}
		f.run(t, 0)
		whole := newFixture(t).opts.Make
		f.opts.Make = whole
		f.run(t, time.Minute)
		if got := f.names(t); len(got) != 2 {
			t.Fatalf("within the hour: %q; want the incomplete file to stay", got)
		}
		f.run(t, 3*time.Hour)
		if got := strings.Join(f.names(t), " "); strings.Contains(got, backup.PartialMark) || len(f.names(t)) != 3 {
			t.Errorf("after three hours: %q", got)
		}
	})
}

func TestARecordThatACrashCutIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(t, 0)
		record, err := os.OpenFile(f.store+".backups", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := record.WriteString("countersign.db-2000"); err != nil {
			t.Fatal(err)
		}
		record.Close()
		f.run(t, time.Hour)
		if listed, err := backup.List(f.store, f.dir); err != nil || len(listed) != 2 {
			t.Errorf("List = %v, %v; want two", listed, err)
		}
	})
}

func TestAMissingDirectoryIsRefused(t *testing.T) {
	f := newFixture(t)
	for _, dir := range []string{filepath.Join(f.dir, "none"), f.store} {
		f.opts.Dir = dir
		os.WriteFile(f.store, nil, 0o600)
		if _, err := backup.New(f.store, f.opts); err == nil {
			t.Errorf("New accepts %s", dir)
		}
	}
}

func TestAClockThatIsSetBackDoesNotStopTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.run(t, 0)
		f.opts.Now = func() time.Time { return time.Now().AddDate(-1, 0, 0) }
		state := f.run(t, 3*time.Hour+time.Minute)
		want := []string{
			"countersign.db-19990101T010000.000Z.backup", "countersign.db-19990101T020000.000Z.backup", "countersign.db-19990101T030000.000Z.backup",
		}
		if got := f.names(t); !slices.Equal(got, want) || state.Newest.At.Year() != 1999 {
			t.Errorf("a year earlier: %q, newest %v; want %q", got, state.Newest.At, want)
		}
	})
}
