package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// The states of a Finding.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // a server starts, but something needs attention
	CheckFailed  = "failed"  // a server does not start, or cannot be used
)

// A Finding is the result of one check.
type Finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Action  string `json:"action,omitempty"` // what to do; empty if Status is CheckOK
}

// Check reports what New would find with cfg. Unlike New, it creates and changes nothing, and
// it reports all problems at once. A server with the same configuration may be running. A nil
// now means time.Now.
func Check(ctx context.Context, cfg config.Config, now func() time.Time) []Finding {
	c := &checker{cfg: cfg, now: wallclock.Or(now)}
	c.checkSettings()
	c.checkTLS()
	c.checkSMS()
	c.checkSink()
	c.checkTelemetry()
	c.checkWebhooks()
	c.checkModels()
	c.checkProvider()
	c.checkStore(ctx)
	c.checkBackups()
	c.checkOpenFiles()
	c.checkListen(ctx)
	return c.found
}

// A checker collects findings.
type checker struct {
	cfg   config.Config
	now   func() time.Time
	found []Finding
}

func (c *checker) ok(check, format string, args ...any) {
	c.found = append(c.found, Finding{check, CheckOK, fmt.Sprintf(format, args...), ""})
}

func (c *checker) warn(check, action, format string, args ...any) {
	c.found = append(c.found, Finding{check, CheckWarning, fmt.Sprintf(format, args...), action})
}

func (c *checker) fail(check, action, format string, args ...any) {
	c.found = append(c.found, Finding{check, CheckFailed, fmt.Sprintf(format, args...), action})
}

// failed reports an error. If its text does not say what to do, after a semicolon, action
// does.
func (c *checker) failed(check, action string, err error) {
	message, own, ok := strings.Cut(err.Error(), "; ")
	if ok {
		action = own
	}
	c.fail(check, action, "%s", message)
}

func (c *checker) checkSettings() {
	if err := checkSettings(c.cfg); err != nil {
		for _, err := range parts(err) {
			c.failed("settings", "correct the value", err)
		}
		return
	}
	c.ok("settings", "every value is possible")
}

// parts returns the errors that errors.Join has joined.
func parts(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, part := range joined.Unwrap() {
		all = append(all, parts(part)...)
	}
	return all
}

func (c *checker) checkWebhooks() {
	switch {
	case c.cfg.Webhooks == "off" && !config.IsPostgres(c.cfg.Store):
		c.warn("webhooks", "set webhooks to on, unless no endpoint exists", "no process delivers webhooks: webhooks is off, and a SQLite store has one node")
	case c.cfg.Webhooks == "off":
		c.ok("webhooks", "other nodes must deliver them: webhooks is off on this node")
	case len(c.cfg.WebhookAllow) > 0:
		c.ok("webhooks", "this node delivers them, also to %s", strings.Join(c.cfg.WebhookAllow, ", "))
	default:
		c.ok("webhooks", "this node delivers them, to public addresses only")
	}
}

// checkProvider checks the identity provider of the console.
func (c *checker) checkProvider() {
	const check = "console_oidc"
	if c.cfg.ConsoleOIDCIssuer == "" {
		return
	}
	c.checkPrivate(check, c.cfg.ConsoleOIDCClientSecret)
	origin, err := c.cfg.ConsoleOrigin(c.cfg.ConsoleAddr)
	if err != nil {
		return // checkSettings reports it
	}
	provider, err := newProvider(c.cfg, origin, c.now)
	if err != nil {
		c.failed(check, "correct the settings of the identity provider", err)
		return
	}
	if err := provider.Reach(); err != nil {
		c.warn(check, "check the URL, the network and the certificate; until it answers, only passkeys sign operators in", "%v", err)
		return
	}
	c.ok(check, "%s answers", c.cfg.ConsoleOIDCIssuer)
}

func (c *checker) checkSMS() {
	const check = "sms"
	if c.cfg.SMS == "" {
		c.ok(check, "no file of providers is set: production environments send no messages")
		return
	}
	c.checkPrivate(check, c.cfg.SMS)
	if _, err := CheckSMS(c.cfg.SMS); err != nil {
		c.failed(check, "correct the file", err)
		return
	}
	rules, err := smsfile.ReadRules(c.cfg.SMS)
	switch {
	case err != nil:
		c.failed(check, "correct the file", err)
	case !rules.Sends() && len(c.cfg.SMSCountries) == 0:
		c.warn(check, "name countries in the file or in sms_countries", "%s is valid, but it and sms_countries name no country: production environments send no messages", c.cfg.SMS)
	default:
		c.ok(check, "%s is valid", c.cfg.SMS)
	}
}

func (c *checker) checkOpenFiles() {
	const check = "open_files"
	files := openFiles()
	kept := connectionsWithin(files, c.cfg.MaxConnections)
	switch {
	case files == 0:
		c.warn(check, "compare 'ulimit -n' of the service with max_connections", "the limit on open files is not known on this system")
	case kept < c.cfg.MaxConnections:
		c.warn(check, "raise the limit of the service, with 'ulimit -n' or LimitNOFILE, or lower max_connections",
			"%d open files are allowed here, which is enough for %d of %d connections", files, kept, c.cfg.MaxConnections)
	default:
		c.ok(check, "%d open files are allowed here, enough for %d connections", files, c.cfg.MaxConnections)
	}
}
