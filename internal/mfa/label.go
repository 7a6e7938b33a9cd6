package mfa

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A label has the texts of a factor that people read. They often name a person, so the store gets
// them sealed as one value. No text has control characters.
type label struct {
	of      string // totp: the issuer; webauthn: the relying party id
	account string // totp: the account; webauthn: the name of the user
	name    string // that the caller gave to the factor; or ""
}

func (l label) isEmpty() bool { return l == label{} }

// sealLabel seals a label: the length of the first text, the first two texts and, if there is a
// name, a zero byte and the name. Earlier releases made labels without names.
func (f *Factor) sealLabel(keys *secret.Keyset, l label) (err error) {
	plain := append(binary.AppendUvarint(nil, uint64(len(l.of))), l.of+l.account...)
	if l.name != "" {
		plain = append(append(plain, 0), l.name...)
	}
	if f.Label, err = keys.Seal(plain, f.associatedLabel()); err != nil {
		return fmt.Errorf("seal the label of a factor: %w", err)
	}
	return nil
}

func (f *Factor) openLabel(keys *secret.Keyset) (l label, err error) {
	if f.Label == nil {
		return label{of: f.Old.Issuer, account: f.Old.Account}, nil
	}
	plain, err := keys.Open(f.Label, f.associatedLabel())
	if err != nil {
		return l, fmt.Errorf("open the label of %s: %w", f.ID, err)
	}
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return l, fmt.Errorf("open the label of %s: it is cut short", f.ID)
	}
	text := string(plain[n:])
	l.of = text[:size]
	l.account, l.name, _ = strings.Cut(text[size:], "\x00")
	return l, nil
}

// resealLabel seals the label of a factor again under the newest key; a factor without
// a label stays as it is.
func (f *Factor) resealLabel(keys *secret.Keyset) error {
	l, err := f.openLabel(keys)
	if err != nil || f.Label == nil && l.isEmpty() {
		return err
	}
	return f.sealLabel(keys, l)
}
