// Package softkey is a WebAuthn authenticator in software, together with the browser around it: it
// answers the options of ceremonies as navigator.credentials does. It is for sandboxes and tests. Its
// keys are derived from a seed or drawn at random; they are never keys of real authenticators.
package softkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
)

// The flags of authenticator data (Web Authentication Level 3, 6.1).
const (
	UserPresent    = 0x01
	UserVerified   = 0x04
	BackupEligible = 0x08
	BackedUp       = 0x10
	attested       = 0x40
)

// The types of client data.
const (
	createType = "webauthn.create"
	getType    = "webauthn.get"
)

// A Key is a credential: an id and a key pair on the curve P-256.
type Key struct {
	ID      []byte
	private *ecdsa.PrivateKey
}

// NewKey returns a random key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &Key{id, private}, nil
}

// Derive returns the key of a secret seed, always the same one. Its scalar is made from 48
// bytes of HKDF-SHA-256, so it is not biased (FIPS 186-5, A.2.1).
func Derive(seed [32]byte) (*Key, error) {
	id, err := hkdf.Key(sha256.New, seed[:], nil, "countersign softkey id", 16)
	if err != nil {
		return nil, err
	}
	wide, err := hkdf.Key(sha256.New, seed[:], nil, "countersign softkey P-256", 48)
	if err != nil {
		return nil, err
	}
	one := big.NewInt(1)
	below := new(big.Int).Sub(elliptic.P256().Params().N, one)
	scalar := new(big.Int).SetBytes(wide)
	scalar.Add(scalar.Mod(scalar, below), one)
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil, fmt.Errorf("derive a software key: %w", err)
	}
	return &Key{id, private}, nil
}

// Public returns the public key as a COSE key: EC2, ES256, P-256, x, y.
func (k *Key) Public() ([]byte, error) {
	point, err := k.private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	b := append([]byte("\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20"), point[1:33]...)
	return append(append(b, "\x22\x58\x20"...), point[33:]...), nil
}

// Options are the parts of the options of a ceremony that the authenticator uses.
type Options struct {
	RPID         string
	Challenge    string // base64url, as the client data repeats it
	UserHandle   []byte // only of a creation
	Verification string // "required", "preferred" or "discouraged"
}

// ReadCreation reads the JSON of options for navigator.credentials.create.
func ReadCreation(options []byte) (Options, error) {
	var o struct {
		RP                     struct{ ID string }
		User                   struct{ ID string }
		Challenge              string
		AuthenticatorSelection struct{ UserVerification string }
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return Options{}, fmt.Errorf("read creation options: %w", err)
	}
	handle, err := base64.RawURLEncoding.DecodeString(o.User.ID)
	if err != nil {
		return Options{}, fmt.Errorf("read the user handle of creation options: %w", err)
	}
	return Options{o.RP.ID, o.Challenge, handle, o.AuthenticatorSelection.UserVerification}, nil
}

// ReadRequest reads the JSON of options for navigator.credentials.get.
func ReadRequest(options []byte) (Options, error) {
	var o struct {
		RPID             string
		Challenge        string
		UserVerification string
	}
	if err := json.Unmarshal(options, &o); err != nil {
		return Options{}, fmt.Errorf("read request options: %w", err)
	}
	return Options{RPID: o.RPID, Challenge: o.Challenge, Verification: o.UserVerification}, nil
}

// flags returns the flags of a device-bound authenticator that verifies its user unless the
// options discourage it.
func (o Options) flags() byte {
	if o.Verification == "discouraged" {
		return UserPresent
	}
	return UserPresent | UserVerified
}

// Create answers creation options on a page of origin with the key. The counter is always 0.
func (k *Key) Create(options []byte, origin string) ([]byte, error) {
	o, err := ReadCreation(options)
	if err != nil {
		return nil, err
	}
	return k.NewCreation(o, origin).SignCreation(k)
}

// Get answers request options on a page of origin with the key, which is of the user with that
// handle. The counter is always 0.
func (k *Key) Get(options []byte, origin string, userHandle []byte) ([]byte, error) {
	o, err := ReadRequest(options)
	if err != nil {
		return nil, err
	}
	o.UserHandle = userHandle
	return k.NewRequest(o, origin).SignRequest(k)
}

// An Answer is what the authenticator and the browser are about to sign.
type Answer struct {
	ClientData map[string]any // type, challenge, origin, crossOrigin
	RPID       string
	Flags      byte
	Counter    uint32
	ID         []byte
	KeyID      []byte                        // of a creation: the id in the authenticator data
	UserHandle []byte                        // of a request; nil: not in the answer
	AAGUID     [16]byte                      // of a creation: the model
	Attest     Attest                        // of a creation; nil: without an attestation
	Signature  func(signature []byte) []byte // changes the signature; nil: keeps it
}

