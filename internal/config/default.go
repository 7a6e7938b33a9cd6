package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Default returns the configuration that the command line starts from: the values in the
// tags "default" of Config, which are the only place of a default.
func Default() Config {
	var c Config
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		text, ok := field.Tag.Lookup("default")
		if !ok || text == "" {
			continue
		}
		if err := set(v.Field(i), text); err != nil {
			panic(fmt.Sprintf("config: the default of %s: %v", field.Name, err)) // a test reads them all
		}
	}
	return c
}

// set reads text as the command line does.
func set(v reflect.Value, text string) error {
	switch v.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err
	case int:
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return err
	case float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err
	case bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case string:
		v.SetString(text)
		return nil
	case []string:
		v.Set(reflect.ValueOf(strings.Split(text, ",")))
		return nil
	}
	return fmt.Errorf("a setting of type %s", v.Type())
}
