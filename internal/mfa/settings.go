package mfa

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/countersign-mfa/countersign/internal/passkey"
)

// Settings are what operators have set for one environment. The zero value has the default of
// every setting. Settings are cheap to copy and comparable: two values are equal if they have
// the same settings. Every node uses changed settings within the time in which it refuses a
// revoked key.
type Settings struct{ data unique.Handle[settingsData] }

type settingsData struct {
	texts  string // name NUL text NUL, of each setting that is set, in the order of the names
	values SettingValues
}

// SettingValues are the values of all settings, with the defaults where a setting is not set. To add
// a setting, add a field here and its description to settings.
type SettingValues struct {
	MaxFactorsPerUser       int           // a user with as many factors cannot enroll another one
	UnverifiedExpiry        time.Duration // how long a new factor may stay unverified; 0: forever
	DuplicateSeed           SeedPolicy    // about an imported TOTP secret that another factor of the user has
	DeleteRequiresChallenge time.Duration // maximum age of the verified challenge that the deletion of a factor needs; 0: it needs none

	WebAuthnSite         string              // the relying party id; "": WebAuthn factors cannot be enrolled, except in sandboxes
	WebAuthnName         string              // of the site, for some browsers; "": the name of the environment
	WebAuthnOrigins      List                // of the pages; empty: https:// and the relying party id
	WebAuthnVerification passkey.Requirement // for the verification of users by their authenticators

	WebAuthnAttestation WebAuthnAttestation // whether new passkeys must prove their model
	WebAuthnModels      List                // the AAGUIDs of the accepted models; empty: all

	AcceptRecovery  bool            // recovery codes verify the challenges of other factors, also without a request for that
	RecoveryProfile RecoveryProfile // whether a used recovery code is replaced

	ReceiptIssuer string // of receipts; "": made from Options.PublicURL
}

// A WebAuthnAttestation says whether new passkeys must prove the model of their authenticator.
type WebAuthnAttestation string

// The values of WebAuthnAttestation.
const (
	AttestationNone   WebAuthnAttestation = "none"
	AttestationDirect WebAuthnAttestation = "direct"
)

// A SeedPolicy says what happens if a TOTP secret is enrolled twice for a user.
type SeedPolicy string

// The seed policies.
const (
	SeedAllow  SeedPolicy = "allow"
	SeedFlag   SeedPolicy = "flag"   // the reply and the event say so
	SeedRefuse SeedPolicy = "refuse" // the second enrollment is refused
)

// A RecoveryProfile says whether a used recovery code is replaced.
type RecoveryProfile string

// The recovery profiles.
const (
	RecoverySpend   RecoveryProfile = "default" // the code is spent
	RecoveryReplace RecoveryProfile = "nist"    // a new code replaces it (NIST SP 800-63B-4, 4.2.1.1)
)

const day = 24 * time.Hour

// settings describes each setting, in the order in which people see them. The commands and the
// operator API are made from it.
var settings = []Setting{
	intSetting("max_factors_per_user", 20, 1, 1000,
		"How many factors a user can have. Enrolling another one is refused.",
		func(v *SettingValues) *int { return &v.MaxFactorsPerUser }),
	durationSetting("unverified_expiry", 0, time.Hour, 365*day,
		"How long a new factor may stay unverified. Afterwards it is removed. Factors that were enrolled before the setting keep their own time. A webauthn factor without a passkey is removed after an hour in any case.",
		func(v *SettingValues) *time.Duration { return &v.UnverifiedExpiry }),
	choiceSetting("duplicate_seed", []SeedPolicy{SeedAllow, SeedFlag, SeedRefuse},
		"What happens if an imported TOTP secret is that of another factor of the same user: two such factors are only one. With flag, the reply and the event say so; with refuse, the enrollment is refused.",
		func(v *SettingValues) *SeedPolicy { return &v.DuplicateSeed }),
	durationSetting("delete_requires_challenge", 0, time.Minute, day,
		"Deleting a factor requires a challenge of another factor of the same user that was verified no longer ago than this.",
		func(v *SettingValues) *time.Duration { return &v.DeleteRequiresChallenge }),
	textSetting("webauthn_rp_id", "",
		"The domain of the pages that use passkeys and security keys, such as example.com. Passkeys that were registered for another domain keep it. A sandbox uses localhost if it is not set.",
		wrongOf(passkey.CheckID, "must be a domain in lower case, such as example.com"),
		func(v *SettingValues) *string { return &v.WebAuthnSite }),
	textSetting("webauthn_name", "",
		"The name of the site, which some browsers show. If it is not set: the name of the environment.", nil,
		func(v *SettingValues) *string { return &v.WebAuthnName }),
	listSetting("webauthn_origins", nil, 20,
		"The origins of the pages and apps that use passkeys, such as https://login.example.com or android:apk-key-hash:…, also on other domains. If it is not set: https:// and webauthn_rp_id.",
		wrongOf(passkey.CheckOrigin, "is not an origin such as https://login.example.com, without a path"),
		func(v *SettingValues) *List { return &v.WebAuthnOrigins }),
	choiceSetting("webauthn_user_verification", []passkey.Requirement{passkey.Preferred, passkey.Required, passkey.Discouraged},
		"Whether authenticators must verify their user with a PIN or a fingerprint. A challenge can ask for another value, but if this is required, it stays required.",
		func(v *SettingValues) *passkey.Requirement { return &v.WebAuthnVerification }),
	choiceSetting("webauthn_attestation", []WebAuthnAttestation{AttestationNone, AttestationDirect},
		"Whether new passkeys must prove the model of their authenticator. With direct, the model must be in the file webauthn_mds of the server, and passkeys of most phones and password managers are refused.",
		func(v *SettingValues) *WebAuthnAttestation { return &v.WebAuthnAttestation }),
	listSetting("webauthn_aaguids", nil, 100,
		"The AAGUIDs of the models of authenticators that new passkeys may have. If it is not set: all models. Without webauthn_attestation=direct, an authenticator can claim any model.",
		func(text string) string {
			if _, err := passkey.ParseAAGUID(text); err != nil || text != strings.ToLower(text) {
				return "must be an AAGUID in lower case, such as ee882879-721c-4913-9775-3dfcce97072a"
			}
			return ""
		},
		func(v *SettingValues) *List { return &v.WebAuthnModels }),
	boolSetting("accept_recovery", false,
		"Accept the recovery codes of a user at the challenges of the user's other factors, also if the challenge did not ask for it.",
		func(v *SettingValues) *bool { return &v.AcceptRecovery }),
	choiceSetting("recovery_profile", []RecoveryProfile{RecoverySpend, RecoveryReplace},
		"Whether a used recovery code is replaced. With nist, the reply has a new code in its place, as NIST SP 800-63B-4 requires.",
		func(v *SettingValues) *RecoveryProfile { return &v.RecoveryProfile }),
	textSetting("receipt_issuer", "",
		"The issuer (iss) of receipts. If it is not set: public_url of the server, /environments/ and the name of the environment.",
		func(text string) string {
			if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				return "must be a URL with https:// and without a query, such as https://mfa.example.com"
			}
			return ""
		},
		func(v *SettingValues) *string { return &v.ReceiptIssuer }),
}

