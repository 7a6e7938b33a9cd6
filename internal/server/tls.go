package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A certificate is read from its files again when their contents have changed, so a
// renewed one needs no restart. The times of the files do not matter: copies and
// symbolic links often keep an old one. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held while the files are read
	checked time.Time
	now     func() time.Time
	digest  [sha256.Size]byte // of the contents in use
	problem string            // that was logged last
}

// recheckCertificate is the least time between two looks at the files.
const recheckCertificate = 5 * time.Second

// newCertificate reads a certificate and its key from two PEM files.
func newCertificate(certFile, keyFile string, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now, checked: now()}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("load the TLS certificate: %w", err)
	}
	return c, nil
}

// get returns the certificate; see tls.Config.GetCertificate. One handshake at a time
// looks at the files, and the others do not wait for it.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if now := c.now(); now.Sub(c.checked) >= recheckCertificate {
			c.checked = now
			c.refresh()
		}
	}
	return c.current.Load(), nil
}

// refresh reads the files. A pair that cannot be used, such as one that is half
// replaced, is logged once and leaves the current certificate in use.
func (c *certificate) refresh() {
	err := c.read()
	switch {
	case err == nil:
		c.problem = ""
	case err.Error() != c.problem:
		c.problem = err.Error()
		c.log.Warn("load the renewed TLS certificate; the old one stays in use", "error", err)
	}
}

// read makes the contents of the files current, if they differ from those read before.
func (c *certificate) read() error {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return err
	}
	certDigest, keyDigest := sha256.Sum256(cert), sha256.Sum256(key)
	digest := sha256.Sum256(append(certDigest[:], keyDigest[:]...))
	if digest == c.digest {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.digest = digest
	if c.current.Swap(&pair) != nil {
		c.log.Info("loaded the renewed TLS certificate", "not_after", pair.Leaf.NotAfter.UTC())
	}
	return nil
}

// MakeCertificate writes a self-signed certificate for this machine, good for a
// year, unless both files are there and not near their end.
func MakeCertificate(certFile, keyFile string) error {
	now := wallclock.Or(nil)()
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && pair.Leaf.NotAfter.Sub(now) > 7*24*time.Hour {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Countersign development"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // clients can then trust the file itself
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(keyFile, "PRIVATE KEY", der, 0o600), writePEM(certFile, "CERTIFICATE", cert, 0o644))
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return atomicfile.Replace(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
