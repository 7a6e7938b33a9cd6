package postgres_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/postgres"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// BenchmarkOrder measures what the order of events costs the server, as time of the processor
// and bytes of the log: for each transaction that takes a position, for each look of a reader,
// and for each event if a sequencer moved committed events into another table instead.
func BenchmarkOrder(b *testing.B) {
	conn := connect(b, migrated(b))
	inTransaction := func(sql string) func(n int) {
		return func(n int) {
			for n > 0 {
				batch := &pgx.Batch{}
				for range min(n, 100) {
					batch.Queue("BEGIN")
					batch.Queue(sql)
					batch.Queue("ROLLBACK")
				}
				n -= 100
				if err := conn.SendBatch(context.Background(), batch).Close(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	exec(b, conn, `CREATE TABLE stream (LIKE events INCLUDING ALL, seq bigint UNIQUE)`)
	exec(b, conn, `CREATE SEQUENCE stream_seq`)
	const staged = 100_000
	for _, tc := range []struct {
		name string
		run  func(n int)
	}{
		{"an empty transaction", inTransaction(`SELECT 1, 2`)},
		{"a transaction with a position", inTransaction(`SELECT epoch, n FROM event_position()`)},
		{"a look of a reader", inTransaction(`SELECT event_watermark()`)},
		{"an event moved by a sequencer", func(n int) {
			for range (n + 999) / 1000 {
				exec(b, conn, `WITH moved AS (DELETE FROM events WHERE ctid = ANY (ARRAY(SELECT ctid FROM events ORDER BY environment, id LIMIT 1000)) RETURNING *)
					INSERT INTO stream SELECT moved.*, nextval('stream_seq') FROM moved`)
			}
		}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			if strings.Contains(tc.name, "sequencer") {
				exec(b, conn, `TRUNCATE events, stream`)
				exec(b, conn, fmt.Sprintf(`INSERT INTO events (bucket, id, environment, type, factor, challenge, at, kind, caller, request)
					SELECT n %% 1024, md5('e' || n)::uuid, 1, 'challenge.created', md5('f' || n)::uuid, md5('c' || n)::uuid, now(), 'totp',
					'key_01KMWBDNXV0000000000001NFA', md5(n::text)::uuid::text FROM generate_series(1, %d) n`, max(staged, b.N+1000)))
				exec(b, conn, `ANALYZE events`)
			}
			before, wal := processorTime(b, conn), walBytes(b, conn)
			b.ResetTimer()
			tc.run(b.N)
			b.StopTimer()
			b.ReportMetric(float64(processorTime(b, conn)-before)/float64(time.Microsecond)/float64(b.N), "µs-server/op")
			b.ReportMetric(float64(walBytes(b, conn)-wal)/float64(b.N), "wal-bytes/op")
		})
	}
}

// processorTime returns the time that the processor has spent in the server process of conn.
func processorTime(b *testing.B, conn *pgx.Conn) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", conn.PgConn().PID()))
	if err != nil {
		b.Skip("the benchmark needs /proc: ", err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * time.Second / 100 // in ticks
}

func walBytes(b *testing.B, conn *pgx.Conn) (n int64) {
	b.Helper()
	if err := conn.QueryRow(b.Context(), `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkVisibility measures the time from the start of an Update on one of three nodes until
// a follower has its event.
func BenchmarkVisibility(b *testing.B) {
	url := migrated(b)
	nodes := make([]*postgres.Store, 3)
	for i := range nodes {
		nodes[i] = openAt(b, url, postgres.Options{})
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	reader := events.NewService(openAt(b, url, postgres.Options{}), events.Options{})
	var mu sync.Mutex
	var waits []time.Duration
	seen := make(chan struct{}, 1)
	var following sync.WaitGroup
	following.Go(func() {
		_ = reader.Follow(ctx, events.Query{Environment: 1}, func(page events.Page) error {
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			for _, e := range page.Events {
				waits = append(waits, now.Sub(e.At))
			}
			if len(waits) >= b.N {
				select {
				case seen <- struct{}{}:
				default:
				}
			}
			return nil
		})
	})
	const callers = 48
	work := make(chan int)
	var writing sync.WaitGroup
	for i := range callers {
		writing.Go(func() {
			f := storetest.NewFactor(storetest.NewUser())
			for range work {
				e := storetest.NewEvent(f)
				e.At = time.Now().Truncate(time.Millisecond)
				if err := nodes[i%len(nodes)].Update(ctx, mfa.Read{Bucket: f.ID.Bucket()}, storetest.Writing(mfa.AppendEvent{Event: e})); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for i := range b.N {
		work <- i
	}
	close(work)
	writing.Wait()
	b.StopTimer()
	<-seen
	stop()
	following.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Milliseconds()), "p99-ms")
}
