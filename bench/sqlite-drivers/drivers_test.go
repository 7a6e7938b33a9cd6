package drivers_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/mattn"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/modernc"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/ncruces"
	"github.com/countersign-mfa/countersign/bench/sqlite-drivers/zombiezen"
)

var all = []drivers.Driver{ncruces.Driver, zombiezen.Driver, modernc.Driver, mattn.Driver}

func each(t *testing.T, test func(*testing.T, drivers.Driver, string)) {
	for _, d := range all {
		t.Run(d.Name, func(t *testing.T) { test(t, d, filepath.Join(t.TempDir(), "test.db")) })
	}
}

func open(t testing.TB, d drivers.Driver, path string) drivers.Conn {
	t.Helper()
	c, err := d.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func number(t testing.TB, c drivers.Conn, sql string) int64 {
	t.Helper()
	n, err := c.Int(context.Background(), sql)
	must(t, err)
	return n
}

func wantKind(t testing.TB, d drivers.Driver, err error, want drivers.Kind) {
	t.Helper()
	if got := d.Kind(err); got != want {
		t.Errorf("kind of %v = %q; want %q", err, got, want)
	}
}

func TestPragmasHold(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		for sql, want := range map[string]int64{
			"SELECT journal_mode = 'wal' FROM pragma_journal_mode": 1,
			"PRAGMA synchronous":        2,
			"PRAGMA wal_autocheckpoint": 0,
			"PRAGMA busy_timeout":       5000,
			"PRAGMA foreign_keys":       1,
		} {
			if got := number(t, c, sql); got != want {
				t.Errorf("%s = %d; want %d", sql, got, want)
			}
		}
	})
}

func TestRowComesBack(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		var in, kept, out drivers.Row
		in.Fill(7)
		kept = in
		must(t, c.Insert(&in))
		clear(in.Sealed[:]) // a bound value must not alias the caller's memory
		in.Fill(8)
		must(t, c.Insert(&in))
		out.Key(7)
		found, err := c.Read(&out)
		must(t, err)
		if !found || out != kept {
			t.Errorf("Read = %v, %+v; want %+v", found, out, kept)
		}
		out.Key(9)
		if found, err := c.Read(&out); found || err != nil {
			t.Errorf("Read of no row = %v, %v", found, err)
		}
	})
}

func TestSavepointUndoesItsOwnWork(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		var r drivers.Row
		must(t, c.Control(drivers.Begin))
		for n := range uint64(9) {
			must(t, c.Control(drivers.Savepoint))
			r.Fill(n)
			must(t, c.Insert(&r))
			if n%3 == 0 {
				wantKind(t, d, c.Insert(&r), drivers.Unique)
				must(t, c.Control(drivers.Undo))
			}
			must(t, c.Control(drivers.Release))
		}
		must(t, c.Control(drivers.Commit))
		if got := number(t, c, "SELECT count(*) FROM factors"); got != 6 {
			t.Errorf("%d rows; want 6", got)
		}
	})
}

func TestBusyIsTold(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		holder, other := open(t, d, path), open(t, d, path)
		must(t, other.Exec("PRAGMA busy_timeout = 100"))
		must(t, holder.Control(drivers.Begin))
		start := time.Now()
		wantKind(t, d, other.Control(drivers.Begin), drivers.Busy)
		t.Log("waited", time.Since(start).Round(time.Millisecond))
		must(t, holder.Control(drivers.Rollback))
		must(t, other.Control(drivers.Begin))
		must(t, other.Control(drivers.Rollback))
	})
}

func TestFullIsTold(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		must(t, c.Exec("PRAGMA max_page_count = 8"))
		var r drivers.Row
		var err error
		for n := uint64(0); err == nil && n < 1000; n++ {
			r.Fill(n)
			err = c.Insert(&r)
		}
		wantKind(t, d, err, drivers.Full)
	})
}

func TestContextInterrupts(t *testing.T) {
	const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Int(ctx, endless)
		wantKind(t, d, err, drivers.Interrupted)
		t.Log("stopped after", time.Since(start).Round(time.Millisecond))
		if got := number(t, c, "SELECT 5"); got != 5 { // the connection lives on
			t.Errorf("SELECT 5 = %d", got)
		}
	})
}
