package cli

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/server"
)

type healthCommand struct {
	Config  configFlag `name:"config" placeholder:"FILE" help:"The configuration file of the server, from which this command takes the settings that it has flags for."`
	Addr    string     `default:":4100" placeholder:"ADDRESS" help:"Where the server listens: HOST:PORT or unix:PATH. Default ${default}."`
	TLSCert string     `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate of the server: if it has one, this command uses HTTPS."`
	Domains []string   `name:"domain" sep:"," placeholder:"NAME" help:"Domains for which the server obtains certificates: if it has one, this command uses HTTPS."`
}

func (healthCommand) Help() string {
	return `Asks a server on this machine whether it can answer requests (GET /readyz), for the health checks of container engines.
The exit code is 1 if it cannot, or does not answer within 5 seconds. The name in the certificate is not checked, because
the address is on this machine and nothing secret is sent.

Examples:

  countersign health
  countersign health --config /etc/countersign.yaml`
}

func (h *healthCommand) Run(ctx context.Context, con console) error {
	cfg := config.Config{Addr: h.Addr, TLSCert: h.TLSCert, Domains: h.Domains}
	if err := server.Health(ctx, cfg); err != nil {
		return err
	}
	con.printf("ready\n")
	return nil
}
