package server

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A pair is a certificate and its key in files.
type pair struct{ cert, key string }

func newPair(t *testing.T, dir, name string) pair {
	t.Helper()
	p := pair{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
	if err := MakeCertificate(p.cert, p.key); err != nil {
		t.Fatal(err)
	}
	return p
}

// replace gives a file the content of another and leaves its modification time, as
// 'cp -p' from an immutable store does.
func replace(t *testing.T, name, by string) {
	t.Helper()
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, readFile(t, by), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func load(t *testing.T, p pair, log *slog.Logger) *certificate {
	t.Helper()
	c, err := newCertificate(p.cert, p.key, time.Now, log)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serial(t *testing.T, c *certificate) string {
	t.Helper()
	got, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.Leaf.SerialNumber.String()
}

func TestARenewedCertificateIsPickedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		used, renewed := newPair(t, dir, "used"), newPair(t, dir, "renewed")
		var log bytes.Buffer
		c := load(t, used, slog.New(slog.NewTextHandler(&log, nil)))
		before := serial(t, c)

		replace(t, used.cert, renewed.cert)
		for range 3 {
			time.Sleep(recheckCertificate)
			if serial(t, c) != before {
				t.Fatal("a pair that is half replaced is used")
			}
		}
		if n := strings.Count(log.String(), "the old one stays in use"); n != 1 {
			t.Errorf("a pair that cannot be used is logged %d times; want once:\n%s", n, &log)
		}
		replace(t, used.key, renewed.key)
		if serial(t, c) != before {
			t.Error("the files are read at every handshake")
		}
		time.Sleep(recheckCertificate)
		after := serial(t, c)
		if after == before {
			t.Error("the renewed certificate is not used")
		}

		os.Remove(used.cert)
		time.Sleep(recheckCertificate)
		if serial(t, c) != after {
			t.Error("a missing file takes a good certificate away")
		}
	})
}

// TestACertificateBehindASymbolicLinkIsPickedUp swaps the directory that a link names,
// as Kubernetes does for a mounted secret. All files have one modification time.
func TestACertificateBehindASymbolicLinkIsPickedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		epoch := time.Unix(1, 0)
		for _, name := range []string{"1", "2"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			p := newPair(t, filepath.Join(dir, name), "tls")
			if err := errors.Join(os.Chtimes(p.cert, epoch, epoch), os.Chtimes(p.key, epoch, epoch)); err != nil {
				t.Fatal(err)
			}
		}
		data := filepath.Join(dir, "data")
		if err := errors.Join(os.Symlink("1", data), os.Symlink("2", data+".new")); err != nil {
			t.Fatal(err)
		}
		c := load(t, pair{filepath.Join(data, "tls.crt"), filepath.Join(data, "tls.key")}, slog.New(slog.DiscardHandler))
		before := serial(t, c)
		if err := os.Rename(data+".new", data); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheckCertificate)
		if serial(t, c) == before {
			t.Error("the renewed certificate is not used")
		}
	})
}

// TestRenewedKeyFileIsLoaded writes the key of the same certificate in another
// form.
func TestRenewedKeyFileIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, t.TempDir(), "used")
		c := load(t, p, slog.New(slog.DiscardHandler))
		first := c.current.Load()
		again := append([]byte("# a comment\n"), readFile(t, p.key)...)
		if err := os.WriteFile(p.key, again, 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recheckCertificate)
		serial(t, c)
		if c.current.Load() == first {
			t.Error("the new key file was not read")
		}
	})
}

func TestACertificateThatIsNotThereIsAnError(t *testing.T) {
	if _, err := newCertificate(filepath.Join(t.TempDir(), "no.crt"), "no.key", time.Now, slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("newCertificate = %v; want fs.ErrNotExist", err)
	}
}

func TestAMadeCertificateIsKeptUntilItsEndIsNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, t.TempDir(), "dev")
		c := func() string {
			return serial(t, load(t, p, slog.New(slog.DiscardHandler)))
		}
		first := c()
		for _, tc := range []struct {
			name  string
			after time.Duration
			same  bool
		}{
			{"at once", 0, true},
			{"after eleven months", 330 * 24 * time.Hour, true},
			{"a week before its end", 29 * 24 * time.Hour, false},
		} {
			time.Sleep(tc.after)
			if err := MakeCertificate(p.cert, p.key); err != nil {
				t.Fatal(err)
			}
			if (c() == first) != tc.same {
				t.Errorf("%s: same %t; want %t", tc.name, !tc.same, tc.same)
			}
		}
	})
}

func TestAMadeCertificateIsForThisMachine(t *testing.T) {
	p := newPair(t, t.TempDir(), "dev")
	got := load(t, p, slog.New(slog.DiscardHandler)).current.Load()
	pool := x509.NewCertPool()
	pool.AddCert(got.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := got.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if info, err := os.Stat(p.key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v (%v); want 0600", info.Mode(), err)
	}
}
