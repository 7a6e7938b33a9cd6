package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
)

// A report prints what a run found, as lines of JSON on standard output.
type report struct {
	library, version string
	failed           int
}

// A step is what its line tells beside the name and whether it held.
type step struct {
	Detail string `json:"detail"`
	QRCode string `json:"qr_code,omitempty"` // a picture that the step was given, as a data URI
	Text   string `json:"text,omitempty"`    // what its QR code must say
}

// A skip says that a step does not apply to a version, and why. Where a version has
// no such call, its adapter returns one as the error.
type skip string

func (s skip) Error() string { return string(s) }

// A failure ends a step that did not hold.
type failure string

// step runs a step and reports how it ended. A failure does not end the run: later
// steps tell more.
func (r *report) step(name string, run func(*step)) {
	line := struct {
		Library string `json:"library"`
		Version string `json:"version"`
		Step    string `json:"step"`
		OK      bool   `json:"ok"`
		Skipped bool   `json:"skipped,omitempty"`
		step
	}{Library: r.library, Version: r.version, Step: name, OK: true}
	defer func() {
		switch reason := recover().(type) {
		case nil:
		case skip:
			line.Skipped, line.step = true, step{Detail: string(reason)}
		default:
			r.failed++
			line.OK, line.step = false, step{Detail: fmt.Sprintf("%v\nin %s", reason, here())}
		}
		printLine(line)
	}()
	run(&line.step)
}

// secrets makes values known that went through the server.
func (r *report) secrets(values ...string) {
	printLine(map[string][]string{"secrets": values})
}

func printLine(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // these are strings and booleans
	}
	os.Stdout.Write(append(text, '\n'))
}

// here returns the lines of this program that led to a panic, the innermost first.
func here() string {
	var lines []string
	callers := make([]uintptr, 50)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for more := true; more; {
		var frame runtime.Frame
		frame, more = frames.Next()
		if strings.HasPrefix(frame.Function, "main.") {
			lines = append(lines, fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line))
		}
	}
	return strings.Join(lines, ", ")
}

func failf(format string, args ...any) {
	panic(failure(fmt.Sprintf(format, args...)))
}

// check ends the step if err is not nil.
func check(err error) {
	switch why, skipped := errors.AsType[skip](err); {
	case skipped:
		panic(why)
	case err != nil:
		failf("%v", err)
	}
}

// must returns what a call returned, and ends the step if that was an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func equal(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		failf("%s: %+v; want %+v", what, got, want)
	}
}

func matches(what, got string, want *regexp.Regexp) {
	if !want.MatchString(got) {
		failf("%s is %q; want %s", what, got, want)
	}
}
