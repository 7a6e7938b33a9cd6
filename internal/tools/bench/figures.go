package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Results are what one run has measured.
type Results struct {
	Time        time.Time     `json:"time"`
	Commit      string        `json:"commit"`
	Machine     Machine       `json:"machine"`
	Rounds      int           `json:"rounds"`
	Window      string        `json:"window"`
	Connections int           `json:"connections"`
	Fill        string        `json:"fill"` // the type of the factors that make a store large
	Figures     []Figure      `json:"figures"`
	Flows       []Measurement `json:"flows"`
	Pages       []Page        `json:"pages,omitempty"`
}

// A Figure is one number that a run comes to: the median over its rounds.
type Figure struct {
	Name   string    `json:"name"`
	Server string    `json:"server"`
	Unit   string    `json:"unit"` // "", a ratio; "ms", "MiB", "B"
	Value  float64   `json:"value"`
	Rounds []float64 `json:"rounds"`
}

// A Measurement is one window of one flow.
type Measurement struct {
	Flow      string  `json:"flow"`
	Server    string  `json:"server"`
	Round     int     `json:"round"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	CPU       float64 `json:"cpu_us"` // of the server, a flow
	Database  float64 `json:"database_cpu_us"`
	Client    float64 `json:"client_cpu_us"`
	Offered   float64 `json:"offered,omitempty"` // a second; open loop
	Refused   int     `json:"refused,omitempty"`
	Unsent    int     `json:"unsent,omitempty"`
	Busy      float64 `json:"busy"` // processors that all three used
}

// A target is what a figure is to reach.
type target struct {
	name, server string
	least        bool // whether more is better
	value        float64
}

// targets are the figures to reach, on two processors that the server, the store
// and the load share.
var targets = []target{
	{"flow", "sqlite", true, 0.50},
	{"flow", "postgres", true, 0.35},
	{"flow: CPU", "sqlite", false, 2},
	{"totp", "sqlite", true, 0.40},
	{"get", "sqlite", true, 0.65},
	{"enroll totp", "sqlite", true, 0.25},
	{"p99 at half the peak", "sqlite", false, 5},
	{"p99 at half the peak", "postgres", false, 10},
	{"one client: p50 over 2 fdatasync", "sqlite", false, 3},
	{"goodput at 3 times the peak", "sqlite", true, 0.9},
	{"flow: 10 M factors over 10 k", "sqlite", true, 0.9},
	{"peak RSS, 10 M factors", "sqlite", false, 128},
	{"bytes a factor, 10 M factors", "sqlite", false, 200},
	{"start to ready, 10 M factors", "sqlite", false, 100},
	{"steady: last tenth over first", "sqlite", true, 0.95},
	{"steady: file, last tenth over first", "sqlite", false, 1.05},
}

func (f Figure) target() (t target, ok bool) {
	i := slices.IndexFunc(targets, func(t target) bool { return t.name == f.Name && t.server == f.Server })
	if i < 0 {
		return t, false
	}
	return targets[i], true
}

func (t target) met(value float64) bool {
	if t.least {
		return value >= t.value
	}
	return value <= t.value
}

// figure adds the median of what its rounds came to.
func (r *Results) figure(name, server, unit string, rounds ...float64) {
	r.Figures = append(r.Figures, Figure{Name: name, Server: server, Unit: unit, Value: median(rounds), Rounds: rounds})
}

// find returns a figure, false if it was not measured.
func (r *Results) find(name, server string) (Figure, bool) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == name && f.Server == server })
	if i < 0 {
		return Figure{}, false
	}
	return r.Figures[i], true
}

// of returns a value of each round of a flow on a server.
func (r *Results) of(flow, server string, value func(Measurement) float64) (rounds []float64) {
	for _, m := range r.Flows {
		if m.Flow == flow && m.Server == server {
			rounds = append(rounds, value(m))
		}
	}
	return rounds
}

func perSecond(m Measurement) float64 { return m.PerSecond }
func cpu(m Measurement) float64       { return m.CPU }
func p50(m Measurement) float64       { return m.P50 }
func p99(m Measurement) float64       { return m.P99 }

// over divides each round by the round of the other server that ran next to it.
func over(rounds, beside []float64) []float64 {
	ratios := make([]float64, len(rounds))
	for i := range rounds {
		ratios[i] = rounds[i] / beside[i]
	}
	return ratios
}

// median returns the middle value, or the mean of the two; 0 for an empty list.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// sizeName writes a number of factors as the targets name it.
func sizeName(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%d M", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}

func readResults(name string) (r Results, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func (r *Results) write(name string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
