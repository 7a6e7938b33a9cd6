package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An SMSText is one of the texts of a file of SMS providers.
type SMSText = smsfile.Text

// CheckSMS reads the file of providers at path as a server does, and returns its texts.
func CheckSMS(path string) ([]SMSText, error) { return smsfile.Check(path) }

// openDelivery opens the providers of text messages that the configuration names.
func (s *Server) openDelivery(parts Parts) (err error) {
	if s.cfg.SMS == "" || parts.Sender != nil {
		return nil
	}
	opts := smsfile.Options{
		Countries: s.cfg.SMSCountries,
		Record:    s.receive,
		Observe:   observeTries(s.log, s.metrics),
		Logger:    s.log,
	}
	if s.tracer != nil {
		opts.Trace = traceTry
	}
	s.delivery, err = smsfile.Open(s.cfg.SMS, opts)
	if err != nil {
		return err
	}
	watchProviders(s.delivery.Router, s.metrics)
	return nil
}

// observeTries logs every try, and measures it if m is not nil.
func observeTries(log *slog.Logger, m *metrics.Metrics) func(sms.Try) {
	return func(t sms.Try) {
		logTry(log, t)
		if m != nil {
			m.Try(t.Provider, t.Took)
		}
	}
}

// logTry logs a try: at level warn if it failed, and at level info if the message was
// accepted after another try had failed.
func logTry(log *slog.Logger, t sms.Try) {
	challenge, _, _ := strings.Cut(t.Reference, "-")
	attrs := []any{
		"provider", t.Provider, "challenge", "auth_challenge_" + challenge, "try", t.Number, "took_ms", float64(t.Took.Microseconds()) / 1000,
	}
	switch {
	case t.Kind != "":
		log.Warn("message not accepted", append(attrs, "kind", string(t.Kind), "code", t.Code, "reason", t.Reason)...)
	case t.Number > 1:
		log.Info("message accepted by another provider", attrs...)
	default:
		log.Debug("message accepted", attrs...)
	}
}

// watchProviders shows the health of the providers of a router in m. Both may be nil.
func watchProviders(router *sms.Router, m *metrics.Metrics) {
	if router == nil || m == nil {
		return
	}
	m.Providers(func() []metrics.Provider {
		var all []metrics.Provider
		for _, h := range router.Health() {
			all = append(all, metrics.Provider{
				Name:     h.Provider,
				Paused:   h.State != sms.Closed,
				Accepted: h.Accepted, Refused: h.Refused, Unavailable: h.Unavailable, Uncertain: h.Uncertain,
			})
		}
		return all
	})
}

// warnRules logs a warning about rules that may not have the effect that their author
// expects.
func (s *Server) warnRules(ctx context.Context, rules smsfile.Rules) error {
	environments, err := s.store.access.Environments(ctx)
	if err != nil {
		return err
	}
	for name := range rules.Of {
		if !slices.ContainsFunc(environments, func(e mfa.Environment) bool { return e.Name == name }) {
			s.log.Warn("the file of SMS providers has rules for an environment that does not exist", "environment", name)
		}
	}
	if !rules.Sends() {
		s.log.Warn("production environments send no messages: neither the file of SMS providers nor --sms-countries names a country")
	}
	return nil
}
