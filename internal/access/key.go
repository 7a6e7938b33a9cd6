package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// Prefixes of keys.
const (
	sandboxPrefix    = "sk_test_"
	productionPrefix = "sk_live_"
	operatorPrefix   = "ok_"
)

// hasPrefix reports whether text begins as a key does.
func hasPrefix(text string) bool {
	return strings.HasPrefix(text, sandboxPrefix) || strings.HasPrefix(text, productionPrefix) || strings.HasPrefix(text, operatorPrefix)
}

// DefaultScopes are the scopes of an API key that is created without scopes, and of all keys
// from before there were scopes.
var DefaultScopes = ScopesOf(ScopeAPI, ScopeEventsRead)

// operatorScopes are the scopes of operator keys.
var operatorScopes = ScopesOf(ScopeOperatorRead, ScopeOperatorWrite)

// KeyParams describe a new key.
type KeyParams struct {
	Name      string    // at most 64 characters in one line; may be empty
	Scopes    Scopes    // zero: DefaultScopes
	ExpiresAt time.Time // zero: it does not expire

	// Text is the key itself, for tests that must know it beforehand. It must have the form
	// sk_test_… and belong to a sandbox. If it is zero, the key is drawn.
	Text secret.String
}

var chosenForm = regexp.MustCompile(`^sk_test_[A-Za-z0-9_]{8,56}$`)

const maxName = 64 // characters

// check returns a *mfa.InvalidError that names each field with an unusable value.
func (p *KeyParams) check(env mfa.Environment, now time.Time) error {
	var e mfa.InvalidError
	wrong := func(field, code, message string) {
		e.Fields = append(e.Fields, mfa.FieldError{Field: field, Code: code, Message: message})
	}
	if !isKeyName(p.Name) {
		wrong("name", "invalid", wrongName)
	}
	switch {
	case p.Scopes&operatorScopes != 0 && p.Scopes&^operatorScopes != 0:
		wrong("scopes", "mixed", "scopes must be those of an API key, api and events:read, or those of an operator key, operator:read and operator:write")
	case p.Scopes&operatorScopes == 0 && env.ID == 0:
		wrong("environment", "required", "environment is required: an API key belongs to one environment")
	}
	if !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(now) {
		wrong("expires_at", "out_of_range", "expires_at must be in the future")
	}
	if text := p.Text.Reveal(); text != "" && (!chosenForm.MatchString(text) || env.Production || p.Scopes&operatorScopes != 0) {
		wrong("key", "invalid", "key must be sk_test_ and 8 to 56 letters, digits or _, and belong to a sandbox")
	}
	if e.Fields != nil {
		return &e
	}
	return nil
}

var wrongName = fmt.Sprintf("name must be one line of at most %d characters", maxName)

// isKeyName reports whether a key may have a name.
func isKeyName(name string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	return !strings.ContainsFunc(name, unprintable) && utf8.RuneCountInString(name) <= maxName
}

// Rename gives a key another name, which may be empty. Revoked and expired keys can be renamed too. The
// environment of by is not used. Errors: ErrNotFound, a *mfa.InvalidError.
func (s *Service) Rename(ctx context.Context, by mfa.Caller, id KeyID, name string) error {
	if !isKeyName(name) {
		return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: "name", Code: "invalid", Message: wrongName}}}
	}
	if err := s.store.RenameKey(ctx, id, name, s.event(by, mfa.KeyRenamed, id)); err != nil {
		return fmt.Errorf("rename %s: %w", id, err)
	}
	return nil
}

