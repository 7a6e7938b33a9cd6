package mfa

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/softkey"
)

// The kinds of refusal of a simulated authenticator.
var (
	ErrSandboxOnly  = errors.New("only possible in a sandbox")
	ErrNotSimulated = errors.New("the passkey is not one of the software authenticator")
)

// A simulator is a kind whose authenticator Countersign can replace in a sandbox, so tests
// of an application need no browser and no device.
type simulator interface {
	// simulate returns the response to a challenge of f, as check accepts it.
	simulate(s *Service, env Environment, f *Factor, c *Challenge) ([]byte, error)
}

// Simulate returns the response of the software authenticator to a challenge of a sandbox, as JSON
// for Verify. It changes nothing. Errors: ErrSandboxOnly; ErrNotFound; *InvalidError for a
// challenge of another type of factor; ErrAlreadyVerified; ErrExpired; ErrTooManyAttempts; and
// ErrNotSimulated for a factor with the passkey of another authenticator.
func (s *Service) Simulate(ctx context.Context, by Caller, id ChallengeID) ([]byte, error) {
	if by.Production {
		return nil, ErrSandboxOnly
	}
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Challenge: id})
	if err != nil {
		return nil, err
	}
	c, f := rows.Challenge, rows.Factor
	if c == nil || f == nil || f.Environment != by.ID {
		return nil, fmt.Errorf("simulate a response: %w", &NotFoundError{EntityChallenge, id.String()})
	}
	k, err := f.kind()
	if err != nil {
		return nil, err
	}
	authenticator, ok := k.(simulator)
	if !ok {
		return nil, invalid("challenge_id", "not_webauthn", "challenge_id must be the id of a challenge of a webauthn factor")
	}
	if err := c.refuse(s.opts.Limits.Attempts, s.now()); err != nil {
		return nil, err
	}
	return authenticator.simulate(s, by.Environment, f, c)
}

// softKey returns the key of the software authenticator for a factor. Only a node with the keyset can
// derive it, and no other authenticator has it.
func (webauthnKind) softKey(keys *secret.Keyset, f *Factor) (*softkey.Key, error) {
	return softkey.Derive(keys.Index(fmt.Appendf(nil, "webauthn-softkey/%d/%s", f.Environment, f.ID)))
}

func (k webauthnKind) simulate(s *Service, env Environment, f *Factor, c *Challenge) ([]byte, error) {
	keys := s.keys.Load()
	plain, err := keys.Open(c.SealedCode, c.associated())
	if err != nil {
		return nil, fmt.Errorf("open the ceremony of %s: %w", c.ID, err)
	}
	asked, err := decodeCeremony(plain)
	if err != nil {
		return nil, err
	}
	site, _, err := k.site(s, env, f)
	if err != nil {
		return nil, err
	}
	key, err := k.softKey(keys, f)
	if err != nil {
		return nil, err
	}
	page := firstNonEmpty(asked.origin, site.Page())
	if f.Sealed != nil {
		own, err := k.credential(keys, f)
		if err != nil {
			return nil, err
		}
		public, err := key.Public()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(own.ID, key.ID) || !bytes.Equal(own.PublicKey, public) {
			return nil, ErrNotSimulated
		}
	}
	if asked.creates {
		return key.Create(asked.options, page)
	}
	return key.Get(asked.options, page, k.handle(keys, f))
}
