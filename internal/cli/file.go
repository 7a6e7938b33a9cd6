package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
)

// A configFlag names the configuration file of a command. The file is read if the flag is one
// of the command that runs: kong reads a kong.ConfigFlag that a variable gives for every
// command.
type configFlag string

// BeforeResolve reads the file; see kong.ConfigFlag.
func (c configFlag) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	if selected := ctx.Selected(); selected == nil || !slices.Contains(selected.Flags, trace.Flag) {
		return nil
	}
	resolver, err := k.LoadConfig(string(ctx.FlagValue(trace.Flag).(configFlag)))
	if err != nil {
		return err
	}
	ctx.AddResolver(resolver)
	return nil
}

// A file is a configuration file: flags of serve by their names, with underscores or
// hyphens.
type file struct {
	path   string
	values map[string]string // by the name of the flag
}

// readFile reads YAML; see kong.ConfigurationLoader. Errors begin with the path.
func readFile(r io.Reader) (kong.Resolver, error) {
	f, err := parseFile(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return f, nil
}

// parseFile reads YAML. The file has the values that could be read, also if there is an error,
// which has one part for each problem.
func parseFile(r io.Reader) (file, error) {
	f := file{path: "the configuration file", values: make(map[string]string)}
	if opened, ok := r.(*os.File); ok {
		f.path = opened.Name()
	}
	return f, f.read(r)
}

func (f file) read(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return errors.New("this cannot be read: is it a regular file?")
	}
	var settings map[string]yaml.Node
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return config.YAMLError(err)
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		node := settings[key]
		if node.Tag == "!!null" {
			continue // a key without a value sets nothing
		}
		value, err := scalar(&node)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %s: %w", node.Line, key, err))
			continue
		}
		name := strings.ReplaceAll(key, "_", "-")
		if _, twice := f.values[name]; twice {
			errs = append(errs, fmt.Errorf("%s is there twice, once with underscores and once with hyphens", key))
		}
		f.values[name] = value
	}
	return errors.Join(errs...)
}

// scalar returns a single value in the form of the command line, and a list with commas
// between its values.
func scalar(node *yaml.Node) (string, error) {
	switch node.Kind {
	case yaml.AliasNode:
		return scalar(node.Alias)
	case yaml.ScalarNode:
		return node.Value, nil
	case yaml.SequenceNode:
		var parts []string
		for _, item := range node.Content {
			part, err := scalar(item)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("this must be a single value or a list, not a set of keys with values")
}

// Validate refuses keys that no flag of serve has.
func (f file) Validate(app *kong.Application) error {
	if unknown := f.unknown(app); len(unknown) > 0 {
		return fmt.Errorf("%s: unknown key: %s", f.path, strings.Join(unknown, ", "))
	}
	return nil
}

// unknown returns the keys that no flag of serve has.
func (f file) unknown(app *kong.Application) (keys []string) {
	known := make(map[string]bool)
	for _, command := range app.Leaves(true) {
		if command.Name == "serve" {
			for _, flag := range command.Flags {
				known[flag.Name] = flag.Name != "config" && flag.Name != "help"
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		if !known[name] {
			keys = append(keys, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return keys
}

// accepts reports whether a flag can have a value.
func accepts(flag *kong.Flag, value string) error {
	if flag.Enum != "" && !slices.Contains(flag.EnumSlice(), value) {
		return fmt.Errorf("%q is not one of %s", value, strings.TrimPrefix(flag.Enum, ","))
	}
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
	return flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, reflect.New(flag.Target.Type()).Elem())
}

// Resolve returns the value of a flag that neither the command line nor the environment
// gave.
func (f file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) > 0 { // its variable is set
		return nil, nil
	}
	value, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	if err := accepts(flag, value); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return value, nil
}
