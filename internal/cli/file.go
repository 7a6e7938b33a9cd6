package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// A file is a configuration file: flags of serve by their names, with
// underscores or hyphens.
type file map[string]string

// readFile reads YAML; see kong.ConfigurationLoader.
func readFile(r io.Reader) (kong.Resolver, error) {
	var values map[string]any
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && err != io.EOF {
		return nil, fmt.Errorf("it is not valid YAML: %w", err)
	}
	f := make(file)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] == nil {
			continue // a key without a value says nothing
		}
		text, err := scalar(values[key])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		name := strings.ReplaceAll(key, "_", "-")
		if _, twice := f[name]; twice {
			return nil, fmt.Errorf("%s is there twice, once with underscores and once with hyphens", key)
		}
		f[name] = text
	}
	return f, nil
}

func scalar(value any) (string, error) {
	switch v := value.(type) {
	case string, bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case []any:
		var parts []string
		for _, item := range v {
			part, err := scalar(item)
			if err != nil {
				return "", err
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("a value of type %T is not possible here", value)
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
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !known[key] {
			return fmt.Errorf("the configuration file has an unknown key: %s", strings.ReplaceAll(key, "-", "_"))
		}
	}
	return nil
}

// Resolve returns the value of a flag that neither the command line nor the
// environment gave.
func (f file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Envs) > 0 { // its variable is set
		return nil, nil
	}
	if value, ok := f[flag.Name]; ok {
		return value, nil
	}
	return nil, nil
}
