package drivers_test

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
)

const (
	rows  = 1_000_000
	group = 64
)

// million is a database of rows rows, made once; every driver gets a copy.
var million struct {
	once sync.Once
	dir  string
	path string
}

func copyOfMillion(b *testing.B) string {
	million.once.Do(func() {
		var err error
		million.dir, err = os.MkdirTemp("", "sqlite-drivers")
		must(b, err)
		million.path = filepath.Join(million.dir, "million.db")
		c, err := all[0].Open(million.path)
		must(b, err)
		must(b, c.Exec("PRAGMA synchronous = OFF"))
		must(b, c.Exec("PRAGMA cache_size = -131072"))
		must(b, c.Control(drivers.Begin))
		var r drivers.Row
		for n := range uint64(rows) {
			r.Fill(n)
			must(b, c.Insert(&r))
		}
		must(b, c.Control(drivers.Commit))
		_, _, _, err = c.Checkpoint("TRUNCATE")
		must(b, err)
		must(b, c.Close())
	})
	path := filepath.Join(b.TempDir(), "test.db")
	from, err := os.Open(million.path)
	must(b, err)
	defer from.Close()
	to, err := os.Create(path)
	must(b, err)
	defer to.Close()
	_, err = io.Copy(to, from)
	must(b, err)
	must(b, to.Sync())
	return path
}

func eachDriver(b *testing.B, bench func(*testing.B, drivers.Driver, string)) {
	for _, d := range all {
		b.Run(d.Name, func(b *testing.B) { bench(b, d, copyOfMillion(b)) })
	}
}

// A writer changes rows, one after another or in groups.
type writer struct {
	drivers.Conn
	row     drivers.Row
	next    uint64
	commits int
}

func (w *writer) insert() error {
	w.row.Key(rows + w.next)
	w.row.LastStep = int64(w.next)
	w.next++
	return w.Insert(&w.row)
}

func (w *writer) update() error {
	w.row.Key(rand.Uint64N(rows))
	w.row.LastStep++
	return w.Update(&w.row)
}

// group runs change group times in one transaction.
func (w *writer) group(change func() error, savepoints bool) error {
	if err := w.Control(drivers.Begin); err != nil {
		return err
	}
	for range group {
		if savepoints {
			if err := w.Control(drivers.Savepoint); err != nil {
				return err
			}
		}
		if err := change(); err != nil {
			return err
		}
		if savepoints {
			if err := w.Control(drivers.Release); err != nil {
				return err
			}
		}
	}
	return w.Control(drivers.Commit)
}

// write runs change, which commits once, and checkpoints outside the timer.
func write(b *testing.B, rowsEach, checkpointEvery int, change func(*writer) error) {
	eachDriver(b, func(b *testing.B, d drivers.Driver, path string) {
		w := &writer{Conn: open(b, d, path)}
		w.row.Fill(rows)
		b.ReportAllocs()
		used := -cpu(b)
		for b.Loop() {
			must(b, change(w))
			if w.commits++; w.commits%checkpointEvery == 0 {
				b.StopTimer()
				used += cpu(b)
				_, _, _, err := w.Checkpoint("PASSIVE")
				must(b, err)
				used -= cpu(b)
				b.StartTimer()
			}
		}
		used += cpu(b)
		perSecond(b, "rows/s", rowsEach*b.N)
		b.ReportMetric(float64(used.Nanoseconds())/1000/float64(rowsEach*b.N), "cpu-µs/row")
	})
}

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perSecond(b *testing.B, unit string, n int) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), unit)
}

func BenchmarkCommitEach(b *testing.B) { write(b, 1, 4096, (*writer).insert) }

func BenchmarkGroup(b *testing.B) {
	write(b, group, 64, func(w *writer) error { return w.group(w.insert, false) })
}

func BenchmarkGroupSavepoints(b *testing.B) {
	write(b, group, 64, func(w *writer) error { return w.group(w.insert, true) })
}

