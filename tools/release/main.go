// Command release makes the files of a release: archives of the program, packages,
// a bill of materials and checksums. The same commit and the same Go version give
// the same bytes. `make release` runs it; docs/install.md describes the files.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	opts := options{log: os.Stdout, platforms: allPlatforms}
	platforms := ""
	flag.StringVar(&opts.source, "source", ".", "the repository")
	flag.StringVar(&opts.out, "out", "bin/release", "the directory to write; its files are replaced")
	flag.StringVar(&platforms, "platforms", "", "only these, such as linux/amd64,darwin/arm64,linux/amd64/fips")
	flag.Parse()
	if platforms != "" {
		var err error
		if opts.platforms, err = parsePlatforms(platforms); err != nil {
			return err
		}
	}
	var err error
	if opts.commit, opts.time, err = head(ctx, opts.source); err != nil {
		return err
	}
	// The help of commands names the variables that are set.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "COUNTERSIGN_") {
			os.Unsetenv(name)
		}
	}
	return release(ctx, opts)
}

// head returns the commit of a repository, with "-dirty" if files differ from it, and its
// time, which is the time of all files of the release. SOURCE_DATE_EPOCH overrides the time.
func head(ctx context.Context, dir string) (commit string, at time.Time, err error) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	shown, err := git("show", "--no-patch", "--abbrev=12", "--format=%h %ct", "HEAD")
	if err != nil {
		return "", time.Time{}, err
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return "", time.Time{}, err
	}
	commit, seconds, _ := strings.Cut(shown, " ")
	if changed != "" {
		commit += "-dirty"
	}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds = epoch
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %q is not a number of seconds", seconds)
	}
	return commit, time.Unix(unix, 0).UTC(), nil
}