// CreateKey makes a key of the environment of by. With a zero environment, an operator key
// opens all environments. The key itself is returned this once. The error for unusable
// params is a *mfa.InvalidError. A KeyParams.Text that exists is ErrExists.
func (s *Service) CreateKey(ctx context.Context, by mfa.Caller, p KeyParams) (secret.String, Key, error) {
	if p.Scopes == 0 {
		p.Scopes = DefaultScopes
	}
	p.ExpiresAt = p.ExpiresAt.UTC().Truncate(time.Millisecond)
	if err := p.check(by.Environment, s.now()); err != nil {
		return secret.String{}, Key{}, err
	}
	if err := s.checkOutlived(ctx, by, p); err != nil {
		return secret.String{}, Key{}, err
	}
	text := rand.Text() // 26 characters of base32, 130 bits
	switch chosen := p.Text.Reveal(); {
	case chosen != "":
		text = chosen
		if err := s.checkNew(ctx, chosen); err != nil {
			return secret.String{}, Key{}, fmt.Errorf("create key: %w", err)
		}
	case p.Scopes&operatorScopes != 0:
		text = operatorPrefix + text
	case by.Production:
		text = productionPrefix + text
	default:
		text = sandboxPrefix + text
	}
	k := s.keyOf(text, by.Environment)
	k.Name, k.Scopes, k.ExpiresAt = p.Name, p.Scopes, p.ExpiresAt
	if err := s.store.InsertKey(ctx, k, hash(text), s.event(by, mfa.KeyCreated, k.ID)); err != nil {
		return secret.String{}, Key{}, fmt.Errorf("create key: %w", err)
	}
	return secret.NewString(text), k, nil
}

// checkNew returns ErrExists if there is the key text, also a revoked one.
func (s *Service) checkNew(ctx context.Context, text string) error {
	switch _, err := s.store.KeyByHash(ctx, hash(text)); {
	case err == nil:
		return ErrExists
	case errors.Is(err, ErrNotFound):
		return nil
	default:
		return err
	}
}

// checkOutlived returns an error if the new key would outlive the key that makes it: a program
// could otherwise keep its access after its own key expires.
func (s *Service) checkOutlived(ctx context.Context, by mfa.Caller, p KeyParams) error {
	if by.Key == "" {
		return nil
	}
	maker, err := s.Key(ctx, KeyID(by.Key))
	if err != nil {
		return fmt.Errorf("create key: %w", err)
	}
	if maker.ExpiresAt.IsZero() || !p.ExpiresAt.IsZero() && !p.ExpiresAt.After(maker.ExpiresAt) {
		return nil
	}
	return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: "expires_at", Code: "out_of_range",
		Message: "expires_at must be at most " + maker.ExpiresAt.Format(time.RFC3339) + ": the key that makes this request expires then"}}}
}

// keyOf describes the key text of env. Its id is derived from its hash, so the
// holder of the key can find it in a log.
func (s *Service) keyOf(text string, env mfa.Environment) Key {
	h := hash(text)
	return Key{
		ID:          KeyID("key_" + hex.EncodeToString(h[:8])),
		Environment: env,
		Hint:        text[len(text)-4:],
		CreatedAt:   s.instant(),
	}
}

func hash(key string) Hash {
	var b [64]byte // longer than any valid key; append allocates for longer input
	return sha256.Sum256(append(b[:0], key...))
}

// Keys lists all keys, oldest first, revoked and expired ones as well.
func (s *Service) Keys(ctx context.Context) ([]Key, error) { return s.store.Keys(ctx) }

// Key returns the key with that id, or ErrNotFound.
func (s *Service) Key(ctx context.Context, id KeyID) (Key, error) {
	all, err := s.store.Keys(ctx)
	if err != nil {
		return Key{}, err
	}
	for _, k := range all {
		if k.ID == id {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("key %s: %w", id, ErrNotFound)
}

// Revoke revokes a key. The environment of by is not used. Every node refuses the key within
// 5 s. Error: ErrNotFound.
func (s *Service) Revoke(ctx context.Context, by mfa.Caller, id KeyID) error {
	if err := s.store.RevokeKey(ctx, id, s.event(by, mfa.KeyRevoked, id)); err != nil {
		return fmt.Errorf("revoke %s: %w", id, err)
	}
	return nil
}
