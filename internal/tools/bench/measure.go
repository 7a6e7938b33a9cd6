package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A comparison names for a flow the one that the ceiling has in its place.
type comparison struct{ flow, bare string }

var comparisons = []comparison{
	{"flow", "flow"},
	{"flow one", "flow"},
	{"flow keyed", "flow"},
	{"totp", "flow"},
	{"wrong", "flow"},
	{"enroll totp", "enroll totp"},
	{"enroll generic", "enroll generic"},
	{"get", "get"},
	{"list", "list"},
}

// A sample is the resource usage up to one moment.
type sample struct {
	server, database, client time.Duration
	err                      error
}

func (s *process) sample() (now sample) {
	now.client = ownCPU()
	now.server, _, now.err = cpuOf(s.cmd.Process.Pid)
	if s.database != 0 && now.err == nil {
		now.database, now.err = cpuOfFamily(s.database)
	}
	return now
}

// usual returns the window of most measurements.
func (b *bench) usual() load.Window { return load.Window{Warm: b.opts.warm, Length: b.opts.window} }

// A loader is how load comes: in a closed or an open loop.
type loader func(clients []*load.Client, w load.Window) (*load.Result, error)

// counted loads a server from the given number of new connections, and adds the
// measurement of the window w.
func (b *bench) counted(s *process, name string, round, connections int, w load.Window, run loader) (Measurement, error) {
	clients, err := load.Clients(s.addr, s.key, b.clientName(), connections)
	if err != nil {
		return Measurement{}, fmt.Errorf("%s on %s: %w", name, s.name, err)
	}
	defer load.CloseAll(clients)
	var before, after sample
	w.Begin, w.End = func() { before = s.sample() }, func() { after = s.sample() }
	r, err := run(clients, w)
	if err != nil {
		select {
		case <-s.ended:
			err = fmt.Errorf("%w; the server has ended:\n%s", err, s.tail())
		default:
		}
		return Measurement{}, fmt.Errorf("%s on %s: %w", name, s.name, err)
	}
	if err := errors.Join(before.err, after.err); err != nil {
		return Measurement{}, err
	}
	if r.Done == 0 {
		return Measurement{}, fmt.Errorf("%s on %s: no flow ended within %v", name, s.name, w.Length)
	}
	each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(r.Done) }
	used := after.server - before.server + after.database - before.database + after.client - before.client
	m := Measurement{
		Flow: name, Server: s.name, Round: round, PerSecond: r.PerSecond(),
		P50: ms(r.Latency.Quantile(0.5)), P99: ms(r.Latency.Quantile(0.99)), Max: ms(r.Latency.Max()),
		CPU: each(after.server - before.server), Database: each(after.database - before.database), Client: each(after.client - before.client),
		Refused: r.Refused, Unsent: r.Unsent, Busy: used.Seconds() / w.Length.Seconds(),
	}
	b.results.Flows = append(b.results.Flows, m)
	return m, nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// closed measures a flow under the load of all connections, under a name.
func (b *bench) closed(ctx context.Context, s *process, name, flow string, round int) (Measurement, error) {
	return b.counted(s, name, round, b.opts.connections, b.usual(), inTurns(ctx, s.flows[flow]))
}

// inTurns returns the closed loop of a flow.
func inTurns(ctx context.Context, flow load.Flow) loader {
	return func(clients []*load.Client, w load.Window) (*load.Result, error) {
		return load.Closed(ctx, clients, flow, w)
	}
}

