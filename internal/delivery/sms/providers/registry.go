// Package providers is the registry of SMS providers. It opens a provider by the type
// and the settings that a file gives.
//
// To add a provider, write a package that has Options with yaml tags and a New function,
// and add one line to registry. Settings documents which fields can be set.
package providers

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

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

// registry has the types of provider by name.
var registry = map[string]opener{
	"aws":         provider(aws.New),
	"messagebird": provider(messagebird.New),
	"plivo":       provider(plivo.New),
	"smpp":        connected(smpp.New, func(o *smpp.Options, p Parts) { o.OnReceipt, o.Logger = p.Record, p.Logger }),
	"telnyx":      provider(telnyx.New),
	"twilio":      provider(twilio.New),
	"vonage":      provider(vonage.New),
	"webhook":     provider(webhook.New),
}

// Settings are the settings of one provider by key. A field of its Options is set by the
// key of its yaml tag. A secret.String is also set from a file by the key with _file, or
// from an environment variable by the key with _env. A []byte is the content of a file.
// A field without a tag cannot be set: a clock, for example.
type Settings map[string]yaml.Node

// Parts are the things that a provider gets from the process, in addition to its
// settings.
type Parts struct {
	Dir    string                                   // the paths of settings are relative to it
	Record func(context.Context, sms.Receipt) error // receives the receipts that arrive over the provider's own connection
	Logger *slog.Logger
}

// Open returns a new provider of a type. If it is an io.Closer, the caller must close it.
func Open(typ string, settings Settings, parts Parts) (sms.Provider, error) {
	open, ok := registry[typ]
	if !ok {
		types := slices.Sorted(maps.Keys(registry))
		last := len(types) - 1
		return nil, fmt.Errorf("there is no type %q; there are %s and %s", typ, strings.Join(types[:last], ", "), types[last])
	}
	return open(settings, parts)
}

// An opener makes a provider of one type.
type opener func(Settings, Parts) (sms.Provider, error)

// provider returns the opener of a provider that needs only its settings.
func provider[Options any, P sms.Provider](open func(Options) (P, error)) opener {
	return connected(open, func(*Options, Parts) {})
}

// connected returns the opener of a provider that also needs Parts. fill adds them to
// the options.
func connected[Options any, P sms.Provider](open func(Options) (P, error), fill func(*Options, Parts)) opener {
	return func(settings Settings, parts Parts) (sms.Provider, error) {
		var o Options
		if err := settings.decode(&o, parts.Dir); err != nil {
			return nil, err
		}
		fill(&o, parts)
		p, err := open(o)
		if err != nil {
			return nil, err // not p: a nil P would make an interface that is not nil
		}
		return p, nil
	}
}
