package passkey

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// Creation says which passkey a browser is asked to make.
type Creation struct {
	Challenge        []byte // random, at least 16 bytes, used once
	User             User
	Exclude          []Credential // of the user: their authenticators make no second passkey
	UserVerification Requirement  // default Preferred
	ResidentKey      Requirement  // whether it can be used without naming the user first; default Preferred
	Attestation      bool         // ask the authenticator to prove its model
	Timeout          time.Duration
}

// Request says which passkey a browser is asked to use.
type Request struct {
	Challenge        []byte       // random, at least 16 bytes, used once
	Allow            []Credential // empty: any passkey of the site
	UserVerification Requirement  // default Preferred
	Timeout          time.Duration
}

// smallestChallenge is the smallest length of a challenge (Level 3, 13.4.3).
const smallestChallenge = 16

// algorithms are the accepted COSE algorithms: ES256, EdDSA and RS256.
var algorithms = []int{-7, -8, -257}

// The JSON of options is PublicKeyCredentialCreationOptionsJSON and
// PublicKeyCredentialRequestOptionsJSON, which
// PublicKeyCredential.parseCreationOptionsFromJSON and parseRequestOptionsFromJSON read.
type (
	creationJSON struct {
		RP          entityJSON       `json:"rp"`
		User        userJSON         `json:"user"`
		Challenge   string           `json:"challenge"`
		Parameters  []parameterJSON  `json:"pubKeyCredParams"`
		Timeout     int64            `json:"timeout,omitempty"`
		Exclude     []descriptorJSON `json:"excludeCredentials"`
		Selection   selectionJSON    `json:"authenticatorSelection"`
		Attestation string           `json:"attestation"`
	}
	requestJSON struct {
		Challenge        string           `json:"challenge"`
		Timeout          int64            `json:"timeout,omitempty"`
		RPID             string           `json:"rpId"`
		Allow            []descriptorJSON `json:"allowCredentials"`
		UserVerification Requirement      `json:"userVerification"`
	}
	entityJSON struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	userJSON struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		DisplayName string `json:"displayName"`
	}
	parameterJSON struct {
		Type      string `json:"type"`
		Algorithm int    `json:"alg"`
	}
	descriptorJSON struct {
		Type       string   `json:"type"`
		ID         string   `json:"id"`
		Transports []string `json:"transports,omitempty"`
	}
	selectionJSON struct {
		ResidentKey        Requirement `json:"residentKey"`
		RequireResidentKey bool        `json:"requireResidentKey"`
		UserVerification   Requirement `json:"userVerification"`
	}
)

const publicKey = "public-key"

// CreationOptions returns the options for navigator.credentials.create as JSON. It returns
// an error only for a short challenge and for a user handle of a wrong length.
func (p *RelyingParty) CreationOptions(c Creation) ([]byte, error) {
	if len(c.Challenge) < smallestChallenge {
		return nil, errShortChallenge
	}
	if n := len(c.User.Handle); n < 1 || n > 64 {
		return nil, errors.New("a user handle has 1 to 64 bytes")
	}
	o := creationJSON{
		RP:          entityJSON{p.cfg.ID, p.cfg.Name},
		User:        userJSON{encode(c.User.Handle), c.User.Name, cmp.Or(c.User.DisplayName, c.User.Name)},
		Challenge:   encode(c.Challenge),
		Timeout:     c.Timeout.Milliseconds(),
		Exclude:     descriptors(c.Exclude),
		Attestation: "none",
	}
	if c.Attestation || p.cfg.Attestation {
		o.Attestation = "direct"
	}
	for _, algorithm := range algorithms {
		o.Parameters = append(o.Parameters, parameterJSON{publicKey, algorithm})
	}
	o.Selection.ResidentKey = cmp.Or(c.ResidentKey, Preferred)
	o.Selection.RequireResidentKey = c.ResidentKey == Required
	o.Selection.UserVerification = cmp.Or(c.UserVerification, Preferred)
	return json.Marshal(o)
}

// RequestOptions returns the options for navigator.credentials.get as JSON. It returns an
// error only for a short challenge.
func (p *RelyingParty) RequestOptions(r Request) ([]byte, error) {
	if len(r.Challenge) < smallestChallenge {
		return nil, errShortChallenge
	}
	return json.Marshal(requestJSON{
		Challenge:        encode(r.Challenge),
		Timeout:          r.Timeout.Milliseconds(),
		RPID:             p.cfg.ID,
		Allow:            descriptors(r.Allow),
		UserVerification: cmp.Or(r.UserVerification, Preferred),
	})
}

var errShortChallenge = errors.New("a challenge has at least 16 bytes")

func descriptors(all []Credential) []descriptorJSON {
	list := make([]descriptorJSON, len(all)) // not nil: an empty list is [], not null
	for i, c := range all {
		list[i] = descriptorJSON{publicKey, encode(c.ID), c.Transports}
	}
	return list
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
