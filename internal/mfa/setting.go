package mfa

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A SettingKind is the type of the values of a setting.
type SettingKind string

// The kinds of settings. Every value has a text, which the commands read and print and the
// stores keep.
const (
	SettingText     SettingKind = "text"
	SettingChoice   SettingKind = "choice" // one of Choices
	SettingBool     SettingKind = "bool"   // "true" or "false"
	SettingInt      SettingKind = "int"
	SettingDuration SettingKind = "duration" // "30m", "12h", "7d"; "off" for 0
	SettingList     SettingKind = "list"     // items between commas
)

// A Setting describes one setting of an environment.
type Setting struct {
	Name    string
	Help    string // for people: whole sentences
	Kind    SettingKind
	Default string   // the text of its default; may be ""
	Choices []string // of a SettingChoice

	// parse reads a text into v. It returns the usual form of the text. Otherwise wrong says
	// what the text must be, to follow the name of the setting.
	parse func(v *SettingValues, text string) (usual, wrong string)
}

// intSetting describes a whole number.
func intSetting(name string, byDefault, least, most int, help string, field func(*SettingValues) *int) Setting {
	return Setting{Name: name, Help: help, Kind: SettingInt, Default: strconv.Itoa(byDefault),
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			n, err := strconv.Atoi(text)
			if err != nil || n < least || n > most {
				return text, fmt.Sprintf("must be a whole number from %d to %d", least, most)
			}
			*field(v) = n
			return strconv.Itoa(n), ""
		}}
}

// durationSetting describes a duration. If its default is 0, it can be off.
func durationSetting(name string, byDefault, least, most time.Duration, help string, field func(*SettingValues) *time.Duration) Setting {
	return Setting{Name: name, Help: help, Kind: SettingDuration, Default: durationText(byDefault),
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			d, err := parseDuration(text)
			if err != nil || (d != 0 || byDefault != 0) && (d < least || d > most) {
				wrong = fmt.Sprintf("must be a duration from %s to %s, such as 90m, 12h or 7d", durationText(least), durationText(most))
				if byDefault == 0 {
					wrong += ", or off"
				}
				return text, wrong
			}
			*field(v) = d
			return durationText(d), ""
		}}
}

const off = "off" // the text of the duration 0

func parseDuration(text string) (time.Duration, error) {
	if text == off {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * day, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d%time.Second != 0 {
		err = strconv.ErrRange
	}
	return d, err
}

// durationText returns a duration of whole seconds with the largest possible unit.
func durationText(d time.Duration) string {
	switch {
	case d == 0:
		return off
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// choiceSetting describes a choice among words, of which the first one is the default.
func choiceSetting[T ~string](name string, words []T, help string, field func(*SettingValues) *T) Setting {
	choices := make([]string, len(words))
	for i, w := range words {
		choices[i] = string(w)
	}
	return Setting{Name: name, Help: help, Kind: SettingChoice, Default: choices[0], Choices: choices,
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			if !slices.Contains(choices, text) {
				return text, "must be " + strings.Join(choices[:len(choices)-1], ", ") + " or " + choices[len(choices)-1]
			}
			*field(v) = T(text)
			return text, ""
		}}
}

// boolSetting describes a switch.
func boolSetting(name string, byDefault bool, help string, field func(*SettingValues) *bool) Setting {
	return Setting{Name: name, Help: help, Kind: SettingBool, Default: strconv.FormatBool(byDefault),
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			if text != "true" && text != "false" {
				return text, "must be true or false"
			}
			*field(v) = text == "true"
			return text, ""
		}}
}

// maxSettingText is the maximum length of a text or of an item of a list, in bytes.
const maxSettingText = 512

// textSetting describes a text in one line. check returns what a text must be, such as "must
// be a domain", and "" for a text that is right; nil accepts all. It is not called for "".
func textSetting(name, byDefault, help string, check func(text string) (wrong string), field func(*SettingValues) *string) Setting {
	return Setting{Name: name, Help: help, Kind: SettingText, Default: byDefault,
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			if wrong = checkSettingText(text, check); wrong == "" {
				*field(v) = text
			}
			return text, wrong
		}}
}

func checkSettingText(text string, check func(string) string) (wrong string) {
	switch {
	case len(text) > maxSettingText || !utf8.ValidString(text) || !isPlainText(text):
		return fmt.Sprintf("must be one line of at most %d bytes", maxSettingText)
	case text == "" || check == nil:
		return ""
	}
	return check(text)
}

// A List is a list of texts. It is comparable.
type List string

// Items returns the items of l.
func (l List) Items() []string {
	if l == "" {
		return nil
	}
	return strings.Split(string(l), ",")
}

// listSetting describes a list of at most most texts without commas; check is called for each item, as for textSetting.
func listSetting(name string, byDefault []string, most int, help string, check func(text string) (wrong string), field func(*SettingValues) *List) Setting {
	return Setting{Name: name, Help: help, Kind: SettingList, Default: strings.Join(byDefault, ","),
		parse: func(v *SettingValues, text string) (usual, wrong string) {
			var items []string
			for _, item := range List(text).Items() {
				item = strings.TrimSpace(item)
				if item == "" || slices.Contains(items, item) {
					continue
				}
				if wrong = checkSettingText(item, check); wrong != "" {
					return text, "has an item that " + wrong
				}
				items = append(items, item)
			}
			if len(items) > most {
				return text, fmt.Sprintf("must have at most %d items", most)
			}
			*field(v) = List(strings.Join(items, ","))
			return strings.Join(items, ","), ""
		}}
}
