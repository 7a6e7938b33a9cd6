// Package logcapture collects the logs of servers under test and the secrets that
// passed through them. After the whole suite, one search shows that no log holds
// a secret. Only tests import it.
//
// Both go to the directory that COUNTERSIGN_TEST_LOGS names, which scripts/test
// sets and internal/tools/logcheck searches. Without it nothing is kept.
package logcapture

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Env names the environment variable that holds the directory.
const Env = "COUNTERSIGN_TEST_LOGS"

// MinSecret is the length in bytes of the shortest secret that can be searched
// for: anything shorter would be found by chance.
const MinSecret = 6

// Log returns where a server under test writes its log: a new file named after
// name, or nowhere if no directory is set. The file is an *os.File, and a child
// process can write to it directly. It stays open until the process ends, because
// a server may log after its test has ended.
func Log(t testing.TB, name string) io.Writer {
	t.Helper()
	dir := os.Getenv(Env)
	if dir == "" {
		return io.Discard
	}
	f, err := os.CreateTemp(dir, clean(name)+"-*.log")
	if err != nil {
		t.Fatalf("logcapture: %v", err)
	}
	return f
}

// Secret records values that no log may hold: codes, keys, TOTP secrets, phone
// numbers. Empty values are ignored; one that is shorter than MinSecret or spans
// lines fails the test. It may be called from many goroutines and processes.
func Secret(t testing.TB, values ...string) {
	t.Helper()
	dir := os.Getenv(Env)
	var lines strings.Builder
	for _, v := range values {
		switch {
		case v == "":
			continue
		case len(v) < MinSecret, strings.ContainsAny(v, "\r\n"):
			t.Errorf("logcapture: a secret of %d bytes cannot be searched for: it must have at least %d and be one line", len(v), MinSecret)
			continue
		}
		lines.WriteString(v + "\n")
	}
	if dir == "" || lines.Len() == 0 {
		return
	}
	if err := appendTo(filepath.Join(dir, fmt.Sprintf("%d.secrets", os.Getpid())), lines.String()); err != nil {
		t.Errorf("logcapture: %v", err)
	}
}

// appendTo writes text in one call, which O_APPEND keeps apart from others.
func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// clean keeps of a name, which may be that of a test, what a file name can hold.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, name)
}
