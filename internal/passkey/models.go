package passkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/metadata/providers/memory"
	"github.com/go-webauthn/webauthn/protocol"
)

// Models are the models of authenticators that the FIDO Metadata Service describes, with the
// certificates that prove them and the reports about their security.
type Models struct {
	Number     int       // of models
	Unreadable int       // entries that were left out
	NextUpdate time.Time // the day on which a newer list is due at latest

	provider metadata.Provider
}

// mdsSigner is the name of the signer of the list. Its root certificate also signs other
// certificates, so the name must be checked.
const mdsSigner = "mds.fidoalliance.org"

// ReadModels reads a metadata BLOB (FIDO Metadata Service 3, section 3.2) and checks that the
// FIDO Alliance has signed it.
func ReadModels(blob []byte, now time.Time) (*Models, error) {
	der, err := base64.StdEncoding.DecodeString(metadata.ProductionMDSRoot)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return ReadModelsUnder(root, blob, now)
}

// ReadModelsUnder is ReadModels with another root certificate, for tests.
func ReadModelsUnder(root *x509.Certificate, blob []byte, now time.Time) (*Models, error) {
	parts := strings.Split(string(bytes.TrimSpace(blob)), ".")
	if len(parts) != 3 {
		return nil, errors.New("it is not a metadata BLOB of the FIDO Alliance: it does not have three parts")
	}
	var header struct {
		Algorithm string   `json:"alg"`
		Chain     [][]byte `json:"x5c"`
	}
	if err := readPart(parts[0], &header); err != nil {
		return nil, fmt.Errorf("read the header of the metadata BLOB: %w", err)
	}
	var payload struct {
		NextUpdate string            `json:"nextUpdate"`
		Entries    []json.RawMessage `json:"entries"`
	}
	if err := readPart(parts[1], &payload); err != nil {
		return nil, fmt.Errorf("read the metadata BLOB: %w", err)
	}
	next, err := time.Parse(time.DateOnly, payload.NextUpdate)
	if err != nil {
		return nil, fmt.Errorf("read the metadata BLOB: its next update: %w", err)
	}
	// The certificates of an old list may have expired since. A restart must not fail for that.
	if next.Before(now) {
		now = next
	}
	signer, err := signerOf(root, header.Chain, now)
	if err != nil {
		return nil, fmt.Errorf("the signer of the metadata BLOB: %w", err)
	}
	if err := checkSignature(signer, header.Algorithm, parts); err != nil {
		return nil, fmt.Errorf("the signature of the metadata BLOB: %w", err)
	}
	all := &metadata.Metadata{}
	m := &Models{NextUpdate: next}
	for _, raw := range payload.Entries {
		var entry metadata.EntryJSON
		err := json.Unmarshal(raw, &entry)
		if err == nil {
			var parsed metadata.Entry
			if parsed, err = entry.Parse(); err == nil {
				all.Parsed.Entries = append(all.Parsed.Entries, parsed)
			}
		}
		if err != nil {
			m.Unreadable++
		}
	}
	if m.Number = len(all.Parsed.Entries); m.Number == 0 {
		return nil, errors.New("the metadata BLOB has no model that can be read")
	}
	m.provider, err = memory.New(memory.WithMetadata(all.ToMap()),
		memory.WithMetadataKeyIdentifiers(all.ToKeyIdentifierMap()), memory.WithValidateEntryKeyIdentifier(true))
	return m, err
}

func readPart(part string, into any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// signerOf returns the first certificate of a chain, if the chain leads to root and the certificate
// is that of the FIDO Alliance. It does not ask for revocations: the file and the server have no network.
func signerOf(root *x509.Certificate, chain [][]byte, now time.Time) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("the header has no certificates")
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, DNSName: mdsSigner,
	}
	options.Roots.AddCert(root)
	var signer *x509.Certificate
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			signer = c
			continue
		}
		options.Intermediates.AddCert(c)
	}
	_, err := signer.Verify(options)
	return signer, err
}

// checkSignature checks the signature of a JSON Web Signature with the algorithms that the FIDO
// Alliance uses.
func checkSignature(signer *x509.Certificate, algorithm string, parts []string) error {
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	switch key := signer.PublicKey.(type) {
	case *rsa.PublicKey:
		if algorithm == "RS256" {
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
		}
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || len(signature) != 64 {
			break
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if ecdsa.Verify(key, digest[:], r, s) {
			return nil
		}
		return errors.New("it is wrong")
	}
	return fmt.Errorf("the algorithm %q is not RS256 or ES256, or not that of the key", algorithm)
}

// ParseAAGUID reads the id of a model, such as "ee882879-721c-4913-9775-3dfcce97072a".
func ParseAAGUID(text string) (id [16]byte, err error) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, errAAGUID
	}
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != len(id) {
		return id, errAAGUID
	}
	return [16]byte(b), nil
}

var errAAGUID = errors.New("it is not an AAGUID")

// proves reports whether an attestation that the library has accepted proves the model: a
// certificate of the manufacturer has signed it. With self attestation, every program can claim every model.
func proves(object *protocol.AttestationObject) bool {
	switch metadata.AuthenticatorAttestationType(object.Type) {
	case metadata.BasicFull, metadata.AttCA, metadata.AnonCA:
		return true
	}
	return false
}

// checkModel refuses a new credential of an authenticator that the site does not accept.
func (p *RelyingParty) checkModel(c *Credential, object *protocol.AttestationObject) error {
	if p.cfg.Attestation && !proves(object) {
		return &RefusedError{WrongAttestation, "its attestation does not prove a model"}
	}
	if len(p.cfg.AAGUIDs) > 0 && !slices.Contains(p.cfg.AAGUIDs, c.AAGUID) {
		return &RefusedError{ModelNotAllowed, "its model is not on the list of the site"}
	}
	return nil
}
