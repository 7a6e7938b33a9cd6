package server

import (
	"errors"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// checkSettings returns an error that names every setting that a server refuses before it
// reads a file or opens the store. The error has one part for each setting.
func checkSettings(cfg config.Config) error {
	errs := []error{cfg.Check()}
	if err := delivery.CheckCountries(cfg.SMSCountries); err != nil {
		errs = append(errs, fmt.Errorf("--sms-countries: %w", err))
	}
	if _, err := remoteOf(cfg); err != nil {
		errs = append(errs, err)
	}
	if _, err := webhook.ParseAllow(cfg.WebhookAllow); err != nil {
		errs = append(errs, fmt.Errorf("--webhook-allow: %w", err))
	}
	return errors.Join(errs...)
}
