package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A Machine is what figures were measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Kernel string `json:"kernel"`
}

func thisMachine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), Kernel: runtime.GOOS}
	info, _ := os.ReadFile("/proc/cpuinfo") // exists only on Linux
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel += " " + strings.TrimSpace(string(release))
	}
	return m
}

// commit returns the commit that is checked out, with a plus if files differ.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(out))
	if out, err := exec.Command("git", "status", "--porcelain").Output(); err != nil || len(out) > 0 {
		name += "+"
	}
	return name
}

// tick is the unit of times in /proc, on every Linux.
const tick = 10 * time.Millisecond

// cpuOf returns the CPU time of a process, and what its ended children used.
func cpuOf(pid int) (own, children time.Duration, err error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, 0, err
	}
	var n [4]int64 // utime, stime, cutime, cstime
	for i := range n {
		if n[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return time.Duration(n[0]+n[1]) * tick, time.Duration(n[2]+n[3]) * tick, nil
}

// statOf returns the fields of /proc/PID/stat after the name of the program: its
// state, its parent and so on.
func statOf(pid int) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// cpuOfFamily returns the CPU time of a process and of all that it has started.
func cpuOfFamily(pid int) (time.Duration, error) {
	own, ended, err := cpuOf(pid)
	total := own + ended
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, path := range stats {
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields, gone := statOf(child)
		if gone != nil || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if own, _, gone := cpuOf(child); gone == nil {
			total += own
		}
	}
	return total, err
}

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory returns the largest resident memory of a process, in bytes.
func peakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmHWM", pid)
}

// probe writes pages over a file in dir, one after another, each with an
// fdatasync, and returns the median duration of one.
func probe(dir string, length time.Duration) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const page, pages = 4 << 10, 1 << 10
	if _, err := f.Write(make([]byte, page*pages)); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	var took load.Histogram
	block := bytes.Repeat([]byte{1}, page)
	for i, end := 0, time.Now().Add(length); time.Now().Before(end); i++ {
		start := time.Now()
		if _, err := f.WriteAt(block, int64(i%pages)*page); err != nil {
			return 0, err
		}
		if err := fdatasync(f); err != nil {
			return 0, err
		}
		took.Record(time.Since(start))
	}
	return took.Quantile(0.5), nil
}
