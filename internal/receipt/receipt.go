package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// Type is the typ of the header of a receipt: other tokens under the same key, and receipts
// in the place of other tokens, are told apart by it (RFC 8725, section 3.11).
const Type = "countersign-receipt+jwt"

// Claims describe a verification in a receipt, apart from its Request.
type Claims struct {
	Issuer     string
	Subject    string // the caller's own id of the user; "" for a factor without a user
	ID         string // of the challenge, which can be verified once
	At         time.Time
	Methods    []string // of RFC 8176
	Class      string   // of OpenID EAP ACR Values 1.0: "phr", "phrh" or ""
	FactorID   string   // "" if no factor was proven
	FactorType string
	Recovery   bool  // the person has proven no factor, but used a code for people who cannot use one
	Verified   *bool // whether the factor has verified the person, by a PIN or a fingerprint; nil if it cannot
}

// header is the protected header of a receipt. Its order is that of the fields.
type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// payload is the content of a receipt. Its order is that of the fields.
type payload struct {
	Issuer     string   `json:"iss"`
	Audience   string   `json:"aud"`
	Subject    string   `json:"sub,omitempty"`
	IssuedAt   int64    `json:"iat"`
	ExpiresAt  int64    `json:"exp"`
	ID         string   `json:"jti"`
	AuthTime   int64    `json:"auth_time"`
	Methods    []string `json:"amr"`
	Class      string   `json:"acr,omitempty"`
	Nonce      string   `json:"nonce,omitempty"`
	FactorID   string   `json:"factor_id,omitempty"`
	FactorType string   `json:"factor_type"`
	Action     *action  `json:"action,omitempty"`
	Recovery   bool     `json:"recovery,omitempty"`
	Verified   *bool    `json:"uv,omitempty"`
}

type action struct {
	Title   string `json:"title"`
	Details string `json:"details,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
}

// Sign returns a receipt. The same arguments give the same bytes.
func Sign(key secret.Signer, r *Request, c Claims) (string, error) {
	p := payload{
		Issuer: c.Issuer, Audience: r.Audience, Subject: c.Subject, IssuedAt: c.At.Unix(), ID: c.ID, AuthTime: c.At.Unix(),
		Methods: c.methods(r), Class: c.Class, Nonce: r.Nonce, FactorID: c.FactorID, FactorType: c.FactorType, Recovery: c.Recovery, Verified: c.Verified,
	}
	p.ExpiresAt = p.IssuedAt + int64(r.expiry()/time.Second)
	if r.Action != (Action{}) {
		p.Action = &action{r.Action.Title, r.Action.Details, r.Action.SHA256}
	}
	head, err := encode(header{"ES256", key.ID(), Type})
	if err != nil {
		return "", err
	}
	body, err := encode(p)
	if err != nil {
		return "", err
	}
	signed := head + "." + body
	signature, err := key.Sign([]byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature[:]), nil
}

func (r *Request) expiry() time.Duration {
	if r.ExpiresIn == 0 {
		return DefaultExpiry
	}
	return time.Duration(r.ExpiresIn) * time.Second
}

// methods returns the amr: the first factor that the caller names, the methods of the factor,
// and mfa if both are. Codes for people without a factor do not count as a second one.
func (c *Claims) methods(r *Request) []string {
	if r.FirstFactor == "" {
		return c.Methods
	}
	all := slices.Clone(c.Methods)
	if !slices.Contains(all, r.FirstFactor) {
		all = slices.Insert(all, 0, r.FirstFactor)
	}
	if !c.Recovery {
		all = append(all, "mfa")
	}
	return all
}

// encode returns a part of a receipt.
func encode(v any) (string, error) {
	b, err := marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode a receipt: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// marshal is json.Marshal, but leaves < > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Keys returns the JSON Web Key Set that verifies receipts of a keyset.
func Keys(keys *secret.Keyset) ([]byte, error) {
	type jwk struct {
		Type      string `json:"kty"`
		Curve     string `json:"crv"`
		X         string `json:"x"`
		Y         string `json:"y"`
		Use       string `json:"use"`
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	for _, k := range keys.PublicKeys() {
		x, y := base64.RawURLEncoding.EncodeToString(k.X[:]), base64.RawURLEncoding.EncodeToString(k.Y[:])
		set.Keys = append(set.Keys, jwk{"EC", "P-256", x, y, "sig", "ES256", k.ID})
	}
	return marshal(set)
}
