// Package cli is the command line: it reads flags, environment variables and the
// configuration file, and runs the commands.
package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/alecthomas/kong"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// Commit is the commit that the program was built from, set by the linker. The default
// is the one that the go command has recorded.
var Commit = ""

type commands struct {
	Dev         devCommand         `cmd:"" help:"Try Countersign: a server with its own store, key and message inbox."`
	Serve       serveCommand       `cmd:"" help:"Run the server."`
	Check       checkCommand       `cmd:"" help:"Check the configuration, the files, the store and the machine, without changing anything."`
	Health      healthCommand      `cmd:"" help:"Ask a server on this machine whether it is ready, for the health checks of container engines."`
	Environment environmentCommand `cmd:"" aliases:"env" help:"Create and list environments, the tenants of a server, and change their settings."`
	Key         keyCommand         `cmd:"" help:"Create, list and revoke API keys."`
	Factor      factorCommand      `cmd:"" help:"Show, list, unlock, suspend, resume and delete factors."`
	User        userCommand        `cmd:"" help:"Show, unlock and erase users."`
	Bypass      bypassCommand      `cmd:"" help:"Issue a one-time code to a user who cannot use any factor."`
	Challenge   challengeCommand   `cmd:"" help:"Show a challenge, and explain why it failed."`
	Find        findCommand        `cmd:"" help:"Find a user, factor, challenge or event by its id, or the factors of a phone number."`
	Events      eventsCommand      `cmd:"" help:"Show, follow and export events: who did what, and who has been guessing."`
	Webhooks    webhooksCommand    `cmd:"" help:"Manage the endpoints that receive events, and forward events to your machine."`
	Console     consoleCommand     `cmd:"" help:"Manage the operators of the web console: one-time links, roles, sessions."`
	Stats       statsCommand       `cmd:"" help:"Show enrollments, codes, messages and their cost over time, and the users with one factor or more."`
	SMS         smsCommand         `cmd:"" help:"Check a file of providers, and show message counts and end pauses."`
	Keyset      keysetCommand      `cmd:"" help:"Create and rotate the keys that seal stored secrets."`
	Migrate     migrateCommand     `cmd:"" help:"Update the schema of a store."`
	Backup      backupCommand      `cmd:"" help:"Back up a SQLite store, also while it is in use."`
	Restore     restoreCommand     `cmd:"" help:"Restore a SQLite store from a backup."`
	Copy        copyCommand        `cmd:"" help:"Copy all data to a new store, such as from SQLite to PostgreSQL."`
	Completion  completionCommand  `cmd:"" help:"Print a script that completes commands in bash, zsh or fish."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	VersionFlag kong.VersionFlag `name:"version" short:"v" help:"Print the version."`
}

const description = `Countersign serves authentication factors and challenges over HTTP.

Try it, run it, and create an API key for your program:

    countersign dev
    countersign serve --store sqlite:/var/lib/countersign/countersign.db --tls-cert cert.pem --tls-key key.pem
    countersign key create --env staging --store sqlite:/var/lib/countersign/countersign.db

Every flag of every command except dev is also an environment variable: --challenge-ttl is COUNTERSIGN_CHALLENGE_TTL.`

// console is where a command writes.
type console struct {
	out, err io.Writer
	now      func() time.Time
}

func (c console) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

func (c console) notef(format string, args ...any) { fmt.Fprintf(c.err, format, args...) }

// exit carries the code of a parser that is done, after --help.
type exit struct{ code int }

// Run carries out the command line args, without the program's name, until it is
// done or ctx ends, and returns the exit code: 0, 1 for a failure, 2 for a
// command line that cannot be understood.
func Run(ctx context.Context, args []string, out, err io.Writer) (code int) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exit:
			code = p.code
		default:
			panic(p)
		}
	}()
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // help key create is key create --help
		args = append(slices.Clone(args[1:]), "--help")
	}
	con := console{out, err, wallclock.Or(nil)}
	parser := commandParser(
		kong.Writers(out, err),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(con),
	)
	if args[0] == completeCommand {
		if len(args) > 1 {
			complete(out, parser.Model, args[1], args[2:])
		}
		return 0
	}
	command, parseErr := parser.Parse(args)
	if parseErr != nil {
		con.notef("countersign: %v\nRun 'countersign --help', or a command with --help, to see commands and flags.\n", parseErr)
		return 2
	}
	if runErr := command.Run(); runErr != nil {
		con.notef("countersign: %v\n", runErr)
		return 1
	}
	return 0
}

// commandParser returns the parser of all commands.
func commandParser(options ...kong.Option) *kong.Kong {
	parser, err := kong.New(new(commands), append(options,
		kong.Name("countersign"),
		kong.Description(description),
		kong.PostBuild(readVariables),
		kong.Vars{"version": "countersign " + version()},
		kong.Exit(func(code int) { panic(exit{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Configuration(readFile),
	)...)
	if err != nil {
		panic(err) // the tags of commands are wrong
	}
	return parser
}

// Model returns the tree of commands with their flags and help, for man pages.
func Model() *kong.Application { return commandParser().Model }

// A storeFlag names the store that a command works on.
type storeFlag struct {
	Config configFlag `name:"config" placeholder:"FILE" help:"The configuration file of the server, from which this command takes the settings that it has flags for, such as 'store'."`
	Store  string     `default:"sqlite:countersign.db" placeholder:"STORE" help:"Where all data is stored: sqlite:PATH or a postgres:// URL. Default ${default}."`
}

// name is the store as it may be shown.
func (f storeFlag) name() string { return config.StoreName(f.Store) }

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: l}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return slog.New(slog.NewJSONHandler(w, opts)), nil
}

type versionCommand struct{}

func (versionCommand) Run(con console) error {
	con.printf("countersign %s\n", version())
	return nil
}

// version returns the version of the release, and the commit if it is known, in the form
// of Semantic Versioning: 0.2.0+abc1234.
func version() string {
	commit := Commit
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		commit = recorded(info)
	}
	if commit == "" {
		return countersign.Version
	}
	return countersign.Version + "+" + commit
}

// recorded returns the commit of a build, or "" if it is unknown.
func recorded(info *debug.BuildInfo) string {
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}

// isTerminal reports whether w is a terminal, where a secret reaches a person and not a
// log.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
