package config

import (
	"errors"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAMLError returns an error of package yaml in words for people who write a
// configuration file. It names no type of the program and repeats no value of the file,
// which may be a secret.
func YAMLError(err error) error {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var lines []string
	for _, e := range wrong.Errors {
		lines = append(lines, plainYAML(e))
	}
	return errors.New(strings.Join(lines, "; "))
}

var (
	wrongType  = regexp.MustCompile(`(?s)^(line \d+): cannot unmarshal .* into (.+)$`)
	unknownKey = regexp.MustCompile(`^(line \d+): field (.*) not found in type \S+$`)
	twice      = regexp.MustCompile(`^(line \d+): field (.*) already set in type \S+$`)
	twiceInMap = regexp.MustCompile(`^(line \d+): mapping key "(.*)" already defined at (line \d+)$`)
)

func plainYAML(text string) string {
	if m := wrongType.FindStringSubmatch(text); m != nil {
		return m[1] + ": this must be " + kindOf(m[2])
	}
	if m := unknownKey.FindStringSubmatch(text); m != nil {
		return m[1] + ": there is no setting " + m[2]
	}
	if m := twice.FindStringSubmatch(text); m != nil {
		return m[1] + ": " + m[2] + " is given twice"
	}
	if m := twiceInMap.FindStringSubmatch(text); m != nil {
		return m[1] + ": " + m[2] + " is given twice, first in " + m[3]
	}
	return text
}

// kindOf describes the values of a Go type.
func kindOf(goType string) string {
	goType = strings.TrimLeft(goType, "*")
	switch {
	case goType == "time.Duration":
		return "a duration, such as 10m"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number"
	case strings.HasPrefix(goType, "float"):
		return "a number"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a text"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "a set of keys with values"
}
