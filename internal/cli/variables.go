package cli

import (
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// variable returns the name of the environment variable for a flag: challenge-ttl is
// COUNTERSIGN_CHALLENGE_TTL.
func variable(flag *kong.Flag) string {
	return "COUNTERSIGN_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

// readVariables lets the flags of all commands but dev be given by environment
// variables. A variable that is empty counts as not set. dev shows messages without a
// key, so a variable exported for another command must not choose its store.
func readVariables(k *kong.Kong) error {
	for _, command := range k.Model.Leaves(false) {
		if command.Name == "dev" {
			continue
		}
		for _, flag := range command.Flags {
			name := variable(flag)
			if os.Getenv(name) == "" {
				flag.Help = strings.TrimSuffix(flag.Help, ".") + " ($" + name + ")."
				continue
			}
			// Kong reads the variable and adds it to the help.
			flag.Envs = []string{name}
			flag.Tag.Envs = []string{name}
		}
	}
	return nil
}
