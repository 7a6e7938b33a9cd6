package mfa

import (
	"strings"

	"github.com/countersign-mfa/countersign/internal/passkey"
)

// settingsOf returns the site of new factors of an environment. Its ID is "" if an operator
// must set it first.
func settingsOf(env Environment) passkey.Config {
	v := env.Settings.Values()
	c := passkey.Config{ID: v.WebAuthnSite, Name: firstNonEmpty(v.WebAuthnName, env.Name), Origins: v.WebAuthnOrigins.Items()}
	if c.ID == "" && !env.Production {
		c.ID = "localhost"
	}
	c.Attestation = v.WebAuthnAttestation == AttestationDirect
	for _, text := range v.WebAuthnModels.Items() {
		if id, err := passkey.ParseAAGUID(text); err == nil { // the setting was checked
			c.AAGUIDs = append(c.AAGUIDs, id)
		}
	}
	switch {
	case c.Origins != nil:
	case c.ID == "localhost":
		c.AnyPort = !env.Production
	case c.ID != "":
		c.Origins = []string{"https://" + c.ID}
	}
	return c
}

// PasskeyPages returns the relying party id of an environment, and the origins of the pages that may
// use its passkeys, without the origins of apps. Browsers read them if a page is on another domain
// than the relying party id (Level 3, 5.11).
func (e Environment) PasskeyPages() (site string, origins []string) {
	c := settingsOf(e)
	for _, origin := range c.Origins {
		if strings.HasPrefix(origin, "https://") {
			origins = append(origins, origin)
		}
	}
	return c.ID, origins
}
