package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/softkey"
)

// An Issuer is a certificate with its key. It signs other certificates, attestations and lists.
type Issuer struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewRoot returns a root certificate.
func NewRoot(t testing.TB) *Issuer {
	t.Helper()
	return issue(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
}

// aaguidExtension is id-fido-gen-ce-aaguid.
var aaguidExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}

// Manufacture returns the certificate that authenticators of a model sign attestations with.
func (i *Issuer) Manufacture(t testing.TB, aaguid [16]byte) *Issuer {
	t.Helper()
	value, err := asn1.Marshal(aaguid[:])
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, i, &x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"SE"}, Organization: []string{"Test Keys"}, OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "Test Key",
		},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{{Id: aaguidExtension, Value: value}},
	})
}

// Host returns a certificate for a host, as the signer of a list has one.
func (i *Issuer) Host(t testing.TB, name string) *Issuer {
	t.Helper()
	return issue(t, i, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, BasicConstraintsValid: true})
}

func issue(t testing.TB, by *Issuer, c *x509.Certificate) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-72*time.Hour), time.Now().Add(24*time.Hour)
	if by == nil {
		by = &Issuer{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.Certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{made, key}
}

// Attest makes packed attestations. It is a softkey.Attest.
func (i *Issuer) Attest(signed []byte) (format string, statement []byte, err error) {
	signature, err := softkey.Sign(i.key, signed)
	return "packed", softkey.PackedStatement(signature, i.Certificate.Raw), err
}

// A Model is an entry of a list of models.
type Model struct {
	AAGUID string
	Root   *Issuer  // of its attestations
	Types  []string // of its attestations; default basic_full
	Status string   // default FIDO_CERTIFIED
}

// List returns a metadata BLOB that i signs. chain are the certificates after that of i.
func (i *Issuer) List(t testing.TB, next time.Time, models []Model, chain ...*Issuer) []byte {
	t.Helper()
	var entries []map[string]any
	for _, m := range models {
		if m.Types == nil {
			m.Types = []string{"basic_full"}
		}
		if m.Status == "" {
			m.Status = "FIDO_CERTIFIED"
		}
		entries = append(entries, map[string]any{
			"aaguid": m.AAGUID,
			"metadataStatement": map[string]any{
				"aaguid": m.AAGUID, "description": "Test Key", "protocolFamily": "fido2", "schema": 3, "attestationTypes": m.Types,
				"attestationRootCertificates": []string{base64.StdEncoding.EncodeToString(m.Root.Certificate.Raw)},
			},
			"statusReports":          []map[string]any{{"status": m.Status, "effectiveDate": "2026-01-01"}},
			"timeOfLastStatusChange": "2026-01-01",
		})
	}
	x5c := []string{base64.StdEncoding.EncodeToString(i.Certificate.Raw)}
	for _, c := range chain {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Certificate.Raw))
	}
	signed := part(t, map[string]any{"alg": "ES256", "typ": "JWT", "x5c": x5c}) + "." +
		part(t, map[string]any{"no": 1, "nextUpdate": next.Format(time.DateOnly), "entries": entries})
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return fmt.Appendf(nil, "%s.%s\n", signed, base64.RawURLEncoding.EncodeToString(signature))
}

func part(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// SelfAttested makes an answer with a packed self attestation.
func (p *Passkey) SelfAttested(t testing.TB, options []byte, origin string, aaguid [16]byte) []byte {
	t.Helper()
	o, err := softkey.ReadCreation(options)
	if err != nil {
		t.Fatal(err)
	}
	a := p.complete(p.key.NewCreation(o, origin), nil)
	a.AAGUID, a.Attest = aaguid, p.key.SelfAttest
	response, err := a.SignCreation(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return response
}
