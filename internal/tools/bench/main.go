// Command bench measures the built server from outside, over HTTP, against a
// ceiling in the same rounds: bare net/http, which returns answers of the same size
// and stores nothing. docs/performance.md describes its use and results.
//
//	bench [flags]     measure, print a table, write a file of JSON
//	bench -read FILE  print earlier results
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "bare" {
		fmt.Fprintln(os.Stderr, "bench:", serveBare(os.Args[2]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A part is something to measure.
type part struct {
	name    string
	quick   bool // whether it is measured unless -full says all
	measure func(*bench, context.Context) error
}

// parts are all that can be measured, in this order.
var parts = []part{
	{"flows", true, (*bench).measureFlows},
	{"single", true, (*bench).measureSingle},
	{"open", true, (*bench).measureOpen},
	{"overload", false, (*bench).measureOverload},
	{"sizes", false, (*bench).measureSizes},
	{"steady", false, (*bench).measureSteady},
	{"recovery", false, (*bench).measureRecovery},
	{partConsole, false, (*bench).measureConsole},
}

// partConsole is the part that uses none of the stores and servers of the others.
const partConsole = "console"

// options are the flags.
type options struct {
	binary, dir string
	beside      string // another build of the server
	parts       []string
	stores      []string
	flows       []string
	profile     bool
	rounds      int
	window      time.Duration
	warm        time.Duration
	connections int
	crowd       int // connections of the overload
	generic     int
	totp        int
	sizes       []int
	fill        string // the type of the factors that make a store large
	steady      time.Duration
	people      int // factors of the console's store
	events      int // in it
	requests    int // for each of its pages

	read, compare string
	row           bool
}

func parseFlags(args []string, problems io.Writer) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(problems)
	full := f.Bool("full", false, "measure all parts, in more and longer rounds: about an hour")
	f.StringVar(&o.binary, "binary", "bin/countersign", "the server")
	f.StringVar(&o.beside, "beside", "", "another build of the server, which flows, single and open measure in the same rounds")
	f.StringVar(&o.dir, "dir", ".cache/bench", "where stores and results are kept, on the disk to measure")
	partNames := f.String("parts", "", "what to measure, of flows,single,open,overload,sizes,steady,recovery,console; default the first three")
	stores := f.String("stores", "sqlite,postgres", "the stores to measure")
	flows := f.String("flows", "", "the flows that the part of that name measures; default all")
	f.BoolVar(&o.profile, "profile", false, "write a CPU profile of each server into -dir as well; it costs a little")
	f.IntVar(&o.rounds, "rounds", 0, "rounds, of which the median counts; default 3, 5 with -full")
	f.DurationVar(&o.window, "window", 0, "how long each measurement counts; default 2s, 10s with -full")
	f.DurationVar(&o.warm, "warm", 500*time.Millisecond, "how long each runs before it counts")
	f.IntVar(&o.connections, "connections", 64, "connections, each a caller of its own")
	f.IntVar(&o.crowd, "crowd", 4096, "connections in overload")
	f.IntVar(&o.generic, "factors", 100_000, "generic_otp factors that flows take in turn")
	f.IntVar(&o.totp, "totp", 40_000, "totp factors, whose codes are good once: a machine that is fast needs more")
	sizes := f.String("sizes", "10000,1000000,10000000", "numbers of stored factors to compare")
	f.StringVar(&o.fill, "fill", "totp", "what most of them are: totp, each of a user, or generic_otp")
	f.DurationVar(&o.steady, "steady", 10*time.Minute, "how long the steady load lasts")
	f.IntVar(&o.people, "console-factors", 1_000_000, "factors in the store of the part console")
	f.IntVar(&o.events, "console-events", 10_000_000, "events in that store")
	f.IntVar(&o.requests, "console-requests", 100, "requests for each page of the part console")
	f.StringVar(&o.read, "read", "", "print the results in this `file` instead of measuring")
	f.StringVar(&o.compare, "compare", "", "print the results in this `file` beside the others")
	f.BoolVar(&o.row, "row", false, "print a row for the history in docs/performance.md as well")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	rounds, window := 3, 2*time.Second
	if *full {
		rounds, window = 5, 10*time.Second
	}
	o.rounds, o.window = cmp.Or(o.rounds, rounds), cmp.Or(o.window, window)
	o.stores = strings.Split(*stores, ",")
	for _, p := range parts {
		if *partNames == "" && (p.quick || *full) {
			o.parts = append(o.parts, p.name)
		}
	}
	if *partNames != "" {
		o.parts = strings.Split(*partNames, ",")
	}
	for _, c := range comparisons {
		if *flows == "" {
			o.flows = append(o.flows, c.flow)
		}
	}
	if *flows != "" {
		o.flows = strings.Split(*flows, ",")
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return o, fmt.Errorf("-sizes: %q is no number", text)
		}
		o.sizes = append(o.sizes, n)
	}
	return o, o.check()
}

func (o *options) check() error {
	for _, name := range o.parts {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("there is no part %q", name)
		}
	}
	for _, name := range o.stores {
		if name != "sqlite" && name != "postgres" {
			return fmt.Errorf("there is no store %q", name)
		}
	}
	for _, name := range o.flows {
		if !slices.ContainsFunc(comparisons, func(c comparison) bool { return c.flow == name }) {
			return fmt.Errorf("there is no flow %q", name)
		}
	}
	if o.fill != "totp" && o.fill != "generic_otp" {
		return fmt.Errorf("-fill: stores are not filled with %q", o.fill)
	}
	if min(o.rounds, o.connections, o.crowd, o.generic, o.totp, o.people, o.events, o.requests, slices.Min(o.sizes)) < 1 || min(o.window, o.steady) <= 0 || o.warm < 0 {
		return errors.New("numbers and lengths must be positive")
	}
	return nil
}

