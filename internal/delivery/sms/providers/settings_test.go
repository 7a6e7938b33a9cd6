package providers

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/messagebird"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/plivo"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smpp"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/telnyx"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/twilio"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/vonage"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/webhook"
)

// These providers receive receipts as callbacks.
var _ = []sms.Receiver{
	(*aws.Provider)(nil), (*messagebird.Provider)(nil), (*plivo.Provider)(nil), (*telnyx.Provider)(nil),
	(*twilio.Provider)(nil), (*vonage.Provider)(nil), (*webhook.Provider)(nil),
}

// TestKeysOfSettings lists the keys that files of operators use. A key that disappears
// breaks such a file.
func TestKeysOfSettings(t *testing.T) {
	for _, tc := range []struct {
		typ     string
		options any
		keys    string
	}{
		{"aws", &aws.Options{}, "access_key_id api base_url configuration_set entity_id max_price origination_identity protect_configuration region secret_access_key secret_access_key_env secret_access_key_file session_token session_token_env session_token_file template_id topic_arn"},
		{"messagebird", &messagebird.Options{}, "access_key access_key_env access_key_file base_url callback_url originator signing_key signing_key_env signing_key_file"},
		{"plivo", &plivo.Options{}, "auth_id auth_token auth_token_env auth_token_file base_url callback_url from powerpack_uuid"},
		{"smpp", &smpp.Options{}, "address answer_timeout destination_npi destination_ton enquire_link long_messages password password_env password_file receipt_ids reconnect_after refused_codes root_cas_file server_name service_type source source_npi source_ton system_id system_type tls window"},
		{"telnyx", &telnyx.Options{}, "api_key api_key_env api_key_file base_url callback_url from messaging_profile_id public_key"},
		{"twilio", &twilio.Options{}, "account_sid api_key_secret api_key_secret_env api_key_secret_file api_key_sid auth_token auth_token_env auth_token_file base_url callback_url from messaging_service_sid"},
		{"vonage", &vonage.Options{}, "api_key api_secret api_secret_env api_secret_file base_url callback_url from signature_method signature_secret signature_secret_env signature_secret_file"},
		{"webhook", &webhook.Options{}, "callback_url secret secret_env secret_file url"},
	} {
		t.Run(tc.typ, func(t *testing.T) {
			got := strings.Join(slices.Sorted(maps.Keys(settersOf(tc.options, ""))), " ")
			if got != tc.keys {
				t.Errorf("the keys are\n%s\nwant\n%s", got, tc.keys)
			}
			if registry[tc.typ] == nil {
				t.Error("the type is not in the registry")
			}
		})
	}
}

// TestEveryFieldIsASettingOrAPart finds a field that lacks its yaml tag.
func TestEveryFieldIsASettingOrAPart(t *testing.T) {
	for _, options := range []any{
		aws.Options{}, messagebird.Options{}, plivo.Options{}, smpp.Options{}, telnyx.Options{}, twilio.Options{}, vonage.Options{}, webhook.Options{},
	} {
		v := reflect.TypeOf(options)
		for i := range v.NumField() {
			field := v.Field(i)
			_, tagged := field.Tag.Lookup("yaml")
			if part := field.Type.Kind() == reflect.Func || field.Type.Kind() == reflect.Pointer && field.Type.Elem().Kind() == reflect.Struct; tagged == part {
				t.Errorf("%v.%s: it has a yaml tag: %v", v, field.Name, tagged)
			}
		}
	}
}

func TestSettingsAreDecodedByTag(t *testing.T) {
	var o struct {
		Name   string        `yaml:"called"`
		Pause  time.Duration `yaml:"pause"`
		Hidden int
	}
	decode := func(text string) error {
		var s Settings
		if err := yaml.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		return s.decode(&o, "")
	}
	if err := decode("{called: a, pause: 2s}"); err != nil || o.Name != "a" || o.Pause != 2*time.Second {
		t.Errorf("decode = %v; the options are %+v", err, o)
	}
	for _, text := range []string{"{name: a}", "{hidden: 1}", "{pause: soon}"} {
		if err := decode(text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
