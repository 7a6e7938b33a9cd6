package providers

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// decode sets the fields of the struct that options points to, as Settings documents.
// Paths are relative to dir. Its errors name the key and show no value of a secret.
func (s Settings) decode(options any, dir string) error {
	setters := settersOf(options, dir)
	for _, key := range slices.Sorted(maps.Keys(s)) {
		set, ok := setters[key]
		if !ok {
			return fmt.Errorf("there is no setting %s; there are %s", key, strings.Join(slices.Sorted(maps.Keys(setters)), ", "))
		}
		for _, other := range []string{key + "_file", key + "_env"} {
			if _, twice := s[other]; twice && setters[other] != nil {
				return fmt.Errorf("%s and %s exclude one another", key, other)
			}
		}
		if err := set(s[key]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// A setter sets a field to the value of a key.
type setter func(yaml.Node) error

// settersOf returns the setters of the struct that options points to, by key.
func settersOf(options any, dir string) map[string]setter {
	setters := map[string]setter{}
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		key, ok := v.Type().Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		switch into := v.Field(i).Addr().Interface().(type) {
		case *secret.String:
			setters[key] = text(func(s string) error { *into = secret.NewString(s); return nil })
			setters[key+"_file"] = text(func(s string) error { return readSecret(into, dir, s) })
			setters[key+"_env"] = text(func(s string) error { return lookUpSecret(into, s) })
		case *[]byte:
			setters[key] = text(func(s string) (err error) { *into, err = readFile(dir, s); return err })
		default:
			setters[key] = func(n yaml.Node) error {
				if err := n.Decode(into); err != nil {
					return config.YAMLError(err)
				}
				return nil
			}
		}
	}
	return setters
}

// text returns a setter that accepts only a text and passes it to set.
func text(set func(string) error) setter {
	return func(n yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return fmt.Errorf("line %d: it must be a text", n.Line)
		}
		return set(n.Value)
	}
}

// readSecret sets a secret to the content of a file, without line breaks at its end.
func readSecret(into *secret.String, dir, path string) error {
	b, err := readFile(dir, path)
	*into = secret.NewString(strings.TrimRight(string(b), "\r\n"))
	return err
}

// lookUpSecret sets a secret to the value of an environment variable.
func lookUpSecret(into *secret.String, name string) error {
	value, ok := os.LookupEnv(name)
	if !ok {
		return fmt.Errorf("the environment variable %s is not set", name)
	}
	*into = secret.NewString(value)
	return nil
}

func readFile(dir, path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return os.ReadFile(path)
}
