package server

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// fill sets the fields of the struct that options points to. AccountSID is set by
// the key account_sid. A secret also comes from a file, auth_token_file, or an
// environment variable, auth_token_env; bytes come from a file alone. Paths are
// relative to dir. Fields of other types, a clock for example, are for tests.
func fill(options any, settings map[string]yaml.Node, dir string) error {
	fields := make(map[string]func(yaml.Node) error)
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		field, key := v.Field(i), snake(v.Type().Field(i).Name)
		switch into := field.Addr().Interface().(type) {
		case *secret.String:
			fields[key] = text(func(s string) error { *into = secret.NewString(s); return nil })
			fields[key+"_file"] = text(func(s string) error {
				b, err := readSetting(dir, s)
				*into = secret.NewString(strings.TrimRight(string(b), "\r\n"))
				return err
			})
			fields[key+"_env"] = text(func(s string) error {
				value, ok := os.LookupEnv(s)
				if !ok {
					return fmt.Errorf("the environment variable %s is not set", s)
				}
				*into = secret.NewString(value)
				return nil
			})
		case *[]byte:
			fields[key+"_file"] = text(func(s string) (err error) { *into, err = readSetting(dir, s); return err })
		default:
			if isSetting(field.Type()) {
				fields[key] = func(n yaml.Node) error {
					if err := n.Decode(into); err != nil {
						return config.YAMLError(err)
					}
					return nil
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		set, ok := fields[key]
		if !ok {
			return fmt.Errorf("there is no setting %s; there are %s", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		for _, other := range []string{key + "_file", key + "_env"} {
			if _, twice := settings[other]; twice && fields[other] != nil {
				return fmt.Errorf("%s and %s exclude one another", key, other)
			}
		}
		if err := set(settings[key]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// isSetting reports whether a value of type t can stand in a file. A clock and a
// logger cannot.
func isSetting(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return isSetting(t.Elem())
	case reflect.Func, reflect.Struct, reflect.Interface:
		return false
	}
	return true
}

func text(set func(string) error) func(yaml.Node) error {
	return func(n yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return fmt.Errorf("line %d: it must be a text", n.Line)
		}
		return set(n.Value)
	}
}

func readSetting(dir, path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return os.ReadFile(path)
}

// snake writes the name of a field as a key: AccountSID becomes account_sid, and
// RootCAs root_cas.
func snake(name string) string {
	runes := []rune(name)
	var key strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || startsWord(runes[i:])) {
			key.WriteByte('_')
		}
		key.WriteRune(unicode.ToLower(r))
	}
	return key.String()
}

// startsWord reports whether a capital after another one begins a word, as the K
// of APIKey does, and not the last of an acronym in the plural.
func startsWord(rest []rune) bool {
	return len(rest) > 1 && unicode.IsLower(rest[1]) && string(rest[1:]) != "s"
}
