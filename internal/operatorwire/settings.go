package operatorwire

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// Environment is an environment. Its name never changes, so it is the id.
type Environment struct {
	Object   string         `json:"object"`
	Name     string         `json:"name"`
	Kind     string         `json:"kind"`
	Settings map[string]any `json:"settings"`
}

// NewEnvironment returns an environment with all settings, also settings that have their defaults.
func NewEnvironment(e mfa.Environment) Environment {
	o := Environment{"environment", e.Name, "sandbox", map[string]any{}}
	if e.Production {
		o.Kind = "production"
	}
	for _, s := range mfa.AllSettings() {
		text, _ := e.Settings.Text(s)
		o.Settings[s.Name] = settingValue(s, text)
	}
	return o
}

// settingValue returns the text of a setting as a JSON value of its kind.
func settingValue(s mfa.Setting, text string) any {
	switch s.Kind {
	case mfa.SettingBool:
		return text == "true"
	case mfa.SettingInt:
		n, _ := strconv.Atoi(text)
		return n
	case mfa.SettingList:
		return append([]string{}, mfa.List(text).Items()...)
	}
	return text
}

// SettingTexts returns the texts for mfa.Settings.With from JSON values by the names of settings.
// null is the empty text. wrong names the settings whose values have another type.
func SettingTexts(values map[string]json.RawMessage) (texts map[string]string, wrong []string) {
	kinds := map[string]mfa.SettingKind{}
	for _, s := range mfa.AllSettings() {
		kinds[s.Name] = s.Kind
	}
	texts = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text, ok := settingText(kinds[name], values[name])
		if texts[name] = text; !ok {
			wrong = append(wrong, name)
		}
	}
	return texts, wrong
}

// settingText accepts values of the JSON types that settingValue returns.
func settingText(kind mfa.SettingKind, value json.RawMessage) (text string, ok bool) {
	if string(value) == "null" || kind == "" { // an unknown name is a mistake with any value
		return "", true
	}
	switch kind {
	case mfa.SettingBool:
		var b bool
		err := json.Unmarshal(value, &b)
		return strconv.FormatBool(b), err == nil
	case mfa.SettingInt:
		var n int
		err := json.Unmarshal(value, &n)
		return strconv.Itoa(n), err == nil
	case mfa.SettingList:
		var items []*string
		if json.Unmarshal(value, &items) != nil {
			return "", false
		}
		texts := make([]string, len(items))
		for i, item := range items {
			if item == nil || strings.Contains(*item, ",") {
				return "", false
			}
			texts[i] = *item
		}
		return strings.Join(texts, ","), true
	}
	err := json.Unmarshal(value, &text)
	return text, err == nil && (text != "" || kind == mfa.SettingText)
}