// An Attest makes an attestation over authenticator data and the hash of the client data: the name
// of its format, and its statement in CBOR.
type Attest func(signed []byte) (format string, statement []byte, err error)

// SelfAttest makes a packed self attestation: the key itself signs (Web Authentication Level 3, 8.2).
func (k *Key) SelfAttest(signed []byte) (format string, statement []byte, err error) {
	signature, err := Sign(k.private, signed)
	return "packed", PackedStatement(signature), err
}

// Sign signs data with ES256.
func Sign(key *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	return ecdsa.SignASN1(rand.Reader, key, digest[:])
}

// PackedStatement returns the statement of a packed attestation with ES256. Without certificates, it is
// a self attestation.
func PackedStatement(signature []byte, certificates ...[]byte) []byte {
	b := []byte("\xa2\x63alg\x26\x63sig")
	if len(certificates) > 0 {
		b[0]++
	}
	b = appendBytes(b, signature)
	if len(certificates) == 0 {
		return b
	}
	b = append(append(b, "\x63x5c"...), 0x80|byte(len(certificates)))
	for _, c := range certificates {
		b = appendBytes(b, c)
	}
	return b
}

// appendBytes appends a byte string in CBOR.
func appendBytes(b, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, 0x59), uint16(len(value)))
	return append(b, value...)
}

// NewCreation returns the answer to creation options, for a caller that changes it.
func (k *Key) NewCreation(o Options, origin string) *Answer { return k.answer(createType, o, origin) }

// NewRequest returns the answer to request options, for a caller that changes it.
func (k *Key) NewRequest(o Options, origin string) *Answer { return k.answer(getType, o, origin) }

func (k *Key) answer(ceremony string, o Options, origin string) *Answer {
	return &Answer{
		ClientData: map[string]any{"type": ceremony, "challenge": o.Challenge, "origin": origin, "crossOrigin": false},
		RPID:       o.RPID, Flags: o.flags(), ID: k.ID, KeyID: k.ID, UserHandle: o.UserHandle,
	}
}

// SignCreation returns the JSON of the new credential.
func (a *Answer) SignCreation(k *Key) ([]byte, error) {
	public, err := k.Public()
	if err != nil {
		return nil, err
	}
	data := append(a.authenticatorData(attested), a.AAGUID[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.KeyID)))
	data = append(append(data, a.KeyID...), public...)
	client, err := json.Marshal(a.ClientData)
	if err != nil {
		return nil, err
	}
	format, statement := "none", []byte{0xa0}
	if a.Attest != nil {
		hash := sha256.Sum256(client)
		if format, statement, err = a.Attest(append(data[:len(data):len(data)], hash[:]...)); err != nil {
			return nil, err
		}
	}
	// {"fmt": format, "attStmt": statement, "authData": data} in CBOR
	object := append([]byte("\xa3\x63fmt"), 0x60|byte(len(format)))
	object = append(append(object, format...), "\x67attStmt"...)
	object = appendBytes(append(append(object, statement...), "\x68authData"...), data)
	return a.credential(client, map[string]any{"attestationObject": encode(object), "transports": []string{"internal"}})
}

// SignRequest returns the JSON of the credential with a signature.
func (a *Answer) SignRequest(k *Key) ([]byte, error) {
	client, err := json.Marshal(a.ClientData)
	if err != nil {
		return nil, err
	}
	data, hash := a.authenticatorData(0), sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		return nil, err
	}
	if a.Signature != nil {
		signature = a.Signature(signature)
	}
	response := map[string]any{"authenticatorData": encode(data), "signature": encode(signature)}
	if a.UserHandle != nil {
		response["userHandle"] = encode(a.UserHandle)
	}
	return a.credential(client, response)
}

func (a *Answer) authenticatorData(further byte) []byte {
	site := sha256.Sum256([]byte(a.RPID))
	return binary.BigEndian.AppendUint32(append(site[:], a.Flags|further), a.Counter)
}

// credential returns the JSON that PublicKeyCredential.toJSON makes.
func (a *Answer) credential(client []byte, response map[string]any) ([]byte, error) {
	response["clientDataJSON"] = encode(client)
	return json.Marshal(map[string]any{
		"id": encode(a.ID), "rawId": encode(a.ID), "type": "public-key",
		"authenticatorAttachment": "platform", "clientExtensionResults": map[string]any{}, "response": response,
	})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