// measureFlows measures each flow on each server, one right after the other, the
// first in turn.
func (b *bench) measureFlows(ctx context.Context) error {
	var asked []comparison
	for _, c := range comparisons {
		if slices.Contains(b.opts.flows, c.flow) {
			asked = append(asked, c)
		}
	}
	for round := range b.opts.rounds {
		b.say("flows, round %d of %d", round+1, b.opts.rounds)
		for _, c := range asked {
			for _, s := range b.inTurn(round) {
				flow := c.flow
				if s == b.bare {
					flow = c.bare
				}
				if _, err := b.closed(ctx, s, c.flow, flow, round); err != nil {
					return err
				}
			}
		}
	}
	r := &b.results
	for _, c := range asked {
		for _, s := range b.stores() {
			r.figure(c.flow, s.name, "", over(r.of(c.flow, s.name, perSecond), r.of(c.flow, "bare", perSecond))...)
			r.figure(c.flow+": CPU", s.name, "", over(r.of(c.flow, s.name, cpu), r.of(c.flow, "bare", cpu))...)
		}
	}
	for _, s := range b.stores() {
		peak, err := peakMemory(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		r.figure("peak RSS", s.name, "MiB", mib(peak))
	}
	return nil
}

// stores returns the servers of both builds.
func (b *bench) stores() []*process { return slices.Concat(b.servers, b.others) }

// inTurn returns all servers, starting with a different one each round: background
// writes of a database slow down the server that is measured next.
func (b *bench) inTurn(round int) []*process {
	all := append([]*process{b.bare}, b.stores()...)
	n := round % len(all)
	return append(all[n:], all[:n]...)
}

// measureSingle measures one client, and the disk that it waits for.
func (b *bench) measureSingle(ctx context.Context) error {
	var disk []float64
	for round := range b.opts.rounds {
		b.say("one client, round %d of %d", round+1, b.opts.rounds)
		took, err := probe(b.work, b.opts.window/2)
		if err != nil {
			return err
		}
		disk = append(disk, ms(took))
		for _, s := range b.stores() {
			if _, err := b.counted(s, "one client", round, 1, b.usual(), inTurns(ctx, s.flows["flow"])); err != nil {
				return err
			}
		}
	}
	r := &b.results
	r.figure("fdatasync, one after another", "disk", "ms", disk...)
	for _, s := range b.stores() {
		r.figure("one client: p50", s.name, "ms", r.of("one client", s.name, p50)...)
		ratios := over(r.of("one client", s.name, p50), disk)
		for i := range ratios {
			ratios[i] /= 2
		}
		r.figure("one client: p50 over 2 fdatasync", s.name, "", ratios...)
	}
	return nil
}

// peak measures how many flows a second a server carries.
func (b *bench) peak(ctx context.Context, s *process, round int) (float64, error) {
	m, err := b.closed(ctx, s, "flow, peak", "flow", round)
	return m.PerSecond, err
}

// measureOpen offers half of a server's peak at a fixed rate, and the same rate to
// the ceiling: late answers of the ceiling are caused by the machine and the
// generator.
func (b *bench) measureOpen(ctx context.Context) error {
	for round := range b.opts.rounds {
		b.say("half the peak, round %d of %d", round+1, b.opts.rounds)
		var half float64
		for _, s := range b.stores() {
			peak, err := b.peak(ctx, s, round)
			if err != nil {
				return err
			}
			half = peak / 2
			if err := b.offered(ctx, s, "flow, half", round, half, b.opts.connections, math.MaxInt16, b.usual()); err != nil {
				return err
			}
		}
		if err := b.offered(ctx, b.bare, "flow, half", round, half, b.opts.connections, math.MaxInt16, b.usual()); err != nil {
			return err
		}
	}
	r := &b.results
	for _, s := range append([]*process{b.bare}, b.stores()...) {
		r.figure("p50 at half the peak", s.name, "ms", r.of("flow, half", s.name, p50)...)
		r.figure("p99 at half the peak", s.name, "ms", r.of("flow, half", s.name, p99)...)
	}
	return nil
}

// offered measures flows that arrive at a rate, of which so many may wait for a
// connection.
func (b *bench) offered(ctx context.Context, s *process, name string, round int, rate float64, connections, queue int, w load.Window) error {
	_, err := b.counted(s, name, round, connections, w, func(clients []*load.Client, w load.Window) (*load.Result, error) {
		return load.Open(ctx, clients, s.flows["flow"], rate, queue, w)
	})
	if err == nil {
		b.results.Flows[len(b.results.Flows)-1].Offered = rate
	}
	return err
}

// measureOverload offers three times a server's peak, from many clients. An arrival
// that finds all of them waiting is given up.
func (b *bench) measureOverload(ctx context.Context) error {
	for _, s := range b.servers {
		var memory []float64
		for round := range b.opts.rounds {
			b.say("overload of %s, round %d of %d", s.name, round+1, b.opts.rounds)
			peak, err := b.peak(ctx, s, b.opts.rounds+round)
			if err == nil {
				// The steady state begins when every client waits.
				w := b.usual()
				w.Warm += 2 * time.Second
				err = b.offered(ctx, s, "flow, 3 times", round, 3*peak, b.opts.crowd, 0, w)
			}
			var peakBytes int64
			if err == nil {
				peakBytes, err = peakMemory(s.cmd.Process.Pid)
			}
			if err != nil {
				return err
			}
			memory = append(memory, mib(peakBytes))
		}
		r := &b.results
		peaks := r.of("flow, peak", s.name, perSecond)
		r.figure("goodput at 3 times the peak", s.name, "", over(r.of("flow, 3 times", s.name, perSecond), peaks[len(peaks)-b.opts.rounds:])...)
		r.figure("p99 at 3 times the peak", s.name, "ms", r.of("flow, 3 times", s.name, p99)...)
		r.figure("peak RSS at 3 times the peak", s.name, "MiB", memory...)
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// starts is how often a start is timed.
const starts = 5

// measureSizes compares SQLite stores of different sizes, which are served at the
// same time.
func (b *bench) measureSizes(ctx context.Context) error {
	var all []*process
	r := &b.results
	for _, n := range b.opts.sizes {
		name := "sqlite " + sizeName(n)
		st, err := b.sqlite(ctx, b.opts.binary, strings.ReplaceAll(name, " ", "-"), n)
		if err != nil {
			return err
		}
		s, err := b.startStore(ctx, name, st)
		if err != nil {
			return err
		}
		all = append(all, s)
		r.figure("bytes a factor, "+sizeName(n)+" factors", "sqlite", "B", float64(st.Bytes)/float64(n))
	}
	flows := []string{"flow", "get"}
	for round := range b.opts.rounds {
		b.say("sizes, round %d of %d", round+1, b.opts.rounds)
		for _, flow := range flows {
			for i := range all {
				if _, err := b.closed(ctx, all[(i+round)%len(all)], flow, flow, round); err != nil {
					return err
				}
			}
		}
	}
	for i, s := range all {
		n := sizeName(b.opts.sizes[i])
		for _, flow := range flows {
			if i > 0 {
				name := fmt.Sprintf("%s: %s factors over %s", flow, n, sizeName(b.opts.sizes[0]))
				r.figure(name, "sqlite", "", over(r.of(flow, s.name, perSecond), r.of(flow, all[0].name, perSecond))...)
			}
		}
		peak, err := peakMemory(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		r.figure("peak RSS, "+n+" factors", "sqlite", "MiB", mib(peak))
		var took []float64
		for range starts {
			if err := errors.Join(s.stop(), b.boot(ctx, s)); err != nil {
				return err
			}
			took = append(took, ms(s.ready))
		}
		r.figure("start to ready, "+n+" factors", "sqlite", "ms", took...)
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// measureSteady loads a separate server for a long time, while old rows expire, and
// compares the last tenth of the time with the first.
func (b *bench) measureSteady(ctx context.Context) error {
	st, err := b.sqlite(ctx, b.opts.binary, "steady", 0)
	if err != nil {
		return err
	}
	keep := min(max(b.opts.steady/20, 5*time.Second), 30*time.Second)
	s, err := b.startStore(ctx, "sqlite steady", st,
		"--challenge-ttl", keep.String(), "--challenge-retention", keep.String(), "--event-retention", keep.String())
	if err != nil {
		return err
	}
	// Until the first rows have expired and been removed, the file grows.
	b.say("a steady load for %v", b.opts.steady)
	w := load.Window{Warm: 2*keep + 10*time.Second, Length: b.opts.steady / 10}
	var sizes []float64
	for i := range 10 {
		if _, err := b.counted(s, "flow", i, b.opts.connections, w, inTurns(ctx, s.flows["flow"])); err != nil {
			return err
		}
		w.Warm = 0
		// The machine may be another in ten minutes.
		if _, err := b.closed(ctx, b.bare, "flow, beside steady", "flow", i); err != nil {
			return err
		}
		size, err := sizeOf(filepath.Join(b.work, "steady", databaseFile))
		if err != nil {
			return err
		}
		sizes = append(sizes, mib(size))
	}
	r := &b.results
	rates := over(r.of("flow", s.name, perSecond), r.of("flow, beside steady", "bare", perSecond))
	r.figure("steady: last tenth over first", "sqlite", "", rates[9]/rates[0])
	r.figure("steady: worst tenth over first", "sqlite", "", slices.Min(rates)/rates[0])
	r.figure("steady: file", "sqlite", "MiB", sizes...)
	r.figure("steady: file, last tenth over first", "sqlite", "", sizes[9]/sizes[0])
	return s.stop()
}

// sizeOf returns the size of a SQLite file with its log.
func sizeOf(path string) (size int64, err error) {
	for _, file := range []string{path, path + "-wal"} {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}
