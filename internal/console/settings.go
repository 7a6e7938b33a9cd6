package console

import (
	"errors"
	"net/http"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A settingsView is the view of the settings of an environment.
type settingsView struct {
	Settings []settingRow
}

// A settingRow is a setting in the table and in the form.
type settingRow struct {
	mfa.Setting
	Was   string // the text when the page was made; "" if the setting is not set
	Text  string // as entered
	Words []string
}

// DefaultWords returns the default in words.
func (s settingRow) DefaultWords() string {
	if s.Default == "" {
		return "not set"
	}
	return s.Default
}

// The names of the fields of a setting: its text, and the text when the page was made. Only
// a text that the operator changed is sent to the store, so the form does not undo what
// another operator has changed since.
func fieldOf(setting string) string  { return "setting." + setting }
func beforeOf(setting string) string { return "before." + setting }

func (c *Console) settingsView(r *request) (v settingsView) {
	for _, s := range mfa.AllSettings() {
		row := settingRow{Setting: s, Words: s.Choices}
		if s.Kind == mfa.SettingBool {
			row.Words = []string{"true", "false"}
		}
		if text, set := r.env.Settings.Text(s); set {
			row.Was = text
		}
		row.Text = row.Was
		if r.PostForm.Has(fieldOf(s.Name)) {
			row.Was, row.Text = r.PostFormValue(beforeOf(s.Name)), r.PostFormValue(fieldOf(s.Name))
		}
		v.Settings = append(v.Settings, row)
	}
	return v
}

// settings serves GET /console/e/{env}/settings.
func (c *Console) settings(w http.ResponseWriter, r *request) error {
	return c.showPage(w, r, "Settings", "settings.html", c.settingsView(r))
}

// changeSettings serves POST /console/e/{env}/settings.
func (c *Console) changeSettings(w http.ResponseWriter, r *request) error {
	changes := map[string]string{}
	for _, s := range mfa.AllSettings() {
		if text := r.text(fieldOf(s.Name)); r.PostForm.Has(fieldOf(s.Name)) && text != r.text(beforeOf(s.Name)) {
			changes[s.Name] = text
		}
	}
	if _, err := c.parts.Operator.ChangeSettings(r.Context(), r.by(), r.env, changes); err != nil {
		return c.showAgain(w, r, "Settings", "settings.html", c.settingsView(r), allMistakes(err))
	}
	return done(w, r, in(r.env, "settings"), "settings-changed")
}

// allMistakes returns a fault with the messages of all fields of err, or else err.
func allMistakes(err error) error {
	e, ok := errors.AsType[*mfa.InvalidError](err)
	if !ok {
		return err
	}
	return fault("Nothing was saved: " + e.Messages() + ".")
}
