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

// A report prints the results of a run as lines of JSON on standard output.
type report struct {
	library, version string
	failed           int
}

// A step is the line of a step, without its name and whether it held.
type step struct {
	Detail string `json:"detail"`
	QRCode string `json:"qr_code,omitempty"` // a picture that the server returned, as a data URI
	Text   string `json:"text,omitempty"`    // the text that its QR code must contain
}

// A skip is the reason why a step does not apply to a version. If a version lacks a
// call, its adapter returns a skip as the error.
type skip string

func (s skip) Error() string { return string(s) }

// A failure ends a step whose check failed.
type failure string

// step runs a step and reports its result. A failure does not end the run: later steps
// give more information.
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

// secrets reports values that went through the server and that no log may contain.
func (r *report) secrets(values ...string) {
	printLine(map[string][]string{"secrets": values})
}

func printLine(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // strings and booleans can always be encoded
	}
	os.Stdout.Write(append(text, '\n'))
}

// here returns the lines of this program that led to a panic, innermost first.
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

// must returns the result of a call, and ends the step if the call returned an error.
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
