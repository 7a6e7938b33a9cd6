package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/atomicfile"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

type devCommand struct {
	Addr        string `default:"127.0.0.1:4100" placeholder:"ADDRESS" help:"Where to listen: HOST:PORT or unix:PATH; port 0 picks a free port. Default ${default}."`
	AllowRemote bool   `name:"allow-remote" help:"Listen on an address that other machines can reach. Anyone who reaches it can read the messages."`
	Store       string `default:"sqlite:.countersign/dev.db" placeholder:"STORE" help:"Where all data is stored: sqlite:PATH, with the keys in files next to it, or a postgres:// URL. Default ${default}."`
	Keyset      string `placeholder:"SOURCE" help:"Keys that seal stored secrets, as for serve. Default a file next to the SQLite store, or .countersign/dev.keyset, created if it is missing."`
	JSON        bool   `name:"json" help:"Print one line of JSON with the url and the api_key when ready, and nothing else."`
	APIKey      string `name:"api-key" placeholder:"sk_test_…" help:"The API key of the environment sandbox, for tests that must know it beforehand: sk_test_ and 8 to 56 letters, digits or _. Default a new one, which is kept."`
	Seed        string `placeholder:"FILE" help:"Fill a new store with the environments, keys, users, factors and webhook endpoints of a YAML or JSON file."`
	Clock       bool   `help:"Let tests move the clock of the server forward, with POST /dev/clock. Needs a SQLite store."`
	Webhook     string `name:"webhook" placeholder:"URL" help:"Send all events as webhooks to this URL, such as http://127.0.0.1:3000/hook. The endpoint and its secret are kept for the next start."`
	TLS         bool   `name:"tls" help:"Serve HTTPS with a self-signed certificate that is created for this machine."`

	Settings config.Config `embed:""`
}

func (devCommand) Help() string {
	return `Starts a server that is ready to try: with its own store and keys, an environment "sandbox" with an API key, and,
instead of a phone, an inbox at /dev/inbox. The store is kept for the next start; to begin with an empty one, delete the
directory .countersign. Not for production: every client that reaches the address can read the inbox. Therefore dev reads
its settings only from flags, not from environment variables, and opens only stores that it created.

Examples:

  countersign dev
  countersign dev --addr 127.0.0.1:0 --json
  countersign dev --webhook http://127.0.0.1:3000/hook
  countersign dev --store sqlite:ci/dev.db --api-key sk_test_ci_000000 --seed seed.yaml
  countersign dev --tls`
}

const (
	devEnvironment = "sandbox"
	devFiles       = ".countersign/dev" // start of the names of files for a store that is not a file
)

