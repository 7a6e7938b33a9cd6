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

// A file is a configuration file: flags of serve by their names, with underscores or
// hyphens.
type file struct {
	path   string
	values map[string]string // by the name of the flag
}

// readFile reads YAML; see kong.ConfigurationLoader. Errors begin with the path.
func readFile(r io.Reader) (kong.Resolver, error) {
	f := file{path: "the configuration file", values: make(map[string]string)}
	if opened, ok := r.(*os.File); ok {
		f.path = opened.Name()
	}
	if err := f.read(r); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return f, nil
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
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		node := settings[key]
		if node.Tag == "!!null" {
			continue // a key without a value sets nothing
		}
		value, err := scalar(&node)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", node.Line, key, err)
		}
		name := strings.ReplaceAll(key, "_", "-")
		if _, twice := f.values[name]; twice {
			return fmt.Errorf("%s is there twice, once with underscores and once with hyphens", key)
		}
		f.values[name] = value
	}
	return nil
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
			return fmt.Errorf("%s: unknown key: %s", f.path, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return nil
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
