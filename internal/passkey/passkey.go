package passkey

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// A Config describes the site for which passkeys are made and used.
type Config struct {
	ID      string   // a domain, such as "example.com" or "localhost"
	Name    string   // shown by some browsers; default ID
	Origins []string // the accepted origins, such as "https://login.example.com" or "android:apk-key-hash:…"
	AnyPort bool     // also accept every port of http://localhost

	Attestation bool       // new passkeys must prove their model, which must be one of Models
	Models      *Models    // nil: no new passkey can prove its model
	AAGUIDs     [][16]byte // the accepted models; empty: all
}

// A RelyingParty makes options and checks responses for one site. It is safe for concurrent
// use.
type RelyingParty struct {
	cfg     Config
	library *webauthn.WebAuthn
	creates *webauthn.WebAuthn // for creations; library also uses metadata for logins
}

// New returns a RelyingParty, or an error that describes the fault of c.
func New(c Config) (*RelyingParty, error) {
	if err := CheckID(c.ID); err != nil {
		return nil, err
	}
	if len(c.Origins) == 0 && !c.AnyPort {
		return nil, fmt.Errorf("the relying party %q has no origin", c.ID)
	}
	c.Name = cmp.Or(c.Name, c.ID)
	settings := &webauthn.Config{
		RPID:          c.ID,
		RPDisplayName: c.Name,
		// The specification lets clients add outputs of extensions that were not requested.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	}
	for _, origin := range c.Origins {
		if protocol.IsKnownOpaqueOrigin(origin) {
			settings.RPOpaqueOrigins = append(settings.RPOpaqueOrigins, origin)
			continue
		}
		if err := CheckOrigin(origin); err != nil {
			return nil, err
		}
		settings.RPOrigins = append(settings.RPOrigins, origin)
	}
	if settings.RPOrigins == nil {
		settings.RPOrigins = []string{noOrigin} // the library needs one
	}
	library, err := webauthn.New(settings)
	if err != nil {
		return nil, fmt.Errorf("the relying party %q: %w", c.ID, err)
	}
	p := &RelyingParty{cfg: c, library: library, creates: library}
	if c.Attestation && c.Models != nil {
		withModels := *settings
		withModels.MDS = c.Models.provider
		if p.creates, err = webauthn.New(&withModels); err != nil {
			return nil, fmt.Errorf("the relying party %q: %w", c.ID, err)
		}
	}
	return p, nil
}

// noOrigin is an origin that no page has (RFC 2606).
const noOrigin = "https://none.invalid"

// ID returns the relying party id.
func (p *RelyingParty) ID() string { return p.cfg.ID }

// CheckID returns an error if id is not a relying party id.
func CheckID(id string) error {
	if err := protocol.ValidateRPID(id); err != nil || id != strings.ToLower(id) {
		return fmt.Errorf("the relying party id %q is not a domain in lower case, such as example.com", id)
	}
	return nil
}

// CheckOrigin returns an error if clients never send origin, or never use passkeys there.
func CheckOrigin(origin string) error {
	if protocol.IsKnownOpaqueOrigin(origin) {
		return nil
	}
	u, err := url.Parse(origin)
	switch {
	case err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin:
		return fmt.Errorf("%q is not an origin; write it as https://example.com, without a path", origin)
	case u.Scheme == "https", u.Scheme == "http" && isLocalhost(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the origin %q cannot use passkeys: browsers allow them only under https, and under http on localhost", origin)
}

// isLocalOrigin reports whether origin is http://localhost with any port.
func isLocalOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Scheme == "http" && isLocalhost(u.Hostname()) && "http://"+u.Host == origin
}

// Accepts reports whether responses from origin are accepted.
func (p *RelyingParty) Accepts(origin string) bool {
	return slices.Contains(p.cfg.Origins, origin) || p.cfg.AnyPort && isLocalOrigin(origin)
}

// Page returns an origin whose responses are accepted, for a simulated browser.
func (p *RelyingParty) Page() string {
	if len(p.cfg.Origins) > 0 {
		return p.cfg.Origins[0]
	}
	return "http://localhost" // AnyPort is set
}

func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// A Credential is a passkey as it is stored.
type Credential struct {
	ID             []byte
	PublicKey      []byte   // a COSE key
	SignCount      uint32   // 0 if the authenticator has no counter
	AAGUID         [16]byte // the model of the authenticator; zero if it is not told
	Transports     []string // such as "usb" and "internal"; a hint for browsers
	Attachment     string   // "platform", "cross-platform" or ""
	UserVerified   bool     // the authenticator has verified its user
	BackupEligible bool     // the key may be copied to other devices; never changes
	BackedUp       bool     // the key has been copied
}

// Encode returns c as bytes, for a caller that seals it.
func (c Credential) Encode() ([]byte, error) { return json.Marshal(c) }

// DecodeCredential returns the credential of an Encode.
func DecodeCredential(b []byte) (c Credential, err error) {
	err = json.Unmarshal(b, &c)
	return c, err
}

// A User is the person for whom a passkey is made.
type User struct {
	Handle      []byte // 1 to 64 bytes without personal data; the authenticator returns it
	Name        string // such as an e-mail address
	DisplayName string // default Name
}

// A Requirement is how much an option matters.
type Requirement string

// The requirements.
const (
	Required    Requirement = "required"
	Preferred   Requirement = "preferred"
	Discouraged Requirement = "discouraged"
)
