package server

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
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

// replace gives a file the content of another, at a time of the bubble's clock:
// only a change of its time tells that a file was replaced.
func replace(t *testing.T, name, by string) {
	t.Helper()
	text, err := os.ReadFile(by)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
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
		c := &certificate{certFile: used.cert, keyFile: used.key, log: slog.New(slog.DiscardHandler)}
		before := serial(t, c)

		time.Sleep(recheckCertificate)
		replace(t, used.cert, renewed.cert)
		if serial(t, c) != before {
			t.Error("files that are half replaced are used")
		}
		time.Sleep(recheckCertificate)
		if serial(t, c) != before {
			t.Error("files that are half replaced are used")
		}
		replace(t, used.key, renewed.key)
		if serial(t, c) != before {
			t.Error("the files are read at every handshake")
		}
		time.Sleep(recheckCertificate)
		if serial(t, c) == before {
			t.Error("the renewed certificate is not used")
		}

		after := serial(t, c)
		os.Remove(used.cert)
		time.Sleep(recheckCertificate)
		if serial(t, c) != after {
			t.Error("a file that is gone takes a good certificate away")
		}
	})
}

func TestACertificateThatIsNotThereIsAnError(t *testing.T) {
	c := &certificate{certFile: filepath.Join(t.TempDir(), "no.crt"), keyFile: "no.key", log: slog.New(slog.DiscardHandler)}
	if _, err := c.get(nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get = %v; want fs.ErrNotExist", err)
	}
}

func TestAMadeCertificateIsKeptUntilItsEndIsNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, t.TempDir(), "dev")
		c := func() string {
			return serial(t, &certificate{certFile: p.cert, keyFile: p.key, log: slog.New(slog.DiscardHandler)})
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
	got, err := (&certificate{certFile: p.cert, keyFile: p.key, log: slog.New(slog.DiscardHandler)}).get(nil)
	if err != nil {
		t.Fatal(err)
	}
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
