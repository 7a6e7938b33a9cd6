package sqlite

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// TestFactorsAreSearchedInSegments reads the plan of the statements that look for a factor: in each
// segment they must search for the factor itself.
func TestFactorsAreSearchedInSegments(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "countersign.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, sql := range []string{selectOfFactor, newestOfFactor} {
		plan := ""
		err := s.writer.prepare("EXPLAIN QUERY PLAN " + sql).each(func(row *rowReader) error {
			plan += row.ColumnText(3) + "\n"
			return nil
		})
		if err != nil || !strings.Contains(plan, "SEARCH x USING PRIMARY KEY (environment=? AND segment=? AND factor_hi=? AND (hi,lo)>(?,?) AND (hi,lo)<(?,?))") ||
			strings.Contains(plan, "TEMP") {
			t.Errorf("%s\n%s%v", sql, plan, err)
		}
	}
}

// TestEventsOfFactorsAreFoundInSegments compares pages of the events of factors before any
// segment, with segments, after older events were imported, and after the oldest were removed.
func TestEventsOfFactorsAreFoundInSegments(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "countersign.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.segmentSize = 16
	start := time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)
	id := func(at time.Time, n int) (id [16]byte) {
		binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16)
		binary.BigEndian.PutUint64(id[8:], uint64(n)<<10|7)
		return id
	}
	var factors []mfa.FactorID
	for i := range 5 {
		factors = append(factors, id(start, 1000+i))
	}
	var all []mfa.Event
	for i := range 400 {
		at := start.Add(time.Duration(i) * time.Minute)
		all = append(all, mfa.Event{
			ID: id(at, i), At: at, Environment: mfa.EnvironmentID(1 + i%3/2), Type: mfa.FactorLocked, Factor: factors[i*7%5],
		})
	}
	importEvents := func(late bool) {
		t.Helper()
		var rows []transfer.Row
		for i := range all {
			if (i%11 == 5) == late {
				rows = append(rows, transfer.Row{Event: &all[i]})
			}
		}
		if err := s.Import(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, has func(i int) bool) {
		t.Helper()
		for f, factor := range factors {
			for _, env := range []mfa.EnvironmentID{0, 1, 2} {
				for _, newest := range []bool{false, true} {
					if env == 0 && !newest {
						continue // only the newest events are asked for without an environment
					}
					for _, part := range [][2]int{{0, 400}, {37, 301}} {
						var want, got []mfa.EventID
						for i, e := range all {
							if has(i) && e.Factor == factor && (env == 0 || e.Environment == env) && i > part[0] && i < part[1] {
								want = append(want, e.ID)
							}
						}
						if newest {
							for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
								want[i], want[j] = want[j], want[i]
							}
						}
						q := events.SubjectQuery{
							Subject: events.Subject{Environment: env, Bucket: 7, Factors: []mfa.FactorID{factor}},
							From:    all[part[0]].ID, To: id(start.Add(time.Duration(part[1])*time.Minute), part[1]), Newest: newest, Limit: 4,
						}
						for more := true; more; {
							page, err := s.ReadSubject(t.Context(), q)
							if err != nil {
								t.Fatal(err)
							}
							for _, e := range page.Events {
								got = append(got, e.ID)
							}
							if more = page.More; newest {
								q.To = page.Last
							} else {
								q.From = page.Last
							}
						}
						if fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("%s: factor %d, environment %d, newest %v, %v: got %v; want %v", when, f, env, newest, part, got, want)
						}
					}
				}
			}
		}
	}
	sweep := func(before time.Time) {
		t.Helper()
		for more := true; more; {
			if more, err = s.Sweep(t.Context(), mfa.Horizon{Events: before}, 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(table string) (n int64) {
		t.Helper()
		if err := s.scan(t.Context(), func(c *conn) error {
			return c.prepare("SELECT count(*) FROM " + table).each(func(row *rowReader) error { n = row.int(); return nil })
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	importEvents(false)
	early := func(i int) bool { return i%11 != 5 }
	check("before segments", early)
	sweep(time.Time{})
	if n := count("event_segments"); n < 20 {
		t.Fatalf("there are %d segments; want more than 20", n)
	}
	check("with segments", early)
	importEvents(true)
	check("with more events", func(int) bool { return true })
	sweep(start.Add(100 * time.Minute))
	check("after the oldest were removed", func(i int) bool { return i >= 100 })
	sweep(start.Add(1000 * time.Minute))
	if n := count("event_subjects"); n > 40 {
		t.Errorf("%d rows of segments are left of removed events", n)
	}
}
