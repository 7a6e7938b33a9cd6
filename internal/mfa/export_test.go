package mfa

import (
	"io"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// NewIDs returns how a Service makes ids.
func NewIDs(rand io.Reader) func(now time.Time, b Bucket) ([16]byte, error) {
	return ids.NewSource(rand).Next
}

// ReplayKey returns the key under which the record of an idempotency key is stored.
func (s *Service) ReplayKey(key [32]byte) ReplayKey { return idempotency.StoredKey(s.keys.Load(), key) }

// PrefixReference returns how events name a prefix.
func (s *Service) PrefixReference(env EnvironmentID, prefix string) string {
	return delivery.NewCounterKey(s.keys.Load(), env, prefix).Reference()
}

// Keyset returns the keyset in use.
func (s *Service) Keyset() *secret.Keyset { return s.keys.Load() }

// ParseSetting parses a text as a setting of a kind, with a check of texts and items, which are
// at most two.
func ParseSetting(kind SettingKind, text string, check func(string) string) (usual, wrong string) {
	var list List
	s := map[SettingKind]Setting{
		SettingBool:   boolSetting("b", false, "", func(*SettingValues) *bool { return new(bool) }),
		SettingChoice: choiceSetting("c", []string{"one", "two", "three"}, "", func(*SettingValues) *string { return new(string) }),
		SettingText:   textSetting("t", "", "", check, func(*SettingValues) *string { return new(string) }),
		SettingList:   listSetting("l", nil, 2, "", check, func(*SettingValues) *List { return &list }),
	}[kind]
	usual, wrong = s.parse(nil, text)
	if wrong == "" && kind == SettingList && string(list) != usual {
		return string(list), "" // the value differs from the text
	}
	return usual, wrong
}