func (d *devCommand) Run(ctx context.Context, con console, parsed *kong.Context) error {
	for _, flag := range parsed.Selected().Flags {
		if name := variable(flag); os.Getenv(name) != "" {
			con.notef("countersign: dev ignores %s; it takes its settings only from flags\n", name)
		}
	}
	if !d.AllowRemote && !config.IsLocal(d.Addr) {
		return fmt.Errorf("--addr %s can be reached from other machines, and the inbox of dev needs no key; "+
			"give --allow-remote if they may read it, or --addr 127.0.0.1:4100", d.Addr)
	}
	if err := config.CheckStore(d.Store); err != nil {
		return err
	}
	if d.Clock && config.IsPostgres(d.Store) {
		return errors.New("--clock needs a SQLite store: a node whose clock differs from that of PostgreSQL refuses requests")
	}
	seeds, err := readSeed(d.Seed)
	if err != nil {
		return fmt.Errorf("--seed: %w", err)
	}
	path, ok := config.SQLitePath(d.Store)
	if !ok {
		path = devFiles
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := d.trySeed(ctx, seeds, path+".seed"); err != nil {
		return fmt.Errorf("--seed: %w", err)
	}
	if err := server.ClaimDevelopment(ctx, d.Store, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	listener, err := d.choosePort()
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close() // after a fault; otherwise it is closed already
	}
	cfg, err := d.configure(path)
	if err != nil {
		return err
	}
	log, err := newLogger(con.err, cfg.LogFormat, cfg.LogLevel)
	if err != nil {
		return err
	}
	keepWithoutReader()
	with := server.Parts{OpenAPI: countersign.OpenAPI, Logger: log, Version: version(), Faults: true}
	if listener != nil {
		with.Inherited = func(addr string) net.Listener {
			if addr != d.Addr {
				return nil
			}
			return listener
		}
	}
	var key string // the page at / is served when it is known
	with.Key = func() string { return key }
	// Without --clock, a store with a clock that was moved keeps its time.
	moved, err := readDevClock(path + ".clock")
	if err != nil {
		return err
	}
	with.Now = moved.Now
	if d.Clock {
		with.Clock = moved
	}
	box, err := server.NewSandbox(ctx, cfg, with, moved.Reset)
	if err != nil {
		return err
	}
	srv := box.Server()
	if d.AllowRemote && !config.IsLocal(d.Addr) {
		log.Warn("other machines can reach this server: its inbox needs no key, and nothing is encrypted without --tls", "addr", d.Addr)
	}
	key, err = d.key(ctx, srv.Access(), path+".apikey")
	if err != nil {
		return errors.Join(err, box.Close())
	}
	if err := seeds.fill(ctx, srv, path+".seed"); err != nil {
		return errors.Join(fmt.Errorf("--seed: %w", err), box.Close())
	}
	webhookSecret, err := d.webhookSecret(ctx, srv)
	if err != nil {
		return errors.Join(err, box.Close())
	}
	if err := box.Keep(ctx); err != nil {
		return errors.Join(err, box.Close())
	}
	ln, url, err := box.Server().Listen()
	if err != nil {
		return errors.Join(err, box.Close())
	}
	if d.JSON {
		ready := map[string]string{"url": url, "api_key": key}
		if webhookSecret != "" {
			ready["webhook_secret"] = webhookSecret
		}
		err = json.NewEncoder(con.out).Encode(ready)
	} else {
		con.printf("%s", d.welcome(url, key, cfg.TLSCert, webhookSecret))
	}
	return errors.Join(err, box.Serve(ctx, ln), box.Close())
}

// choosePort listens at an address with the port 0, and puts the port that the system has chosen into d.Addr:
// receipts name the address of the server, which must be known before it starts. For other addresses it returns nil.
func (d *devCommand) choosePort() (net.Listener, error) {
	host, port, err := net.SplitHostPort(d.Addr)
	if err != nil || port != "0" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", d.Addr)
	if err != nil {
		return nil, fmt.Errorf("--addr: %w", err)
	}
	if _, port, err = net.SplitHostPort(ln.Addr().String()); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	d.Addr = net.JoinHostPort(host, port)
	return ln, nil
}

// configure returns the settings. Unlike serve, dev logs text, has an inbox and allows
// plain HTTP.
func (d *devCommand) configure(path string) (config.Config, error) {
	cfg := d.settings()
	cfg.Addr, cfg.Store, cfg.Keyset = d.Addr, d.Store, d.Keyset
	if cfg.PublicURL == "" && !strings.HasPrefix(d.Addr, "unix:") {
		cfg.PublicURL = "http://" + d.Addr
		if d.TLS {
			cfg.PublicURL = "https://" + d.Addr
		}
	}
	if cfg.LogFormat == "" {
		cfg.LogFormat = "text"
	}
	if cfg.Keyset == "" && config.IsPostgres(d.Store) {
		keyset := path + ".keyset"
		if _, err := secret.CreateKeysetFile(keyset); err != nil && !errors.Is(err, fs.ErrExist) {
			return cfg, err
		}
		cfg.Keyset = "file:" + keyset
	}
	if d.TLS {
		cfg.TLSCert, cfg.TLSKey = path+".crt", path+".key"
		if err := server.MakeCertificate(cfg.TLSCert, cfg.TLSKey); err != nil {
			return cfg, fmt.Errorf("make a certificate: %w", err)
		}
	}
	return cfg, nil
}

// settings returns the settings that do not name files of dev.
func (d *devCommand) settings() config.Config {
	cfg := d.Settings
	cfg.Inbox, cfg.PlainHTTP = true, true
	cfg.WebhookAllow = append(slices.Clone(cfg.WebhookAllow), "127.0.0.0/8", "::1/128") // the developer's own server
	return cfg
}

// key returns the API key of --api-key, or else the one kept in a file. It makes a key that
// does not exist.
func (d *devCommand) key(ctx context.Context, keys *access.Service, path string) (string, error) {
	env, err := keys.Environment(ctx, devEnvironment)
	if errors.Is(err, access.ErrNotFound) {
		env, err = keys.CreateEnvironment(ctx, mfa.Caller{}, devEnvironment, false)
	}
	if err != nil {
		return "", err
	}
	by := mfa.Caller{Environment: env}
	if d.APIKey == "" {
		return keptKey(ctx, keys, by, path)
	}
	switch known, err := keys.Authenticate(ctx, d.APIKey); {
	case err == nil && known.Environment.ID == env.ID:
		return d.APIKey, nil
	case err == nil:
		return "", fmt.Errorf("--api-key: the key belongs to the environment %q", known.Environment.Name)
	case !errors.Is(err, access.ErrUnauthorized):
		return "", err
	}
	_, _, err = keys.CreateKey(ctx, by, access.KeyParams{Text: secret.NewString(d.APIKey)})
	if errors.Is(err, access.ErrExists) {
		err = errors.New("the key was revoked or has expired; choose another one")
	}
	if err != nil {
		return "", fmt.Errorf("--api-key: %w", plainError(err))
	}
	return d.APIKey, nil
}

// keptKey returns the API key kept in a file, or makes one and keeps it there.
func keptKey(ctx context.Context, keys *access.Service, by mfa.Caller, path string) (string, error) {
	kept, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if key := strings.TrimSpace(string(kept)); key != "" {
		if _, err := keys.Authenticate(ctx, key); err == nil {
			return key, nil
		} else if !errors.Is(err, access.ErrUnauthorized) {
			return "", err
		}
	}
	key, _, err := keys.CreateKey(ctx, by, access.KeyParams{})
	if err != nil {
		return "", err
	}
	return key.Reveal(), atomicfile.Replace(path, []byte(key.Reveal()+"\n"), 0o600)
}

// webhookSecret creates the endpoint of --webhook unless it exists, enables it, and returns
// its secret. Without the flag it returns "".
func (d *devCommand) webhookSecret(ctx context.Context, srv *server.Server) (string, error) {
	if d.Webhook == "" {
		return "", nil
	}
	env, err := srv.Access().Environment(ctx, devEnvironment)
	if err != nil {
		return "", err
	}
	by := mfa.Caller{Environment: env, Operator: accountName()}
	types := make([]string, len(mfa.EventTypes))
	for i, t := range mfa.EventTypes {
		types[i] = string(t)
	}
	creation := sha256.Sum256([]byte("countersign dev --webhook " + d.Webhook)) // the next start finds the same endpoint
	e, err := srv.Webhooks().Create(ctx, by, webhook.Params{URL: d.Webhook, Events: types, Creation: creation})
	if err == nil && e.Status != webhook.Enabled {
		enabled := webhook.Enabled
		e, err = srv.Webhooks().Update(ctx, by, e.ID, webhook.Change{Status: &enabled})
	}
	if err != nil {
		return "", fmt.Errorf("--webhook: %w", plainError(err))
	}
	return e.Current.Reveal(), nil
}

func (d *devCommand) welcome(url, key, cert, webhookSecret string) string {
	curl, trust := "curl -sS", ""
	if path, ok := config.UnixSocket(url); ok {
		curl += " --unix-socket " + path
		url = "http://localhost"
	}
	if cert != "" {
		curl += " --cacert " + cert
		trust = "\n  Trust     " + cert + "  (NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, curl --cacert)"
	}
	if webhookSecret != "" {
		trust += "\n  Webhooks  " + d.Webhook + "\n            secret " + webhookSecret
	}
	return strings.NewReplacer("{url}", url, "{key}", key, "{command}", os.Args[0], "{store}", config.StoreName(d.Store), "{curl}", curl, "{trust}", trust).Replace(welcome)
}

// welcome shows a whole life of a factor in commands that can be pasted as they are.
const welcome = `
Countersign is ready, for development.

  URL       {url}
  API key   {key}
  Start     {url}/
  Inbox     {url}/dev/inbox
  Explorer  {url}/dev/explorer
  Console   {url}/console
  Events    {command} events tail --store {store}
  Data      {store}{trust}

Enroll an authenticator app. This writes qr.png: open it, and scan it with the app.

  export API_KEY={key}
  {curl} {url}/auth/factors/enroll -H "Authorization: Bearer $API_KEY" \
    -d '{"type":"totp","totp_issuer":"Example","totp_user":"you@example.com"}' > factor.json
  sed 's/.*base64,\([^"]*\)".*/\1/' factor.json | base64 -d > qr.png

Challenge it, and verify the code that the app shows: type it in place of 123456.

  export FACTOR_ID=$(sed 's/.*"id":"\([^"]*\)".*/\1/' factor.json)
  {curl} -X POST {url}/auth/factors/$FACTOR_ID/challenge -H "Authorization: Bearer $API_KEY" | tee challenge.json; echo
  CHALLENGE_ID=$(sed 's/.*"id":"\([^"]*\)".*/\1/' challenge.json)
  {curl} {url}/auth/challenges/$CHALLENGE_ID/verify -H "Authorization: Bearer $API_KEY" -d '{"code":"123456"}'; echo

Ctrl-C stops the server. What you enrolled is still here next time.

`
