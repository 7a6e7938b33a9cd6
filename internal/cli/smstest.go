package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/server"
)

type sendTestSMS struct {
	operatorFlags
	keysetFlag
	reasonFlag
	Env          string        `placeholder:"NAME" help:"A production environment. Default the only one."`
	SMS          string        `name:"sms" type:"path" placeholder:"FILE" help:"The file of providers, as for serve --sms."`
	SMSCountries []string      `name:"sms-countries" sep:"," placeholder:"CC" help:"Countries to which messages may go, as for serve."`
	SMSSpacing   time.Duration `name:"sms-spacing" hidden:""`
	SMSLimits    []string      `name:"sms-limits" sep:"," hidden:""`
	JSON         bool          `name:"json" help:"Print JSON."`
	Phone        string        `arg:"" help:"The phone number in international form, such as +16073517112."`
}

func (sendTestSMS) Help() string {
	return `Sends "Countersign test message", without a code, through the providers of the server. The message costs what every
message costs. It is refused as a message with a code would be, for example to a country that is not listed, and it counts
for the limits. An accepted message may still not arrive: look at the phone, or search the provider's records for the id
that this command prints. Exit code 1 means that no provider accepted the message.

Examples:

  countersign sms send-test +16073517112 --config /etc/countersign.yaml
  countersign sms send-test +16073517112 --env production --sms /etc/countersign/sms.yaml --store sqlite:/var/lib/countersign/countersign.db`
}

func (c *sendTestSMS) Run(ctx context.Context, con console) error {
	cfg := c.config()
	cfg.Keyset, cfg.SMS, cfg.SMSCountries, cfg.SMSSpacing, cfg.SMSLimits = c.Keyset, c.SMS, c.SMSCountries, c.SMSSpacing, c.SMSLimits
	return server.WithOperator(ctx, cfg, func(s *operator.Service) error {
		env, err := c.productionEnvironment(ctx, s)
		if err != nil {
			return err
		}
		m, err := s.SendTest(ctx, c.by(c.Reason), env, c.Phone)
		if shown := c.show(con, env, m, err); shown != nil {
			return shown
		}
		return c.explain(env, err)
	})
}

// productionEnvironment returns the environment of the flag, or the only one that sends
// messages.
func (c *sendTestSMS) productionEnvironment(ctx context.Context, s *operator.Service) (mfa.Environment, error) {
	if c.Env != "" {
		return c.environment(ctx, s, c.Env)
	}
	all, err := s.Environments(ctx)
	if err != nil {
		return mfa.Environment{}, err
	}
	var found []mfa.Environment
	var names []string
	for _, e := range all {
		if e.Production {
			found, names = append(found, e), append(names, e.Name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return mfa.Environment{}, errors.New("there is no production environment, and a sandbox sends no messages to providers; " +
			"'countersign environment create NAME --production' makes one")
	}
	return mfa.Environment{}, fmt.Errorf("name one of the production environments with --env: %s", strings.Join(names, ", "))
}

// show prints the result of a test message. In text, an error is left to the caller.
func (c *sendTestSMS) show(con console, env mfa.Environment, m mfa.TestMessage, err error) error {
	if c.JSON {
		answer := map[string]any{
			"environment": env.Name, "outcome": operator.TestOutcomeOf(m, err), "country": m.Country, "segments": m.Segments,
			"provider": m.Provider, "provider_message_id": m.ID,
		}
		if err != nil {
			answer["error"] = c.explain(env, err).Error()
		}
		return con.printJSON(answer)
	}
	if m.Provider == "" {
		return nil
	}
	segments := "1 segment"
	if m.Segments != 1 {
		segments = fmt.Sprintf("%d segments", m.Segments)
	}
	con.printf("accepted by %s: %s to %s in %s\n", m.Provider, segments, m.Country, env.Name)
	if m.ID != "" {
		con.printf("the provider's id: %s\n", m.ID)
	}
	return nil
}

// explain returns the error of a test message with what to do about it; nil for nil.
func (c *sendTestSMS) explain(env mfa.Environment, err error) error {
	limit, limited := errors.AsType[*delivery.LimitError](err)
	switch {
	case errors.Is(err, delivery.ErrSandboxNumber):
		return fmt.Errorf("%s is a sandbox, which sends no messages to providers; name a production environment with --env", env.Name)
	case errors.Is(err, delivery.ErrInvalid):
		return fmt.Errorf("%w; write it with + and the code of the country, as in +16073517112", err)
	case errors.Is(err, delivery.ErrCountry) && !strings.Contains(c.Phone, "+"):
		return fmt.Errorf("%w; the number has no +, so its first digits are read as the code of a country", err)
	case errors.Is(err, delivery.ErrCountry):
		return fmt.Errorf("%w; add it to 'countries' in the file of providers, or to --sms-countries", err)
	case errors.Is(err, delivery.ErrPrefixPaused):
		return fmt.Errorf("%w, for another %v; 'countersign sms release' ends the pause", err, limit.After.Round(time.Second))
	case limited:
		return fmt.Errorf("%w; try again in %v", err, limit.After.Round(time.Second))
	case errors.Is(err, delivery.ErrUncertain):
		return fmt.Errorf("%w; look at the phone before you try again", err)
	}
	return err
}