// run carries out a command line.
func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parseFlags(args, progress)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	var results Results
	if o.read != "" {
		results, err = readResults(o.read)
	} else {
		results, err = measure(ctx, o, progress)
	}
	if err != nil {
		return err
	}
	var old *Results
	if o.compare != "" {
		before, err := readResults(o.compare)
		if err != nil {
			return err
		}
		old = &before
	}
	results.print(out, old)
	if o.row {
		fmt.Fprintf(out, "\n%s\n", results.row())
	}
	return nil
}

// stamp is how the time of a run begins the names of its files.
const stamp = "20060102-150405"

// A bench is one run, with the processes and directories that end with it.
type bench struct {
	opts     options
	progress io.Writer
	work     string // stores that are served from
	names    int    // of clients
	running  []*process
	cleanup  []func()
	results  Results

	bare    *process
	servers []*process // over the stores, one each
	others  []*process // the same of another build
}

func measure(ctx context.Context, o options, progress io.Writer) (_ Results, err error) {
	if err := os.MkdirAll(filepath.Join(o.dir, "stores"), 0o700); err != nil {
		return Results{}, err
	}
	b := &bench{opts: o, progress: progress, results: Results{
		Time: time.Now().UTC().Truncate(time.Second), Commit: commit(), Machine: thisMachine(),
		Rounds: o.rounds, Window: o.window.String(), Connections: o.connections, Fill: o.fill,
	}}
	if b.work, err = os.MkdirTemp(o.dir, "work-"); err != nil {
		return Results{}, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if slices.ContainsFunc(o.parts, func(name string) bool { return name != partConsole }) {
		if err := b.start(ctx); err != nil {
			return Results{}, err
		}
	}
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			return Results{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	name := filepath.Join(o.dir, b.results.Time.Format(stamp)+"-"+b.results.Commit+".json")
	b.say("results are in %s", name)
	return b.results, b.results.write(name)
}

// start starts the ceiling and a server over each store.
func (b *bench) start(ctx context.Context) (err error) {
	if b.bare, err = b.startBare(ctx); err != nil {
		return err
	}
	for _, name := range b.opts.stores {
		s, err := b.serveStore(ctx, b.opts.binary, name, name)
		if err != nil {
			return err
		}
		b.servers = append(b.servers, s)
		if b.opts.beside == "" {
			continue
		}
		if s, err = b.serveStore(ctx, b.opts.beside, name, name+" beside"); err != nil {
			return err
		}
		b.others = append(b.others, s)
	}
	return nil
}

// serveStore starts a build over a new store of a kind.
func (b *bench) serveStore(ctx context.Context, build, kind, name string) (*process, error) {
	var st *stored
	var err error
	if kind == "postgres" {
		st, err = b.postgres(ctx, build)
	} else {
		st, err = b.sqlite(ctx, build, strings.ReplaceAll(name, " ", "-"), 0)
	}
	if err != nil {
		return nil, err
	}
	return b.startStore(ctx, name, st)
}

// close ends every process and removes the files of this run.
func (b *bench) close() error {
	var errs []error
	for _, s := range b.running {
		errs = append(errs, s.stop())
	}
	for _, undo := range slices.Backward(b.cleanup) {
		undo()
	}
	return errors.Join(append(errs, os.RemoveAll(b.work))...)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// clientName returns a name that no client of any store has had, since the servers'
// records of idempotency keys outlive a run.
func (b *bench) clientName() string {
	b.names++
	return fmt.Sprintf("%d-%d", b.results.Time.UnixNano(), b.names)
}
