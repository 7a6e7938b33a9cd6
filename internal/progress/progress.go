// Package progress shows how far long work has come: as a bar on a terminal, and as a line
// every few seconds elsewhere.
package progress

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// The shortest times between two outputs.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

const barWidth = 24

// A Reporter writes the progress of one piece of work. It is not safe for concurrent use.
type Reporter struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	unit     Unit

	began, wrote time.Time
	drawn        bool // a bar is on the current line of the terminal
}

// A Unit is a unit of work.
type Unit int

// The units.
const (
	Rows Unit = iota
	Bytes
)

// New returns a Reporter that writes to w. now tells the time.
func New(w io.Writer, terminal bool, unit Unit, now func() time.Time) *Reporter {
	start := now()
	return &Reporter{w: w, terminal: terminal, now: now, unit: unit, began: start, wrote: start}
}

// Report says how much of the work is done. A total of 0 is not known. Most calls write
// nothing: the time since the last output is too short.
func (r *Reporter) Report(what string, done, total int64) {
	now := r.now()
	every := lineEvery
	if r.terminal {
		every = barEvery
	}
	if now.Sub(r.wrote) < every {
		return
	}
	r.wrote = now
	text := r.text(what, done, total, now.Sub(r.began))
	if !r.terminal {
		fmt.Fprintf(r.w, "%s\n", text)
		return
	}
	r.drawn = true
	fmt.Fprintf(r.w, "\r\x1b[K%s%s", bar(done, total), text)
}

// Clear removes the bar from the terminal, so other text can be written. Call it at the end.
func (r *Reporter) Clear() {
	if r.drawn {
		fmt.Fprint(r.w, "\r\x1b[K")
		r.drawn = false
	}
}

// text describes the progress in less than 80 characters with the bar.
func (r *Reporter) text(what string, done, total int64, took time.Duration) string {
	var b strings.Builder
	if what != "" {
		fmt.Fprintf(&b, "%s: ", what)
	}
	b.WriteString(r.count(done))
	if total > 0 {
		fmt.Fprintf(&b, " of %s", r.count(total))
	}
	if r.unit == Rows {
		b.WriteString(" rows")
	}
	if total > 0 {
		fmt.Fprintf(&b, ", %d %%", percent(done, total))
	}
	fmt.Fprintf(&b, ", %v", took.Round(time.Second))
	return b.String()
}

func (r *Reporter) count(n int64) string {
	if r.unit == Bytes {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprint(n)
}

func percent(done, total int64) int64 { return min(100, done*100/total) }

// bar draws how much is done. It is empty if the total is not known.
func bar(done, total int64) string {
	if total <= 0 {
		return ""
	}
	full := int(percent(done, total)) * barWidth / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "] "
}
