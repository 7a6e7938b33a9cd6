package secret

import (
	"crypto"
	stdecdsa "crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/signature/ecdsa"
)

// signing describes the keys that sign receipts: ECDSA on P-256 with SHA-256, which JOSE
// calls ES256. Tink keeps the keys; it does not sign, because its signatures are random.
func signing() (key.Parameters, error) {
	return ecdsa.NewParameters(ecdsa.NistP256, ecdsa.SHA256, ecdsa.IEEEP1363, ecdsa.VariantTink)
}

// A PublicKey verifies signatures of a Keyset.
type PublicKey struct {
	ID   string // the ID of its KeyInfo
	X, Y [32]byte
}

// A Signer signs under the primary key of a Keyset.
type Signer struct {
	id   string
	sign func(digest []byte) ([]byte, error) // a closure for the reason given at Bytes
}

// Signer returns the signer of the primary key.
func (k *Keyset) Signer() Signer { return k.keys().signer }

// ID returns the id of the key.
func (s Signer) ID() string { return s.id }

// Sign returns the ES256 signature of message, in the form of RFC 7518, section 3.4. It is
// deterministic (RFC 6979): equal messages have equal signatures.
func (s Signer) Sign(message []byte) (signature [64]byte, err error) {
	digest := sha256.Sum256(message)
	der, err := s.sign(digest[:])
	if err != nil {
		return signature, fmt.Errorf("sign: %w", err)
	}
	var parts struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
		return signature, errors.New("sign: the signature is not well formed")
	}
	parts.R.FillBytes(signature[:32])
	parts.S.FillBytes(signature[32:])
	return signature, nil
}

// PublicKeys returns the keys that verify signatures of the keyset, in the order in which
// they were added: also a key that waits to be promoted, so verifiers know it before it is used.
func (k *Keyset) PublicKeys() []PublicKey { return k.keys().public }

// signers returns the signer of the primary key of a handle, and all public keys.
func signers(h *keyset.Handle) (primary Signer, public []PublicKey, err error) {
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return primary, nil, err
		}
		key, ok := e.Key().(*ecdsa.PrivateKey)
		if !ok {
			return primary, nil, fmt.Errorf("a key of type %T", e.Key())
		}
		private, err := stdecdsa.ParseRawPrivateKey(elliptic.P256(), key.PrivateKeyValue().Data(insecuresecretdataaccess.Token{}))
		if err != nil {
			return primary, nil, err
		}
		point, err := private.PublicKey.Bytes() // 4, X, Y
		if err != nil {
			return primary, nil, err
		}
		one := PublicKey{ID: keyID(h, i), X: [32]byte(point[1:33]), Y: [32]byte(point[33:])}
		if public = append(public, one); e.IsPrimary() {
			primary = Signer{one.ID, func(digest []byte) ([]byte, error) { return private.Sign(nil, digest, crypto.SHA256) }}
		}
	}
	return primary, public, nil
}

// derivedKey returns the signing key of a keyset that an older release created without one.
// It follows from the index key, which never changes: all nodes have the same key without a
// change of their files. The first rotation adds a random key, and its end removes this one.
func derivedKey(indexes *hashes) (*keyset.Handle, error) {
	kind, err := signing()
	if err != nil {
		return nil, err
	}
	var scalar []byte
	var private *stdecdsa.PrivateKey
	for n := range byte(255) { // a hash is greater than the order of the curve once in 2^32
		scalar = indexes.append(nil, append([]byte("receipt-signing-key/"), n))
		if private, err = stdecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("derive the signing key: %w", err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(point)
	id := binary.BigEndian.Uint32(sum[:]) | 1 // Tink refuses the id 0
	one, err := ecdsa.NewPrivateKey(secretdata.NewBytesFromData(scalar, insecuresecretdataaccess.Token{}), id, kind.(*ecdsa.Parameters))
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	if _, err := m.AddKey(one); err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	return m.Handle()
}
