// Life takes one version of the library through the complete life of factors on a
// server, and prints the result of each step:
//
//	life 1 | 4 | 6 | 9
//
// With a second argument, "calls", it makes the calls that it reads from standard input instead.
//
// ../../README.md documents its environment and its output.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "life:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 || len(args) > 2 || len(args) == 2 && args[1] != "calls" {
		return fmt.Errorf("want the major version of the library, and nothing or calls")
	}
	v, ok := versions[args[0]]
	if !ok {
		return fmt.Errorf("there is no version %q here", args[0])
	}
	installed, err := installedVersion(v.module)
	if err != nil {
		return err
	}
	if len(args) == 2 {
		return calls(v, installed)
	}
	w, err := newFixture(v, &report{library: v.module, version: installed})
	if err != nil {
		return err
	}
	for _, chapter := range []func(*fixture){
		factors, challenges, limits, refusals, users, lists, retries, expiry, webhooks,
	} {
		chapter(w)
	}
	if n := w.report.failed; n > 0 {
		return fmt.Errorf("%d steps failed", n)
	}
	return nil
}
