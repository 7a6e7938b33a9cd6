package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/countersign-mfa/countersign/internal/server"
)

type checkCommand struct {
	Config string `name:"config" placeholder:"FILE" help:"Configuration file of the server. All of its problems are reported."`
	JSON   bool   `name:"json" help:"Print JSON."`
	serverFlags
}

func (checkCommand) Help() string {
	return `Checks what 'serve' would find with the same flags, and reports all problems at once: the configuration file and its
values, the certificate, the file of SMS providers, the store and its schema, whether the keyset opens the store, the
clock, the disk, the limit on open files, and the addresses. It creates and changes nothing, and the server may be running.
Run it under the account of the server, so the permissions are the same.

Each line has a state: ok, warning or failed. The exit code is 1 if a check has failed.

Example:

  countersign check --config /etc/countersign.yaml`
}

func (c *checkCommand) Run(ctx context.Context, con console, parsed *kong.Context) error {
	found, usable := c.readConfig(parsed)
	if usable {
		found = append(found, server.Check(ctx, c.config(), con.now)...)
	}
	return report(con, found, c.JSON)
}

// readConfig takes the settings that neither a flag nor a variable gives from the
// configuration file. It reports false if the file cannot be read, so the other checks would
// be about other settings.
func (c *checkCommand) readConfig(parsed *kong.Context) (found []server.Finding, usable bool) {
	const check = "configuration"
	fail := func(err error, action string) {
		found = append(found, server.Finding{Check: check, Status: server.CheckFailed, Message: c.Config + ": " + err.Error(), Action: action})
	}
	if c.Config == "" {
		return []server.Finding{{Check: check, Status: server.CheckOK, Message: "no configuration file is given"}}, true
	}
	opened, err := os.Open(c.Config)
	if err != nil {
		fail(errors.Unwrap(err), "name a file that this account can read")
		return found, false
	}
	defer opened.Close()
	f, err := parseFile(opened)
	if err != nil {
		for _, err := range joined(err) {
			fail(err, "correct the file")
		}
		if len(f.values) == 0 {
			return found, false
		}
	}
	for _, key := range f.unknown(parsed.Model) {
		fail(fmt.Errorf("unknown key: %s", key), "remove it, or correct its name; 'countersign serve --help' lists all")
	}
	for _, flag := range parsed.Selected().Flags {
		value, ok := f.values[flag.Name]
		if !ok || flag.Name == "config" || flag.Name == "json" || isGiven(parsed, flag) {
			continue
		}
		if err := apply(flag, value); err != nil {
			fail(fmt.Errorf("%s: %w", settingName(flag), err), "correct the value")
		}
	}
	if found == nil {
		found = append(found, server.Finding{Check: check, Status: server.CheckOK, Message: fmt.Sprintf("%s: %d settings", c.Config, len(f.values))})
	}
	return found, true
}

// isGiven reports whether the command line or the environment gives a flag.
func isGiven(parsed *kong.Context, flag *kong.Flag) bool {
	for _, p := range parsed.Path {
		if p.Flag == flag {
			return true
		}
	}
	return len(flag.Envs) > 0 // its variable is set
}

// apply sets a flag to a value of a configuration file.
func apply(flag *kong.Flag, value string) error {
	if err := accepts(flag, value); err != nil {
		return err
	}
	target := reflect.New(flag.Target.Type()).Elem()
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target); err != nil {
		return err
	}
	flag.Apply(target)
	return nil
}

// joined returns the errors that errors.Join has joined.
func joined(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}

// report prints findings, and returns an error if a check has failed.
func report(con console, found []server.Finding, asJSON bool) error {
	counts := make(map[string]int)
	for _, f := range found {
		counts[f.Status]++
	}
	status := server.CheckOK
	switch {
	case counts[server.CheckFailed] > 0:
		status = server.CheckFailed
	case counts[server.CheckWarning] > 0:
		status = server.CheckWarning
	}
	if asJSON {
		b, err := json.MarshalIndent(struct {
			Status string           `json:"status"`
			Checks []server.Finding `json:"checks"`
		}{status, found}, "", "  ")
		if err != nil {
			return err
		}
		con.printf("%s\n", b)
	} else {
		for _, f := range found {
			con.printf("%-8s %-14s %s\n", f.Status, f.Check, lineOf(f))
		}
	}
	if n := counts[server.CheckFailed]; n > 0 {
		return fmt.Errorf("%d of %d checks failed", n, len(found))
	}
	return nil
}

// lineOf returns the message of a finding with what to do.
func lineOf(f server.Finding) string {
	text := strings.Join(strings.Fields(f.Message), " ") // on one line
	if f.Action != "" {
		text += "; " + f.Action
	}
	return text
}

// settingName returns the name of a flag in a configuration file.
func settingName(flag *kong.Flag) string { return strings.ReplaceAll(flag.Name, "-", "_") }
