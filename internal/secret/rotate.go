package secret

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

var (
	// ErrKeyWaiting says that a key added earlier waits to be promoted.
	ErrKeyWaiting = errors.New("a new key already waits to be promoted")
	// ErrNoKeyWaiting says that there is no key to promote.
	ErrNoKeyWaiting = errors.New("no new key waits to be promoted")
	// ErrNoOldKey says that there is no key to retire.
	ErrNoOldKey = errors.New("no key is older than the primary")
)

// Add returns a keyset with one more seal key, MAC key and signing key, which read but do
// not yet write. It is the first of three steps that replace the keys of many nodes
// without a pause; each step is given to every node before the next begins:
//
//  1. Add: every node learns to open values sealed under the new keys, and shows the new
//     signing key to verifiers of receipts.
//  2. Promote: nodes begin to write under the new keys, one after the other. The
//     old keys still open values; a background task seals Stale values again.
//  3. Retire: once nothing is stale and the last MAC and receipt of the old keys have expired,
//     the old keys go. This cannot be undone.
//
// The index key never changes: the store holds only hashes under it. They cannot be
// computed again under another key, and no row would be found.
//
// Add returns ErrKeyWaiting if step 2 is due.
func (k *Keyset) Add() (*Keyset, error) {
	if k.keys().anyWaiting() {
		return nil, ErrKeyWaiting
	}
	return k.edit(addKey)
}

// Promote returns a keyset that writes under the keys that Add put there. It
// returns ErrNoKeyWaiting if no key waits.
func (k *Keyset) Promote() (*Keyset, error) {
	if !k.keys().anyWaiting() {
		return nil, ErrNoKeyWaiting
	}
	return k.edit(promoteNewest)
}

// Retire returns a keyset without the keys older than the primary. Values sealed
// under them no longer open. It returns ErrNoOldKey if the keyset has no older keys.
func (k *Keyset) Retire() (*Keyset, error) {
	if position(k.keys().seal) == 0 && position(k.keys().mac) == 0 && position(k.keys().sign) == 0 {
		return nil, ErrNoOldKey
	}
	return k.edit(dropOld)
}

// OfOldKey reports whether value was made under a key that Retire drops: a sealed
// value or a MAC begins with the id of its key.
func (k *Keyset) OfOldKey(value []byte) bool {
	return ofOldKey(k.keys().seal, value) || ofOldKey(k.keys().mac, value)
}

func ofOldKey(h *keyset.Handle, value []byte) bool {
	for i := range position(h) {
		e, err := h.Entry(i)
		if err != nil {
			continue // Tink makes no such handle
		}
		if k, ok := e.Key().(interface{ OutputPrefix() []byte }); ok && bytes.HasPrefix(value, k.OutputPrefix()) {
			return true
		}
	}
	return false
}

// Rotate is Add and Promote in one, for an installation of a single node: other
// nodes could not open what this one seals until they have the new keyset too.
func (k *Keyset) Rotate() (*Keyset, error) {
	added, err := k.Add()
	if err != nil {
		return nil, err
	}
	return added.Promote()
}

func (k *keys) anyWaiting() bool { return waiting(k.seal) || waiting(k.mac) || waiting(k.sign) }

// waiting reports whether a key follows the primary one.
func waiting(h *keyset.Handle) bool { return position(h) < h.Len()-1 }

// position returns the index of the primary key: earlier keys are older, later keys
// wait.
func position(h *keyset.Handle) int {
	for i := range h.Len() {
		if e, err := h.Entry(i); err == nil && e.IsPrimary() {
			return i
		}
	}
	panic("secret: no primary key") // Tink makes no such handle
}

// edit returns a keyset whose seal, MAC and signing keys have each been through change.
func (k *Keyset) edit(change func(*keyset.Handle, *keyset.Manager) error) (*Keyset, error) {
	old := k.keys()
	seal, err := edited(old.seal, change)
	if err != nil {
		return nil, fmt.Errorf("change seal keys: %w", err)
	}
	mac, err := edited(old.mac, change)
	if err != nil {
		return nil, fmt.Errorf("change MAC keys: %w", err)
	}
	sign, err := edited(old.sign, change)
	if err != nil {
		return nil, fmt.Errorf("change signing keys: %w", err)
	}
	return assemble(seal, mac, sign, old.index)
}

func edited(h *keyset.Handle, change func(*keyset.Handle, *keyset.Manager) error) (*keyset.Handle, error) {
	m := keyset.NewManagerFromHandle(h)
	if err := change(h, m); err != nil {
		return nil, err
	}
	return m.Handle()
}

func addKey(h *keyset.Handle, m *keyset.Manager) error {
	kind, err := kindOf(h)
	if err != nil {
		return err
	}
	_, err = m.AddNewKeyFromParameters(kind)
	return err
}

func kindOf(h *keyset.Handle) (key.Parameters, error) {
	e, err := h.Primary()
	if err != nil {
		return nil, err
	}
	return e.Key().Parameters(), nil
}

func promoteNewest(h *keyset.Handle, m *keyset.Manager) error {
	e, err := h.Entry(h.Len() - 1)
	if err != nil {
		return err
	}
	return m.SetPrimary(e.KeyID())
}

func dropOld(h *keyset.Handle, m *keyset.Manager) error {
	for i := range position(h) {
		e, err := h.Entry(i)
		if err != nil {
			return err
		}
		if err := m.Delete(e.KeyID()); err != nil {
			return err
		}
	}
	return nil
}
