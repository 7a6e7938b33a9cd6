package rows

import (
	"encoding/json"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// EncodeSettings returns the settings of an environment as stores keep them: a JSON object of
// texts, or "" if no setting is set.
func EncodeSettings(s mfa.Settings) string {
	if s == (mfa.Settings{}) {
		return ""
	}
	b, err := json.Marshal(s.Texts())
	if err != nil {
		panic(err) // texts always have a JSON form
	}
	return string(b)
}

// DecodeSettings reads what EncodeSettings returns.
func DecodeSettings(text string) (mfa.Settings, error) {
	if text == "" {
		return mfa.Settings{}, nil
	}
	var texts map[string]string
	if err := json.Unmarshal([]byte(text), &texts); err != nil {
		return mfa.Settings{}, fmt.Errorf("read the stored settings: %w", err)
	}
	return mfa.LoadSettings(texts)
}