// wrongOf returns a check of a setting: wrong, if check returns an error.
func wrongOf(check func(string) error, wrong string) func(string) string {
	return func(text string) string {
		if check(text) != nil {
			return wrong
		}
		return ""
	}
}

// defaults are the values of the zero Settings.
var defaults = func() (v SettingValues) {
	for i := range settings {
		if _, wrong := settings[i].parse(&v, settings[i].Default); wrong != "" {
			panic("mfa: the default of the setting " + settings[i].Name + " is not valid")
		}
	}
	return v
}()

// Values returns the values of all settings.
func (s Settings) Values() SettingValues {
	if s == (Settings{}) {
		return defaults
	}
	return s.data.Value().values
}

// AllSettings lists the descriptions of all settings.
func AllSettings() []Setting { return slices.Clone(settings) }

func findSetting(name string) *Setting {
	for i := range settings {
		if settings[i].Name == name {
			return &settings[i]
		}
	}
	return nil
}

// LoadSettings returns the settings with stored texts, by their names. It keeps settings that
// a newer release stored. The error is about a text that this release cannot read.
func LoadSettings(texts map[string]string) (Settings, error) {
	values := defaults
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if setting := findSetting(name); setting != nil {
			if _, wrong := setting.parse(&values, texts[name]); wrong != "" {
				return Settings{}, fmt.Errorf("the stored setting %s %s", name, wrong)
			}
		}
		b.WriteString(name + "\x00" + texts[name] + "\x00")
	}
	if b.Len() == 0 {
		return Settings{}, nil
	}
	return Settings{unique.Make(settingsData{b.String(), values})}, nil
}

// Texts returns the settings that are set, by their names, also settings of a newer release. It
// is the argument of LoadSettings.
func (s Settings) Texts() map[string]string {
	texts := map[string]string{}
	if s == (Settings{}) {
		return texts
	}
	for rest := s.data.Value().texts; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "\x00")
		texts[name], rest, _ = strings.Cut(rest, "\x00")
	}
	return texts
}

// With returns s with changes: texts by the names of settings. An empty text sets a setting
// back to its default. The error is an *InvalidError that names each setting that is unknown
// or has an unusable text.
func (s Settings) With(changes map[string]string) (Settings, error) {
	texts := s.Texts()
	var e InvalidError
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		setting := findSetting(name)
		switch {
		case setting == nil:
			e.Fields = append(e.Fields, FieldError{"settings", "unknown_key", fmt.Sprintf("%q is not a setting: the settings are %s", shorten(name), strings.Join(settingNames(), ", "))})
		case changes[name] == "":
			delete(texts, name)
		default:
			var ignored SettingValues
			text, wrong := setting.parse(&ignored, changes[name])
			if wrong != "" {
				e.Fields = append(e.Fields, FieldError{"settings", "invalid", name + " " + wrong})
			}
			texts[name] = text
		}
	}
	if e.Fields != nil {
		return s, &e
	}
	return LoadSettings(texts)
}

// shorten returns the beginning of a caller's text, for a message that repeats it.
func shorten(text string) string {
	const longest = 64 // bytes
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

func settingNames() []string {
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].Name
	}
	return names
}

// ChangedFrom returns the names of the settings that differ from before, in order.
func (s Settings) ChangedFrom(before Settings) []string {
	old, now := before.Texts(), s.Texts()
	var names []string
	for name, text := range now {
		if was, ok := old[name]; !ok || was != text {
			names = append(names, name)
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Text returns the text of a setting, and whether it is set. Otherwise the text is that of the default.
func (s Settings) Text(of Setting) (text string, set bool) {
	if text, set = s.Texts()[of.Name]; !set {
		text = of.Default
	}
	return text, set
}

// String returns the settings that are set, such as "delete_requires_challenge=15m max_factors_per_user=5".
func (s Settings) String() string {
	texts := s.Texts()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name + "=" + texts[name])
	}
	return b.String()
}
