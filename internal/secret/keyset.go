package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac/hmac"
	"github.com/tink-crypto/tink-go/v2/prf/hmacprf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrOpen says that a sealed value is damaged, belongs to other associated
	// data, or was sealed under a key that the keyset does not hold.
	ErrOpen = errors.New("sealed value does not open")
	// ErrMalformed says that data is not a keyset. It gives no detail, for the
	// detail would quote key material.
	ErrMalformed = errors.New("malformed keyset")
)

// A Keyset holds the keys of an installation: seal keys for stored values
// (AES-256-GCM, each value under a derived key, X-AES-GCM), MAC keys that
// authenticate codes (HMAC-SHA-256, tags of 128 bits), signing keys for receipts (ES256) and
// one index key for rows that are found by a keyed hash (HMAC-SHA-256). All but the index key are
// ordered. The primary key makes all new values; older keys read old values, and newer keys
// wait to become primary: see Add.
//
// NewKeyset, ParseKeyset and LoadKeyset return a Keyset; the zero value is not
// usable. It never changes and is safe for concurrent use. It prints as
// [redacted].
type Keyset struct {
	redacted
	keys func() *keys // a closure for the reason given at Bytes
}

// keys are the keys of a Keyset in the order in which they were added, and their
// primitives, made once because making one searches a registry.
type keys struct {
	seal, mac, sign, index *keyset.Handle

	aead    tink.AEAD
	primary []byte // begins every value sealed under the primary key
	taggers []*tagger
	tagger  *tagger // of the primary key
	signer  Signer  // of the primary key
	public  []PublicKey
	indexer *hashes
}

// NewKeyset returns a Keyset of fresh keys.
func NewKeyset() (*Keyset, error) {
	seal, err := freshKey(sealing())
	if err != nil {
		return nil, err
	}
	mac, err := freshKey(authenticating())
	if err != nil {
		return nil, err
	}
	sign, err := freshKey(signing())
	if err != nil {
		return nil, err
	}
	index, err := freshKey(indexing())
	if err != nil {
		return nil, err
	}
	return assemble(seal, mac, sign, index)
}

// freshKey returns a single random key of the given kind.
func freshKey(kind key.Parameters, err error) (*keyset.Handle, error) {
	if err != nil {
		return nil, fmt.Errorf("describe key: %w", err)
	}
	m := keyset.NewManager()
	id, err := m.AddNewKeyFromParameters(kind)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return m.Handle()
}

// saltSize is the number of bytes of salt that, with a nonce of 12 bytes, derive the
// key of one sealed value from a key of the keyset.
const saltSize = 8

func sealing() (key.Parameters, error) {
	return xaesgcm.NewParameters(xaesgcm.VariantTink, saltSize)
}

func authenticating() (key.Parameters, error) {
	return hmac.NewParameters(hmac.ParametersOpts{
		KeySizeInBytes: 32,
		TagSizeInBytes: tagSize,
		HashType:       hmac.SHA256,
		Variant:        hmac.VariantTink,
	})
}

func indexing() (key.Parameters, error) {
	return hmacprf.NewParameters(32, hmacprf.SHA256)
}

// assemble makes the primitives of a Keyset. Without sign, it derives the signing key.
func assemble(seal, macs, sign, index *keyset.Handle) (*Keyset, error) {
	k := &keys{seal: seal, mac: macs, sign: sign, index: index}
	primary, err := seal.Primary()
	if err != nil {
		return nil, fmt.Errorf("find primary key: %w", err)
	}
	k.primary = primary.Key().(*xaesgcm.Key).OutputPrefix()
	if k.aead, err = aead.New(seal); err != nil {
		return nil, fmt.Errorf("use seal keys: %w", err)
	}
	if k.taggers, k.tagger, err = taggers(macs); err != nil {
		return nil, fmt.Errorf("use MAC keys: %w", err)
	}
	if k.indexer, err = indexer(index); err != nil {
		return nil, fmt.Errorf("use index key: %w", err)
	}
	if sign == nil {
		if k.sign, err = derivedKey(k.indexer); err != nil {
			return nil, err
		}
	}
	if k.signer, k.public, err = signers(k.sign); err != nil {
		return nil, fmt.Errorf("use signing keys: %w", err)
	}
	return &Keyset{keys: func() *keys { return k }}, nil
}

// keysetJSON is the written form of a Keyset: each part is a cleartext Tink
// keyset in Tink's own JSON.
type keysetJSON struct {
	Format string          `json:"format"`
	Seal   json.RawMessage `json:"seal"`
	MAC    json.RawMessage `json:"mac"`
	Sign   json.RawMessage `json:"sign,omitempty"` // missing in a keyset of an older release
	Index  json.RawMessage `json:"index"`
}

