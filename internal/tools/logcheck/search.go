package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A finding is a line of a log that holds a secret, or a name with another type than in
// an earlier line, and which it is. It does not hold the secret.
type finding struct {
	file string
	line int
	kind string
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.kind)
}

// extent is how much was searched.
type extent struct{ files, lines int }

// searchLogs searches every *.log of dir, in the order of names and lines.
func searchLogs(dir string, s secrets) ([]finding, extent, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, extent{}, err
	}
	var found []finding
	var read extent
	types := types{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, extent{}, err
		}
		read.files++
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if kind := s.search(line); kind != "" {
				found = append(found, finding{filepath.Base(name), n, kind})
			}
			for _, conflict := range types.add(line, fmt.Sprintf("%s:%d", filepath.Base(name), n)) {
				found = append(found, finding{filepath.Base(name), n, conflict})
			}
		}
		read.lines += n
	}
	return found, read, nil
}

// shapes are patterns that no log may hold, including secrets unknown to any test.
var shapes = []struct {
	kind    string
	literal string // part of every match of pattern; found faster
	pattern *regexp.Regexp
}{
	{"an operator key", "ok_", regexp.MustCompile(`\bok_[A-Z2-7]{26}`)},
	{"an API key", "sk_", regexp.MustCompile(`sk_(test|live)_[A-Za-z0-9]{8,}`)},
	{"an otpauth URI", "otpauth:", regexp.MustCompile(`otpauth://`)},
	{"a QR code", "data:image/", regexp.MustCompile(`data:image/png;base64`)},
	{"a full phone number", "+", regexp.MustCompile(`\+[1-9][0-9]{9,14}`)},
	{"a full phone number in a URL", "%2", regexp.MustCompile(`%2[Bb][1-9][0-9]{9,14}`)},
}

// search returns the kind of the first secret in line, or "" if it holds none.
func (s secrets) search(line []byte) string {
	for _, shape := range shapes {
		if bytes.Contains(line, []byte(shape.literal)) && shape.pattern.Match(line) {
			return shape.kind
		}
	}
	for at := range line {
		if word, ok := s.codeAt(line, at); ok && s.codes[word] {
			return "a code that a test has seen"
		}
		if len(line)-at < prefixLen {
			continue
		}
		for _, secret := range s.texts[string(line[at:at+prefixLen])] {
			if bytes.HasPrefix(line[at:], []byte(secret)) {
				return "a secret that a test has seen"
			}
		}
	}
	return ""
}

// prefixLen is how many bytes of a secret choose those to compare in full.
const prefixLen = 6

// secrets are what tests have seen.
type secrets struct {
	codes map[string]bool     // six digits: found as whole words only
	texts map[string][]string // found anywhere; by their first prefixLen bytes
	count int
}

func (s secrets) len() int { return s.count }

// readSecrets reads every *.secrets of dir.
func readSecrets(dir string) (secrets, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.secrets"))
	if err != nil {
		return secrets{}, err
	}
	var values []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return secrets{}, err
		}
		values = append(values, strings.Split(string(text), "\n")...)
	}
	return newSecrets(values)
}

// newSecrets returns values, without empty ones and repetitions, for searching.
func newSecrets(values []string) (secrets, error) {
	slices.Sort(values)
	values = slices.Compact(values)
	s := secrets{codes: map[string]bool{}, texts: map[string][]string{}}
	for _, v := range values {
		switch {
		case v == "":
			continue
		case len(v) < prefixLen:
			return secrets{}, fmt.Errorf("a recorded secret has %d bytes; shorter than %d would be found by chance", len(v), prefixLen)
		case len(v) == codeLen && strings.Trim(v, "0123456789") == "":
			s.codes[v] = true
		default:
			s.texts[v[:prefixLen]] = append(s.texts[v[:prefixLen]], v)
		}
		s.count++
	}
	return s, nil
}

const codeLen = 6

// quantities are the names of attributes whose value is a measured number. Six digits there
// equal the code of a test by chance.
var quantities = []string{"bytes", "limit", "of", "took_ms"}

// isQuantity reports whether before ends with the name of a quantity and its separator, as
// the handlers for text and for JSON of log/slog write them.
func isQuantity(before []byte) bool {
	for _, name := range quantities {
		for _, end := range []string{" " + name + "=", `"` + name + `":`} {
			if bytes.HasSuffix(before, []byte(end)) {
				return true
			}
		}
	}
	return false
}

// codeAt returns the code that starts at line[at], if six separate digits are
// there: not inside a longer run of letters and digits, not part of a number
// with a fraction, such as a time or a duration, and not the value of a quantity.
func (s secrets) codeAt(line []byte, at int) (string, bool) {
	end := at + codeLen
	if end > len(line) || len(s.codes) == 0 {
		return "", false
	}
	for _, c := range line[at:end] {
		if !digit(c) {
			return "", false
		}
	}
	if before := line[:at]; len(before) > 0 {
		last := before[len(before)-1]
		if digit(last) || letter(last) {
			return "", false
		}
		if last == '.' && len(before) > 1 && digit(before[len(before)-2]) {
			return "", false
		}
	}
	if after := line[end:]; len(after) > 0 {
		if digit(after[0]) || letter(after[0]) {
			return "", false
		}
		if after[0] == '.' && len(after) > 1 && digit(after[1]) {
			return "", false
		}
	}
	if isQuantity(line[:at]) {
		return "", false
	}
	return string(line[at:end]), true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
