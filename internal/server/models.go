package server

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/countersign-mfa/countersign/internal/passkey"
)

// checkModels checks the file of webauthn_mds.
func (c *checker) checkModels() {
	const check = "webauthn_mds"
	if c.cfg.WebAuthnMDS == "" {
		return
	}
	models, err := readModels(c.cfg.WebAuthnMDS, c.now(), slog.New(slog.DiscardHandler))
	switch {
	case err != nil:
		c.failed(check, "load the file again from https://mds3.fidoalliance.org", err)
	case models.NextUpdate.Before(c.now()):
		c.warn(check, "load a newer file", "%s was due for an update on %s", c.cfg.WebAuthnMDS, models.NextUpdate.Format(time.DateOnly))
	default:
		c.ok(check, "%s has %d models", c.cfg.WebAuthnMDS, models.Number)
	}
}

// readModels reads the models of authenticators in a file; "" means none.
func readModels(file string, now time.Time, log *slog.Logger) (*passkey.Models, error) {
	if file == "" {
		return nil, nil
	}
	blob, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--webauthn-mds: %w", err)
	}
	models, err := passkey.ReadModels(blob, now)
	if err != nil {
		return nil, fmt.Errorf("--webauthn-mds: %s: %w", file, err)
	}
	if models.Unreadable > 0 {
		log.Warn("some models of the FIDO metadata cannot be read", "unreadable", models.Unreadable, "models", models.Number)
	}
	if models.NextUpdate.Before(now) {
		log.Warn("the FIDO metadata is old; load a newer file and restart", "file", file, "due", models.NextUpdate.Format(time.DateOnly))
	}
	return models, nil
}
