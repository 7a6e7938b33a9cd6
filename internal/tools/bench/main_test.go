package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestMain lets the bench start this program again as its ceiling.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "bare" {
		main()
	}
	os.Exit(m.Run())
}

func TestBenchFromEndToEnd(t *testing.T) {
	dir := t.TempDir()
	if left, disk, err := free(dir); err != nil || !disk || left < 2<<30 {
		t.Skipf("the bench needs a disk with 2 GiB for %s: %d MiB, %v", dir, left>>20, err)
	}
	binary := filepath.Join(dir, "countersign")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/countersign-mfa/countersign/cmd/countersign").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	stores := "sqlite"
	if testenv.ToolsRequired() {
		stores += ",postgres"
	}
	args := []string{
		"-binary", binary, "-beside", binary, "-dir", filepath.Join(dir, "bench"), "-stores", stores, "-parts", "flows,single,open,overload,sizes,console",
		"-rounds", "1", "-window", "500ms", "-warm", "20ms", "-connections", "4", "-crowd", "16",
		"-factors", "50", "-totp", "2000", "-sizes", "100,3000", "-row",
		"-console-factors", "500", "-console-events", "5000", "-console-requests", "2",
	}
	var out, progress bytes.Buffer
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "bench", "*.json"))
	if len(files) != 1 {
		t.Fatalf("the results are in %q", files)
	}
	r, err := readResults(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range strings.Split(stores, ",") {
		if !slices.ContainsFunc(r.Pages, func(p Page) bool {
			return p.Server == store && p.Name == "console: events, rare caller" && p.Requests == 2 && p.P95 >= p.P50 && p.P50 > 0
		}) {
			t.Errorf("the pages of the console on %s: %+v", store, r.Pages)
		}
		if f, ok := r.find("flow", store+" beside"); !ok || f.Value <= 0 {
			t.Errorf("of the other build: %+v", f)
		}
		for _, want := range []struct {
			name        string
			least, most float64
		}{
			{"flow", 0.001, 10}, {"flow one", 0.001, 10}, {"flow keyed", 0.001, 10}, {"totp", 0.001, 10}, {"wrong", 0.001, 10},
			{"enroll totp", 0.001, 10}, {"enroll generic", 0.001, 10}, {"get", 0.001, 10}, {"list", 0.001, 10},
			{"one client: p50", 0.01, 1e4}, {"p99 at half the peak", 0.01, 1e4}, {"peak RSS at 3 times the peak", 1, 1e4},
		} {
			if f, ok := r.find(want.name, store); !ok || f.Value < want.least || f.Value > want.most {
				t.Errorf("%s on %s = %+v; want a value from %v to %v", want.name, store, f, want.least, want.most)
			}
		}
	}
	for _, name := range []string{"start to ready, 3 k factors", "bytes a factor, 3 k factors", "peak RSS, 100 factors", "flow: 3 k factors over 100"} {
		if f, ok := r.find(name, "sqlite"); !ok || f.Value <= 0 {
			t.Errorf("%s = %+v", name, f)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "bench", "work-*")); left != nil {
		t.Errorf("it left %q behind", left)
	}
	if log := progress.String() + out.String(); strings.Contains(log, "sk_live") {
		t.Error("it shows an API key")
	}
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, args := range []string{
		"-parts flow", "-flows sign-in", "-stores mysql", "-rounds -1", "-sizes many", "-sizes 0", "-window -1s", "-fill sms", "-connections 0", "-console-events 0", "more", "-read missing.json",
	} {
		if err := run(t.Context(), strings.Fields(args), t.Output(), t.Output()); err == nil {
			t.Errorf("bench %s: no error", args)
		}
	}
}

func TestFullMeasuresAllParts(t *testing.T) {
	for _, tc := range []struct{ args, parts string }{
		{"", "flows single open"},
		{"-full", "flows single open overload sizes steady recovery console"},
		{"-full -parts steady", "steady"},
	} {
		o, err := parseFlags(strings.Fields(tc.args), t.Output())
		if got := strings.Join(o.parts, " "); err != nil || got != tc.parts {
			t.Errorf("bench %s measures %s, %v; want %s", tc.args, got, err, tc.parts)
		}
	}
}

func results() Results {
	r := Results{Commit: "abc1234", Machine: Machine{CPU: "CPU", Cores: 2, Go: "go1.26", Kernel: "linux"}}
	for round, rate := range []float64{100, 300, 200} {
		r.Flows = append(r.Flows,
			Measurement{Flow: "flow", Server: "bare", Round: round, PerSecond: 2 * rate},
			Measurement{Flow: "flow", Server: "sqlite", Round: round, PerSecond: rate})
	}
	r.figure("flow", "sqlite", "", over(r.of("flow", "sqlite", perSecond), r.of("flow", "bare", perSecond))...)
	r.figure("p99 at half the peak", "sqlite", "ms", 4, 7, 5.5)
	return r
}

func TestTablesMarkReachedGoals(t *testing.T) {
	now, before := results(), results()
	now.Figures[0].Value = 0.25 // half of the old value
	before.Commit = "old"
	var out bytes.Buffer
	now.print(&out, &before)
	lines := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for _, want := range []string{
		"flow sqlite 200 0.00 0.00 0 0 0 0.00 0 200 × 1.00",
		"flow sqlite 0.25 0.50 0.50 ≥ 0.5 no 0.50 × 0.50",
		"p99 at half the peak sqlite 5.50 ms 4.00 ms 7.00 ms ≤ 5 no 5.50 ms × 1.00",
	} {
		if !lines[want] {
			t.Errorf("no line %q in\n%s", want, &out)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, tc := range []struct {
		figure Figure
		met    bool
	}{
		{Figure{Name: "flow", Server: "sqlite", Value: 0.5}, true},
		{Figure{Name: "flow", Server: "sqlite", Value: 0.499}, false},
		{Figure{Name: "flow: CPU", Server: "sqlite", Value: 2}, true},
		{Figure{Name: "flow: CPU", Server: "sqlite", Value: 2.01}, false},
	} {
		if target, ok := tc.figure.target(); !ok || target.met(tc.figure.Value) != tc.met {
			t.Errorf("%+v: met %t, %t", tc.figure, target.met(tc.figure.Value), ok)
		}
	}
	if _, ok := (Figure{Name: "flow", Server: "bare"}).target(); ok {
		t.Error("the ceiling has a target")
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		before := slices.Clone(tc.values)
		if got := median(tc.values); got != tc.want || !slices.Equal(tc.values, before) {
			t.Errorf("median(%v) = %v; want %v", before, got, tc.want)
		}
	}
}

func TestResultsReadBackMakeARowOfTheHistory(t *testing.T) {
	r := results()
	name := filepath.Join(t.TempDir(), "results.json")
	if err := r.write(name); err != nil {
		t.Fatal(err)
	}
	back, err := readResults(name)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(r)
	b, _ := json.Marshal(back)
	if !bytes.Equal(a, b) {
		t.Errorf("written as\n%s\nread as\n%s", a, b)
	}
	doc, err := os.ReadFile("../../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-read", name, "-row"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	row := out.String()[strings.LastIndex(strings.TrimSpace(out.String()), "\n")+1:]
	_, history, _ := strings.Cut(string(doc), "## History")
	i := strings.Index(history, "| date |")
	if i < 0 {
		t.Fatal("docs/performance.md has no history")
	}
	head, _, _ := strings.Cut(history[i:], "\n")
	if got, want := strings.Count(row, "|"), strings.Count(head, "|"); got != want {
		t.Errorf("a row has %d cells and the head of the history %d:\n%s", got-1, want-1, row)
	}
}