func BenchmarkUpdateGroup(b *testing.B) {
	write(b, group, 64, func(w *writer) error { return w.group(w.update, false) })
}

func BenchmarkRead(b *testing.B) {
	eachDriver(b, func(b *testing.B, d drivers.Driver, path string) {
		c := open(b, d, path)
		var r drivers.Row
		b.ReportAllocs()
		for b.Loop() {
			r.Key(rand.Uint64N(rows))
			if found, err := c.Read(&r); !found || err != nil {
				b.Fatal(found, err)
			}
		}
		perSecond(b, "reads/s", b.N)
	})
}

// BenchmarkReadWhileWriting has GOMAXPROCS readers, and a writer of groups at 100
// commits a second, which checkpoints itself.
func BenchmarkReadWhileWriting(b *testing.B) {
	eachDriver(b, func(b *testing.B, d drivers.Driver, path string) {
		w := &writer{Conn: open(b, d, path)}
		var stop atomic.Bool
		var wrote int
		var done sync.WaitGroup
		done.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for !stop.Load() {
				<-tick.C
				if err := w.group(w.update, true); err != nil {
					b.Error(err)
					return
				}
				if wrote++; wrote%64 == 0 {
					if _, _, _, err := w.Checkpoint("PASSIVE"); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
		b.RunParallel(func(p *testing.PB) {
			c, err := d.Open(path)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			var r drivers.Row
			for p.Next() {
				r.Key(rand.Uint64N(rows))
				if found, err := c.Read(&r); !found || err != nil {
					b.Error(found, err)
					return
				}
			}
		})
		perSecond(b, "reads/s", b.N)
		perSecond(b, "commits/s", wrote)
		stop.Store(true)
		done.Wait()
	})
}

// BenchmarkCheckpoint commits groups while another connection checkpoints every
// 250 ms, and tells how long the writer waited at worst.
func BenchmarkCheckpoint(b *testing.B) {
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} {
		b.Run(mode, func(b *testing.B) {
			eachDriver(b, func(b *testing.B, d drivers.Driver, path string) {
				w := &writer{Conn: open(b, d, path)}
				other := open(b, d, path)
				var stop atomic.Bool
				var done sync.WaitGroup
				var longest time.Duration
				var runs, busy int
				done.Go(func() {
					for !stop.Load() {
						time.Sleep(250 * time.Millisecond)
						start := time.Now()
						refused, _, _, err := other.Checkpoint(mode)
						if err != nil {
							b.Error(err)
							return
						}
						longest = max(longest, time.Since(start))
						runs++
						if refused {
							busy++
						}
					}
				})
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					must(b, w.group(w.update, true))
					took = append(took, time.Since(start))
				}
				stop.Store(true)
				done.Wait()
				slices.Sort(took)
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
				b.ReportMetric(ms(took[len(took)*99/100]), "p99-ms")
				b.ReportMetric(ms(took[len(took)-1]), "worst-ms")
				b.ReportMetric(ms(longest), "checkpoint-ms")
				b.ReportMetric(float64(busy)/float64(max(1, runs)), "busy/run")
				wal, err := os.Stat(path + "-wal")
				must(b, err)
				b.ReportMetric(float64(wal.Size())/(1<<20), "wal-MB")
			})
		})
	}
}

// BenchmarkMemory measures the memory of connections after 200,000 reads each,
// in a separate process.
func BenchmarkMemory(b *testing.B) {
	for _, connections := range []int{1, 4} {
		b.Run(strconv.Itoa(connections), func(b *testing.B) {
			eachDriver(b, func(b *testing.B, d drivers.Driver, path string) {
				var kB, n int
				for b.Loop() {
					out, err := command("memory", d.Name, path, strconv.Itoa(connections)).Output()
					must(b, err)
					grown, err := strconv.Atoi(strings.TrimSpace(string(out)))
					must(b, err)
					kB, n = kB+grown, n+1
				}
				b.ReportMetric(float64(kB)/float64(n)/1024, "MB")
			})
		})
	}
}
