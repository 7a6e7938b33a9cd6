package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

// roles are tasks that a process of this test binary runs instead of the tests. Its
// environment variables give the role and the path of the database.
var roles = map[string]func(path string, out io.Writer) error{
	"count": countTogether,
	"write": writeForever,
	"limit": writeUnderLimit,
}

const (
	roleVariable = "COUNTERSIGN_TEST_ROLE"
	pathVariable = "COUNTERSIGN_TEST_PATH"
)

func TestMain(m *testing.M) {
	role := roles[os.Getenv(roleVariable)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(os.Getenv(pathVariable), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process returns a command that runs a role. The command is not started yet.
func process(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, pathVariable+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// counted is the factor on which all processes count failures.
var counted = &mfa.Factor{ID: mfa.FactorID{1}, Environment: 1, Type: mfa.GenericOTP}

const (
	countCallers = 4
	countRounds  = 50
)

func countTogether(path string, _ io.Writer) (err error) {
	s, err := sqlite.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return count(context.Background(), s)
}

// count adds countCallers*countRounds to the failures of counted.
func count(ctx context.Context, s *sqlite.Store) error {
	var wg sync.WaitGroup
	var errs [countCallers]error
	for i := range errs {
		wg.Go(func() {
			for range countRounds {
				err := s.Update(ctx, readFactor(counted.ID), func(tx *mfa.Tx) error {
					tx.Factor.Failures++
					tx.Writes = []mfa.Write{tx.Factor.Update()}
					return nil
				})
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

// TestSeveralWriters makes two stores in this process and two other processes count in
// one row.
func TestSeveralWriters(t *testing.T) {
	path := newPath(t)
	stores := []*sqlite.Store{open(t, path), open(t, path)}
	insert := storetest.Writing(mfa.InsertFactor{Factor: counted})
	if err := stores[0].Update(t.Context(), mfa.Read{}, insert); err != nil {
		t.Fatal(err)
	}
	const processes = 2
	results := make(chan error)
	for range processes {
		cmd := process(t, "count", path)
		go func() { results <- cmd.Run() }()
	}
	for _, s := range stores {
		go func() { results <- count(t.Context(), s) }()
	}
	for range processes + len(stores) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, s := range stores {
		rows, err := s.View(t.Context(), readFactor(counted.ID))
		if err != nil {
			t.Fatal(err)
		}
		if want := (processes + len(stores)) * countCallers * countRounds; rows.Factor.Failures != want {
			t.Errorf("counted %d; want %d", rows.Factor.Failures, want)
		}
	}
}

// TestStartingTogether opens a missing database from several goroutines at once.
func TestStartingTogether(t *testing.T) {
	path := newPath(t)
	const n = 8
	results := make(chan error, n)
	for range n {
		go func() {
			s, err := sqlite.Open(path, nil)
			if err == nil {
				err = errors.Join(s.Update(t.Context(), mfa.Read{}, storetest.Writing()), s.Close())
			}
			results <- err
		}()
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	storeFactor(t, open(t, path))
}

// writers is the number of concurrent callers in a process that the test will kill.
const writers = 8

func writer(i int) mfa.UserKey {
	return mfa.UserKey{Environment: 1, ID: fmt.Sprint("writer ", i)}
}

// writeForever makes each writer count in its own row, with one event for each number.
// It prints "writer number" after the number is stored.
func writeForever(path string, out io.Writer) error {
	s, err := sqlite.Open(path, nil)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range writers {
		go func() {
			for {
				n, err := writeNext(s, i)
				if err == nil {
					_, err = fmt.Fprintln(out, i, n)
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

func writeNext(s *sqlite.Store, i int) (n int, err error) {
	key := writer(i)
	e := storetest.NewEvent(storetest.NewFactor(key))
	err = s.Update(context.Background(), mfa.Read{Bucket: key.Bucket(), User: key}, func(tx *mfa.Tx) error {
		if tx.User == nil {
			tx.User = &mfa.User{UserKey: key}
		}
		tx.User.Failures++
		n = tx.User.Failures
		e.Factor, e.Reason, e.Request = mfa.FactorID{2, byte(i)}, key.ID, fmt.Sprint(n)
		tx.Writes = []mfa.Write{mfa.PutUser{User: tx.User}, mfa.AppendEvent{Event: e}}
		return nil
	})
	return n, err
}

// TestKilledProcessLosesNothing kills a process during writes, many times, and then
// checks that every acknowledged write is stored.
func TestKilledProcessLosesNothing(t *testing.T) {
	path := newPath(t)
	var acknowledged [writers]int
	for round := range 20 {
		kill(t, process(t, "write", path), 20+37*round, &acknowledged)
		s := open(t, path)
		if err := s.Check(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		events := eventsByReason(t, s)
		for i, n := range acknowledged {
			rows, err := s.View(t.Context(), mfa.Read{Bucket: writer(i).Bucket(), User: writer(i)})
			if err != nil {
				t.Fatal(err)
			}
			stored := 0
			if rows.User != nil {
				stored = rows.User.Failures
			}
			// The last write may be stored without an acknowledgement.
			if stored < n || stored > n+1 || events[writer(i).ID] != stored {
				t.Errorf("round %d, writer %d: acknowledged %d, stored %d with %d events", round, i, n, stored, events[writer(i).ID])
			}
			acknowledged[i] = stored
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("acknowledged by each writer: %v", acknowledged)
}

// TestEventsAreInOrder lets two stores of this process write events while other processes
// write events to the same file and are killed.
func TestEventsAreInOrder(t *testing.T) {
	path := newPath(t)
	nodes := []mfa.Store{open(t, path), open(t, path)}
	storetest.EventStorm{
		Nodes: nodes, Reader: nodes[1].(*sqlite.Store), Callers: 4, Rounds: 300,
		Trouble: func(func() int) {
			var acknowledged [writers]int
			for range 4 {
				kill(t, process(t, "write", path), 100, &acknowledged)
			}
		},
	}.Run(t)
}

// kill starts a writing process, kills it after some acknowledgements, and records all
// of its acknowledgements.
func kill(t *testing.T, cmd *exec.Cmd, after int, acknowledged *[writers]int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, given := bufio.NewReader(out), 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the text after the last newline was cut off
		}
		var i, n int
		if _, err := fmt.Sscan(strings.TrimSpace(line), &i, &n); err != nil {
			t.Fatalf("the process says %q", line)
		}
		acknowledged[i] = max(acknowledged[i], n)
		if given++; given == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if given < after {
		t.Errorf("the process ended by itself after %d acknowledgements", given)
	}
	_ = cmd.Wait() // an error is expected: the process was killed
}

func eventsByReason(t *testing.T, s *sqlite.Store) map[string]int {
	t.Helper()
	n := make(map[string]int)
	for _, e := range storetest.Events(t, s) {
		n[e.Reason]++
	}
	return n
}
