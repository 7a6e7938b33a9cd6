package drivers_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	drivers "github.com/countersign-mfa/countersign/bench/sqlite-drivers"
)

// A test that needs a second process runs this binary again with childJob set.
const childJob = "SQLITE_DRIVERS_CHILD"

func TestMain(m *testing.M) {
	job := os.Getenv(childJob)
	if job == "" {
		code := m.Run()
		os.RemoveAll(million.dir)
		os.Exit(code)
	}
	if err := child(strings.Fields(job)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(job ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+strings.Join(job, " "))
	cmd.Stderr = os.Stderr
	return cmd
}

// child does one of
//
//	write DRIVER PATH FIRST COUNT     insert rows, print each number once it is committed
//	memory DRIVER PATH CONNECTIONS    read rows, print the growth of resident memory in kB
func child(job []string) error {
	var numbers []uint64
	for _, s := range job[3:] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	for _, d := range all {
		if d.Name != job[1] {
			continue
		}
		if job[0] == "write" {
			return childWrite(d, job[2], numbers[0], numbers[1])
		}
		return childMemory(d, job[2], int(numbers[0]))
	}
	return errors.New("no driver " + job[1])
}

func childWrite(d drivers.Driver, path string, first, count uint64) error {
	c, err := d.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	var r drivers.Row
	for n := first; n < first+count; n++ {
		r.Fill(n)
		if err := c.Insert(&r); err != nil {
			return fmt.Errorf("insert %d: %w", n, err)
		}
		fmt.Println(n)
	}
	return nil
}

func childMemory(d drivers.Driver, path string, connections int) error {
	runtime.GC()
	before, err := resident()
	if err != nil {
		return err
	}
	var r drivers.Row
	for range connections {
		c, err := d.Open(path)
		if err != nil {
			return err
		}
		defer c.Close()
		for n := range uint64(200_000) {
			r.Key(n * 7919 % rows)
			if found, err := c.Read(&r); !found || err != nil {
				return fmt.Errorf("read %d: %v, %w", n, found, err)
			}
		}
	}
	after, err := resident()
	fmt.Println(after - before)
	return err
}

// resident returns this process's resident memory in kB.
func resident() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	return strconv.Atoi(strings.Fields(rest)[0])
}

func TestTwoProcessesWriteOneFile(t *testing.T) {
	const each = 400
	for _, here := range all {
		for _, there := range all {
			t.Run(here.Name+" and "+there.Name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "test.db")
				c, checkpointer := open(t, here, path), open(t, here, path)
				cmd := command("write", there.Name, path, "1000000", strconv.Itoa(each))
				must(t, cmd.Start())
				var r drivers.Row
				for n := range uint64(each) {
					r.Fill(n)
					must(t, c.Insert(&r))
					if n%50 == 0 {
						mode := "PASSIVE"
						if n%100 == 0 {
							mode = "TRUNCATE"
						}
						_, _, _, err := checkpointer.Checkpoint(mode)
						must(t, err)
					}
				}
				must(t, cmd.Wait())
				if got := number(t, c, "SELECT count(*) FROM factors"); got != 2*each {
					t.Errorf("%d rows; want %d", got, 2*each)
				}
				if number(t, c, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") != 1 {
					t.Error("integrity check failed")
				}
			})
		}
	}
}

// TestKilledProcess kills a writing process: all rows reported as committed must
// be there, and a process that stays connected goes on.
func TestKilledProcess(t *testing.T) {
	each(t, func(t *testing.T, d drivers.Driver, path string) {
		c := open(t, d, path)
		for round := range uint64(5) {
			cmd := command("write", d.Name, path, strconv.FormatUint(round*1e6, 10), "1000000")
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			lines := bufio.NewScanner(out)
			var told []uint64
			for lines.Scan() {
				n, err := strconv.ParseUint(lines.Text(), 10, 64)
				must(t, err)
				if told = append(told, n); len(told) == 300 {
					must(t, cmd.Process.Kill())
				}
			}
			io.Copy(io.Discard, out)
			cmd.Wait()
			var r drivers.Row
			for _, n := range told {
				r.Key(n)
				if found, err := c.Read(&r); !found || err != nil {
					t.Fatalf("row %d: %v, %v", n, found, err)
				}
			}
			r.Fill(round*1e6 + 999_999)
			must(t, c.Insert(&r))
		}
		if number(t, c, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") != 1 {
			t.Error("integrity check failed")
		}
	})
}
