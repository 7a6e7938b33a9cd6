package mfa_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

func TestTheZeroSettingsHaveTheDefaults(t *testing.T) {
	want := mfa.SettingValues{MaxFactorsPerUser: 20, DuplicateSeed: "allow", WebAuthnVerification: "preferred", WebAuthnAttestation: "none", RecoveryProfile: mfa.RecoverySpend}
	got := mfa.Settings{}.Values()
	if got != want {
		t.Errorf("the defaults are %+v; want %+v", got, want)
	}
	for _, s := range mfa.AllSettings() {
		if s.Name == "" || !strings.HasSuffix(s.Help, ".") || s.Kind == "" {
			t.Errorf("the description of %+v is not complete", s)
		}
		if text, set := (mfa.Settings{}).Text(s); text != s.Default || set {
			t.Errorf("%s is %q, %v; want the default %q", s.Name, text, set, s.Default)
		}
	}
}

// TestEverySettingIsDocumented compares the table of the guide for operators with the list.
func TestEverySettingIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range mfa.AllSettings() {
		want := "| `" + s.Name + "` | `" + s.Default + "` | " + s.Help + " |\n"
		if s.Default == "" {
			want = "| `" + s.Name + "` | | " + s.Help + " |\n"
		}
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/operating.md lacks the line\n%s", want)
		}
	}
}

func with(t testing.TB, s mfa.Settings, changes map[string]string) mfa.Settings {
	t.Helper()
	s, err := s.With(changes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettingsAreChangedAndSetBack(t *testing.T) {
	one := with(t, mfa.Settings{}, map[string]string{"max_factors_per_user": "5", "delete_requires_challenge": "120m"})
	if v := one.Values(); v.MaxFactorsPerUser != 5 || v.DeleteRequiresChallenge != 2*time.Hour {
		t.Errorf("the values are %+v", v)
	}
	if got, want := one.String(), "delete_requires_challenge=2h max_factors_per_user=5"; got != want {
		t.Errorf("String = %q; want %q", got, want)
	}
	two := with(t, one, map[string]string{"delete_requires_challenge": "off", "max_factors_per_user": ""})
	if v := two.Values(); v.MaxFactorsPerUser != 20 || v.DeleteRequiresChallenge != 0 {
		t.Errorf("the values are %+v", v)
	}
	if got, want := two.ChangedFrom(one), []string{"delete_requires_challenge", "max_factors_per_user"}; !slices.Equal(got, want) {
		t.Errorf("ChangedFrom = %v; want %v", got, want)
	}
	if back := with(t, two, map[string]string{"delete_requires_challenge": ""}); back != (mfa.Settings{}) {
		t.Errorf("all settings are set back, but %q remains", back)
	}
	again := with(t, mfa.Settings{}, map[string]string{"delete_requires_challenge": "2h", "max_factors_per_user": "5"})
	if again != one || again == two {
		t.Error("settings with the same texts are not equal, or others are")
	}
}

func TestUnusableSettingsAreNamed(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"max_factors_per_user", "0"},
		{"max_factors_per_user", "1001"},
		{"max_factors_per_user", "many"},
		{"max_factors_per_user", "5.5"},
		{"delete_requires_challenge", "59s"},
		{"delete_requires_challenge", "25h"},
		{"delete_requires_challenge", "2d"},
		{"delete_requires_challenge", "65536d"},
		{"delete_requires_challenge", "-1h"},
		{"delete_requires_challenge", "600001ms"},
		{"delete_requires_challenge", "soon"},
	} {
		before := with(t, mfa.Settings{}, map[string]string{"max_factors_per_user": "7"})
		got, err := before.With(map[string]string{tc.name: tc.text})
		e, ok := errors.AsType[*mfa.InvalidError](err)
		if !ok || len(e.Fields) != 1 || e.Fields[0].Field != "settings" || e.Fields[0].Code != "invalid" || !strings.HasPrefix(e.Fields[0].Message, tc.name+" must be ") || got != before {
			t.Errorf("%s=%s: %+v, %v", tc.name, tc.text, got, err)
		}
	}
	_, err := mfa.Settings{}.With(map[string]string{"max_factors": "5", "delete_requires_challenge": "no", strings.Repeat("x", 100): ""})
	e, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok || len(e.Fields) != 3 || !strings.Contains(e.Fields[1].Message, `"max_factors" is not a setting: the settings are max_factors_per_user, `) || len(e.Fields[2].Message) > 1000 {
		t.Errorf("unknown settings: %+v", e)
	}
}

func TestSettingsOfANewerReleaseAreKept(t *testing.T) {
	stored := map[string]string{"from_a_newer_release": "x", "max_factors_per_user": "9"}
	s, err := mfa.LoadSettings(stored)
	if err != nil || s.Values().MaxFactorsPerUser != 9 {
		t.Fatalf("LoadSettings = %v, %v", s, err)
	}
	changed := with(t, s, map[string]string{"max_factors_per_user": ""})
	if got := changed.Texts(); !maps.Equal(got, map[string]string{"from_a_newer_release": "x"}) {
		t.Errorf("the settings are %v", got)
	}
	if _, err := mfa.LoadSettings(map[string]string{"max_factors_per_user": "x"}); err == nil || !strings.Contains(err.Error(), "max_factors_per_user") {
		t.Errorf("LoadSettings of an unreadable text = %v; want an error with its name", err)
	}
}

// TestEachKindOfSettingReadsItsTexts tests the kinds of settings, also the kinds of which there is
// no setting yet.
func TestEachKindOfSettingReadsItsTexts(t *testing.T) {
	check := func(text string) string {
		if strings.Contains(text, " ") {
			return "must have no spaces"
		}
		return ""
	}
	for _, tc := range []struct {
		kind  mfa.SettingKind
		text  string
		usual string // "" if it is wrong
		wrong string
	}{
		{mfa.SettingBool, "true", "true", ""},
		{mfa.SettingBool, "false", "false", ""},
		{mfa.SettingBool, "yes", "", "must be true or false"},
		{mfa.SettingChoice, "two", "two", ""},
		{mfa.SettingChoice, "Two", "", "must be one, two or three"},
		{mfa.SettingText, "example.com", "example.com", ""},
		{mfa.SettingText, "a b", "", "must have no spaces"},
		{mfa.SettingText, "a\nb", "", "must be one line of at most 512 bytes"},
		{mfa.SettingText, "a\x00b", "", "must be one line of at most 512 bytes"},
		{mfa.SettingText, "\xff", "", "must be one line of at most 512 bytes"},
		{mfa.SettingText, strings.Repeat("a", 513), "", "must be one line of at most 512 bytes"},
		{mfa.SettingList, " a, b,,a ", "a,b", ""},
		{mfa.SettingList, "a,b c", "", "has an item that must have no spaces"},
		{mfa.SettingList, "a,b,c", "", "must have at most 2 items"},
	} {
		usual, wrong := mfa.ParseSetting(tc.kind, tc.text, check)
		if wrong != tc.wrong || wrong == "" && usual != tc.usual {
			t.Errorf("%s %q: %q, %q; want %q, %q", tc.kind, tc.text, usual, wrong, tc.usual, tc.wrong)
		}
	}
	if got := mfa.List("a,b").Items(); !slices.Equal(got, []string{"a", "b"}) || mfa.List("").Items() != nil {
		t.Errorf("Items = %q", got)
	}
}