const format = "countersign-keyset-1"

// ParseKeyset reads what Marshal wrote, or its base64. It returns ErrMalformed
// for anything else, a keyset of weaker or other keys included.
func ParseKeyset(data []byte) (*Keyset, error) {
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("{")) {
		decoded, err := base64.StdEncoding.AppendDecode(nil, data)
		if err != nil {
			return nil, ErrMalformed
		}
		data = decoded
	}
	var parts keysetJSON
	if err := json.Unmarshal(data, &parts); err != nil || parts.Format != format {
		return nil, ErrMalformed
	}
	seal, err := parseKeys(parts.Seal, sealing)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	mac, err := parseKeys(parts.MAC, authenticating)
	if err != nil {
		return nil, fmt.Errorf("MAC keys: %w", err)
	}
	index, err := parseKeys(parts.Index, indexing)
	if err != nil {
		return nil, fmt.Errorf("index key: %w", err)
	}
	if index.Len() != 1 {
		return nil, fmt.Errorf("index key: %w", ErrMalformed)
	}
	var sign *keyset.Handle
	if parts.Sign != nil {
		if sign, err = parseKeys(parts.Sign, signing); err != nil {
			return nil, fmt.Errorf("signing keys: %w", err)
		}
	}
	return assemble(seal, mac, sign, index)
}

// parseKeys reads one Tink keyset, all of whose keys are enabled and of one kind.
func parseKeys(data []byte, kind func() (key.Parameters, error)) (*keyset.Handle, error) {
	want, err := kind()
	if err != nil {
		return nil, err
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, ErrMalformed
	}
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil || e.KeyStatus() != keyset.Enabled || !e.Key().Parameters().Equal(want) {
			return nil, ErrMalformed
		}
	}
	return h, nil
}

// Marshal returns the keyset in plain text, as one line of JSON: for a file of mode
// 0600, or for a KMS to wrap. With it, every stored value can be opened.
func (k *Keyset) Marshal() ([]byte, error) {
	parts := keysetJSON{Format: format}
	var err error
	if parts.Seal, err = marshalKeys(k.keys().seal); err != nil {
		return nil, err
	}
	if parts.MAC, err = marshalKeys(k.keys().mac); err != nil {
		return nil, err
	}
	if parts.Sign, err = marshalKeys(k.keys().sign); err != nil {
		return nil, err
	}
	if parts.Index, err = marshalKeys(k.keys().index); err != nil {
		return nil, err
	}
	return json.Marshal(parts)
}

func marshalKeys(h *keyset.Handle) (json.RawMessage, error) {
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return nil, fmt.Errorf("write keys: %w", err)
	}
	return buf.Bytes(), nil
}

// Seal encrypts and authenticates plain under a key derived from the primary key
// and a random salt, and binds it to associated, which it does not hold: a sealed
// value opens only where it belongs. Plain AES-GCM would bound a key to 2^32 seals
// (NIST SP 800-38D, section 8.3), which busy installations reach in days; with the
// salt 2^48 are far from any harm.
func (k *Keyset) Seal(plain, associated []byte) ([]byte, error) {
	sealed, err := k.keys().aead.Encrypt(plain, associated)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open returns what Seal was given, under any key of the keyset, or ErrOpen.
func (k *Keyset) Open(sealed, associated []byte) ([]byte, error) {
	plain, err := k.keys().aead.Decrypt(sealed, associated)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Stale reports whether sealed was not made under the primary key, and should be
// opened and sealed again.
func (k *Keyset) Stale(sealed []byte) bool {
	return !bytes.HasPrefix(sealed, k.keys().primary)
}

// Rotating reports whether the keyset holds more than one seal key. Stored values
// may then be stale.
func (k *Keyset) Rotating() bool { return k.keys().seal.Len() > 1 }

// MAC returns a tag that authenticates message under the primary key.
func (k *Keyset) MAC(message []byte) []byte { return k.keys().tagger.tag(message) }

// VerifyMAC reports, in constant time, whether tag is a MAC of message under any
// key of the keyset.
func (k *Keyset) VerifyMAC(tag, message []byte) bool {
	for _, t := range k.keys().taggers {
		if t.verify(tag, message) {
			return true
		}
	}
	return false
}

// Index returns the keyed hash by which message can be looked up without being
// stored. It stays the same for the life of the installation: see Add.
func (k *Keyset) Index(message []byte) (sum [32]byte) {
	k.keys().indexer.append(sum[:0], message)
	return sum
}
