// Events lists events and verifies a delivery with one version of the library, and prints
// the result of each step:
//
//	events 4 | 6 | 9
//
// COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_PLAN is a plan
// of ../../events_test.go, which also has the expected results.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// A library is one version of the library, connected to a server.
type library interface {
	// list returns the ids of a page of events and the cursor of the next page, or "".
	list(ctx context.Context, f filter) (ids []string, after string, err error)
	// listAll returns the ids of all events, read in pages.
	listAll(ctx context.Context, f filter) ([]string, error)
	// accept verifies a delivery and returns the id and the user of its event.
	accept(secret, signature, body string) (id, user string, err error)
	// refusal returns the status of an error and the codes of its fields, as far as the
	// library shows them.
	refusal(err error) (status int, codes []string)
	// errForged is the error for a delivery with a wrong signature.
	errForged() error
}

type filter struct {
	types      []string
	limit      int
	after      string
	start, end string
}

// The calls used here are the same in versions 4 and 6 except for the import path.
//
//go:generate sh -c "sed -e '1i // Code generated from v4.go by go generate. DO NOT EDIT.\\n' -e s/v4/v6/g -e s/V4/V6/g v4.go >v6.go"
var libraries = map[string]struct {
	module  string
	connect func(url, key string) library
}{
	"4": {"github.com/workos/workos-go/v4", connectV4},
	"6": {"github.com/workos/workos-go/v6", connectV6},
	"9": {"github.com/workos/workos-go/v9", connectV9},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "events:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 || libraries[args[0]].connect == nil {
		return errors.New("want one argument: the major version of the library")
	}
	l := libraries[args[0]]
	version, err := installedVersion(l.module)
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal([]byte(os.Getenv("COUNTERSIGN_PLAN")), &p); err != nil {
		return err
	}
	r := report{module: l.module, version: version}
	r.follow(p, l.connect(os.Getenv("COUNTERSIGN_URL"), os.Getenv("COUNTERSIGN_API_KEY")))
	if r.failed > 0 {
		return fmt.Errorf("%d steps failed", r.failed)
	}
	return nil
}

func installedVersion(module string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", errors.New("the program has no build information")
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return strings.TrimPrefix(dep.Version, "v"), nil
		}
	}
	return "", fmt.Errorf("the program was built without %s", module)
}

// A plan has the arguments of the steps.
type plan struct {
	Types      []string `json:"types"`
	After      string   `json:"after"`
	RangeStart string   `json:"range_start"`
	RangeEnd   string   `json:"range_end"`
	Unknown    string   `json:"unknown"`
	Delivery   struct{ Secret, Signature, Body string }
}

func (r *report) follow(p plan, l library) {
	ctx := context.Background()
	all := filter{types: p.Types, limit: 100}
	page := func(f filter) (result, error) {
		ids, _, err := l.list(ctx, f)
		return result{ids: ids}, err
	}
	r.step("list events", func() (result, error) { return page(all) })
	r.step("list events page by page", func() (result, error) {
		ids, err := l.listAll(ctx, filter{types: p.Types, limit: 2})
		return result{ids: ids}, err
	})
	r.step("list events in a range", func() (result, error) {
		f := all
		f.start, f.end = p.RangeStart, p.RangeEnd
		return page(f)
	})
	r.step("list events after an event", func() (result, error) {
		f := all
		f.after = p.After
		return page(f)
	})
	r.step("list events of an unknown type", func() (result, error) {
		_, _, err := l.list(ctx, filter{types: []string{p.Unknown}, limit: 10})
		status, codes := l.refusal(err)
		if status != 422 || codes != nil && strings.Join(codes, " ") != "events_unknown_type" {
			return result{}, fmt.Errorf("refused with %d %q: %v", status, codes, err)
		}
		return result{}, nil
	})
	r.step("verify a delivery", func() (result, error) {
		d := p.Delivery
		id, user, err := l.accept(d.Secret, d.Signature, d.Body)
		if err != nil {
			return result{}, err
		}
		altered := strings.Replace(d.Body, "succeeded", "failed", 1)
		if _, _, err := l.accept(d.Secret, d.Signature, altered); !errors.Is(err, l.errForged()) {
			return result{}, fmt.Errorf("an altered delivery: %v", err)
		}
		return result{ids: []string{id}, detail: user}, nil
	})
}

// A report prints the results of a run as lines of JSON on standard output.
type report struct {
	module, version string
	failed          int
}

type result struct {
	ids    []string
	detail string
}

func (r *report) step(name string, run func() (result, error)) {
	got, err := run()
	if err != nil {
		r.failed++
		got.detail = err.Error()
	}
	text, err := json.Marshal(map[string]any{
		"library": r.module, "version": r.version, "step": name, "ok": err == nil, "detail": got.detail, "ids": got.ids,
	})
	if err != nil {
		panic(err) // strings and booleans can always be encoded
	}
	os.Stdout.Write(append(text, '\n'))
}

// readAll reads all pages of a library without iteration.
func readAll(ctx context.Context, l library, f filter) (all []string, err error) {
	for {
		ids, after, err := l.list(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
		if after == "" {
			return all, nil
		}
		f.after = after
	}
}
