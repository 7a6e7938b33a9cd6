// Package seed fills the store of 'countersign dev' with what a test needs: environments,
// keys, users with factors of known secrets, and webhook endpoints.
package seed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A Seed is the content of a seed file.
type Seed struct {
	Environments []Environment `yaml:"environments"`
}

// An Environment is a sandbox. One that exists gets what the seed adds.
type Environment struct {
	Name     string            `yaml:"name"`
	Settings map[string]string `yaml:"settings"` // texts by the names of settings
	Keys     []Key             `yaml:"keys"`
	Users    []User            `yaml:"users"`
	Webhooks []Webhook         `yaml:"webhooks"`
}

// A Key is an API key.
type Key struct {
	Key    string   `yaml:"key"` // sk_test_…
	Name   string   `yaml:"name"`
	Scopes []string `yaml:"scopes"` // default api and events:read
}

// A User is the owner of factors.
type User struct {
	ID      string   `yaml:"id"`
	Factors []Factor `yaml:"factors"`
}

// A Factor has the parameters of an enrollment, by the names of the HTTP API.
type Factor struct {
	Type        string `yaml:"type"`
	Name        string `yaml:"name"`
	TOTPSecret  string `yaml:"totp_secret"`
	TOTPIssuer  string `yaml:"totp_issuer"`
	TOTPUser    string `yaml:"totp_user"`
	Algorithm   string `yaml:"totp_algorithm"`
	Digits      string `yaml:"totp_digits"`
	Period      string `yaml:"totp_period"`
	PhoneNumber string `yaml:"phone_number"`
	PasskeyUser string `yaml:"webauthn_user"`
}

// A Webhook is an endpoint of webhooks.
type Webhook struct {
	URL    string   `yaml:"endpoint_url"`
	Events []string `yaml:"events"` // default all types
}

// unknownKey matches what the YAML reader says about a key that is not in a type of this
// package, which a message must not name.
var unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)

// Parse reads a seed file: YAML, or JSON, which is YAML. The error names the line of an
// unknown key or of a value of another type.
func Parse(text []byte) (Seed, error) {
	var s Seed
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Seed{}, errors.New(unknownKey.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n  "), "$1 is not a key of a seed here"))
	}
	for i, e := range s.Environments {
		if e.Name == "" {
			return Seed{}, fmt.Errorf("environments[%d]: name is required", i)
		}
	}
	return s, nil
}

// Services are the services of a server whose store is filled.
type Services struct {
	Access   *access.Service
	Factors  *mfa.Service
	Webhooks *webhook.Service
}

// Apply adds the content of s to a store. An error names the part of the seed that is wrong;
// the parts before it are stored.
func (s Seed) Apply(ctx context.Context, to Services, operator string) error {
	for i, e := range s.Environments {
		if err := e.apply(ctx, to, operator); err != nil {
			return fmt.Errorf("environments[%d].%w", i, err)
		}
	}
	return nil
}

func (e Environment) apply(ctx context.Context, to Services, operator string) error {
	by := mfa.Caller{Operator: operator}
	env, err := to.Access.Environment(ctx, e.Name)
	if errors.Is(err, access.ErrNotFound) {
		env, err = to.Access.CreateEnvironment(ctx, by, e.Name, false)
	}
	if err != nil {
		return fmt.Errorf("name: %w", err)
	}
	by.Environment = env
	if len(e.Settings) > 0 {
		if by.Environment, err = to.Access.ChangeSettings(ctx, by, maps.Clone(e.Settings)); err != nil {
			return fmt.Errorf("settings: %w", plain(err))
		}
	}
	for i, k := range e.Keys {
		if err := k.apply(ctx, to, by); err != nil {
			return fmt.Errorf("keys[%d]: %w", i, plain(err))
		}
	}
	for i, u := range e.Users {
		if u.ID == "" {
			return fmt.Errorf("users[%d]: id is required", i)
		}
		for j, f := range u.Factors {
			if _, err := to.Factors.Enroll(ctx, by, f.params(u.ID), nil); err != nil {
				return fmt.Errorf("users[%d].factors[%d]: %w", i, j, plain(err))
			}
		}
	}
	for i, w := range e.Webhooks {
		if len(w.Events) == 0 {
			for _, t := range mfa.EventTypes {
				w.Events = append(w.Events, string(t))
			}
		}
		if _, err := to.Webhooks.Create(ctx, by, webhook.Params{URL: w.URL, Events: w.Events}); err != nil {
			return fmt.Errorf("webhooks[%d]: %w", i, plain(err))
		}
	}
	return nil
}

func (k Key) apply(ctx context.Context, to Services, by mfa.Caller) error {
	if k.Key == "" {
		return errors.New("key is required, such as sk_test_ci_000000")
	}
	if known, err := to.Access.Authenticate(ctx, k.Key); err == nil && known.Environment.ID == by.Environment.ID {
		return nil // the key of --api-key
	}
	p := access.KeyParams{Name: k.Name, Text: secret.NewString(k.Key)}
	for _, name := range k.Scopes {
		scope, err := access.ParseScope(name)
		if err != nil {
			return err
		}
		p.Scopes |= access.ScopesOf(scope)
	}
	_, _, err := to.Access.CreateKey(ctx, by, p)
	return err
}

func (f Factor) params(user string) mfa.EnrollParams {
	return mfa.EnrollParams{
		Type: mfa.FactorType(f.Type), User: user, Name: f.Name,
		Issuer: f.TOTPIssuer, Account: f.TOTPUser, Secret: secret.NewString(f.TOTPSecret),
		Algorithm: f.Algorithm, Digits: f.Digits, Period: f.Period,
		PhoneNumber: f.PhoneNumber, PasskeyUser: f.PasskeyUser,
	}
}

// plain returns the messages of all fields of a refusal, or else err.
func plain(err error) error {
	e, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok {
		return err
	}
	return errors.New(e.Messages())
}
