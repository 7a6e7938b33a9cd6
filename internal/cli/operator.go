package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

// operatorFlags are the flags of a command that an operator uses on a store.
type operatorFlags struct {
	storeFlag
	asFlag
}

// An asFlag names the operator who uses a command.
type asFlag struct {
	As string `name:"as" placeholder:"NAME" help:"Your name, which events record. Default the name of your account."`
}

// by returns who uses the command, and why.
func (f asFlag) by(reason string) operator.By {
	return operator.By{Operator: cmp.Or(f.As, accountName()), Reason: reason}
}

// accountName returns the name of the account that called sudo, or of the account of the
// process.
func accountName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if account, err := user.Current(); err == nil && account.Username != "" {
		return account.Username
	}
	return fmt.Sprintf("uid-%d", os.Getuid()) // in a container without a list of accounts
}

// config returns the settings of the store.
func (f storeFlag) config() config.Config { return config.Config{Store: f.Store} }

// operator calls fn with the actions on the store, which must exist.
func (f operatorFlags) operator(ctx context.Context, fn func(*operator.Service) error) error {
	return server.WithOperator(ctx, f.config(), fn)
}

// A keysetFlag names the keyset of a command that opens sealed values.
type keysetFlag struct {
	Keyset string `placeholder:"SOURCE" help:"The keys of the store, as for serve: file:PATH, env:NAME or exec:COMMAND. Default the file next to the SQLite store."`
}

// A reasonFlag is on commands that concern a person.
type reasonFlag struct {
	Reason string `placeholder:"TEXT" help:"Why, in at most 200 characters. The event keeps it, so do not write personal data."`
}

// environment finds an environment by its name.
func (f storeFlag) environment(ctx context.Context, s *operator.Service, name string) (mfa.Environment, error) {
	env, err := s.Environment(ctx, name)
	if err != nil {
		return env, fmt.Errorf("%w; 'countersign environment list --store %s' shows all", err, f.name())
	}
	return env, nil
}
