// Package config says what a server can be told. Only internal/cli and
// internal/server read it; everything else gets plain values.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/countersign-mfa/countersign/internal/pgurl"
)

// Config is all that one server process is told. The tags are for the command
// line, where each field is a flag, an environment variable COUNTERSIGN_… and a
// key of the configuration file. Durations are written 90s, 10m or 24h. A new setting is one
// field here and its use: Default, the flags and the table in docs/operating.md are made from
// the tags, where note is Markdown that only the table shows.
type Config struct {
	Addr   string `kong:"-"` // host:port to listen on, where port 0 picks a free one, or unix:PATH
	Store  string `kong:"-"` // sqlite:PATH or a postgres:// URL
	Keyset string `kong:"-"` // file:PATH, env:NAME or exec:COMMAND; default a file next to the SQLite store, created if missing
	Inbox  bool   `kong:"-"` // keep messages in memory and show them at /dev/inbox without a key

	TLSCert string `name:"tls-cert" type:"path" group:"Transport" placeholder:"FILE" note:"Certificate and key are compared every five seconds while connections arrive, so any modification time is noticed. If they do not match, the old pair stays in use and the log says so." help:"Certificate chain in PEM; serves HTTPS. A changed file is loaded without a restart."`
	TLSKey  string `name:"tls-key" type:"path" group:"Transport" placeholder:"FILE" help:"Private key of the certificate in PEM."`

	Domains       []string `name:"domain" group:"Transport" sep:"," placeholder:"NAME" note:"See [certificates by ACME](#certificates-by-acme)." help:"Names of the server, such as mfa.example.com: it obtains and renews their certificates by ACME and serves HTTPS. Port 443 of each name must lead to it. With this setting you accept the terms of the authority. Default none."`
	ACMEEmail     string   `name:"acme-email" group:"Transport" placeholder:"ADDRESS" help:"Address to which the authority may write. Default none."`
	ACMEDirectory string   `name:"acme-directory" default:"https://acme-v02.api.letsencrypt.org/directory" group:"Transport" placeholder:"URL" help:"Directory of the certificate authority. Default ${default}."`
	ACMERoots     string   `name:"acme-roots" type:"path" group:"Transport" placeholder:"FILE" help:"Certificates in PEM with which the certificate of the authority's own server is checked, for an authority of your own. Default the roots of the system."`

	PlainHTTP bool `name:"plain-http" group:"Transport" help:"Serve plain HTTP to other machines, because a proxy in front terminates TLS."`

	PublicURL string `name:"public-url" group:"Transport" placeholder:"URL" note:"See [receipts.md](receipts.md)." help:"Address at which clients reach the API, such as https://mfa.example.com. Signed receipts name it as their issuer, followed by /environments/ and the name of the environment."`

	TrustedProxies []string `name:"trusted-proxies" group:"Transport" sep:"," placeholder:"CIDR" note:"See [the request log](#the-request-log)." help:"Proxies whose header names the client in the log: networks such as 10.0.0.0/8, addresses, or unix for the unix socket. Default none."`
	ProxyHeader    string   `name:"proxy-header" enum:"x-forwarded-for,forwarded" default:"x-forwarded-for" group:"Transport" placeholder:"NAME" help:"Header in which these proxies name their client: x-forwarded-for or forwarded. The other one is not read. Default ${default}."`

	ChallengeTTL           time.Duration `name:"challenge-ttl" default:"10m" group:"Rules" placeholder:"DURATION" help:"How long a challenge can be verified; at most 10m. Default ${default}."`
	TOTPWindow             int           `name:"totp-window" default:"1" group:"Rules" placeholder:"STEPS" help:"Time steps that are accepted before and after the current one, 0 to 2. With 0, differences of clocks are not learned. Default ${default}."`
	TOTPIssuer             string        `name:"totp-issuer" group:"Rules" placeholder:"NAME" help:"Issuer of TOTP factors enrolled without one. Default the environment's name."`
	TOTPChallengeExpiresAt string        `name:"totp-challenge-expires-at" enum:"send,omit" default:"send" group:"Rules" placeholder:"send|omit" note:"The hosted service documents omit; Java libraries before 5.0 then fail." help:"Whether TOTP challenges have expires_at. Some client libraries need it. Default ${default}."`

	WebAuthnMDS string `name:"webauthn-mds" type:"path" group:"Rules" placeholder:"FILE" note:"See [webauthn.md](webauthn.md#models-of-authenticators)." help:"Metadata BLOB of the FIDO Alliance, from https://mds3.fidoalliance.org, for environments with webauthn_attestation=direct. It is read at the start. Default none."`

	RateLimit         int           `name:"rate-limit" default:"6000" group:"Limits" placeholder:"N" help:"Requests per minute and API key. Default ${default}."`
	MaxConnections    int           `name:"max-connections" default:"4096" group:"Limits" placeholder:"N" note:"See [connections](#connections)." help:"How many connections are kept, and how many requests of one environment are answered at once, at most 16384. Further connections wait; excess requests receive 503. Default ${default}."`
	ChallengeAttempts int           `name:"challenge-attempts" default:"5" group:"Limits" placeholder:"N" help:"Codes that can be tried per challenge, 1 to 10. Default ${default}."`
	FreeFailures      int           `name:"free-failures" default:"5" group:"Limits" placeholder:"N" help:"Consecutive wrong codes of a factor before it must wait. Default ${default}."`
	FactorFailures    int           `name:"factor-failures" default:"50" group:"Limits" placeholder:"N" help:"Consecutive wrong codes that lock a factor until an operator unlocks it, at most 100. Default ${default}."`
	UserFailures      int           `name:"user-failures" default:"100" group:"Limits" placeholder:"N" note:"The maximum is that of NIST SP 800-63B, 3.2.2." help:"Consecutive wrong codes over all factors of a user that lock the user until an operator unlocks it, at most 100. Default ${default}."`
	SMSSpacing        time.Duration `name:"sms-spacing" default:"30s" group:"Limits" placeholder:"DURATION" help:"Minimum time between two messages to one phone number. Default ${default}."`
	SMSResends        int           `name:"sms-resends" default:"3" group:"Limits" placeholder:"N" help:"How often the code of a challenge can be sent again, 1 to 5. Default ${default}."`
	SMSLimits         []string      `name:"sms-limits" default:"5/10m,10/1h,20/24h" group:"Limits" sep:"," placeholder:"N/DURATION" note:"See [each of two groups](delivery.md#the-messages-of-one-number)." help:"Messages to one phone number in any period of this length: of each verified factor, and of all other factors together. Default ${default}."`

	ChallengeRetention time.Duration `name:"challenge-retention" default:"24h" group:"Storage" placeholder:"DURATION" help:"How long challenges are kept, used or unused. Default ${default}."`
	EventRetention     time.Duration `name:"event-retention" default:"9600h" group:"Storage" placeholder:"DURATION" help:"How long events are kept. Default ${default}, 400 days."`
	StatsRetention     time.Duration `name:"stats-retention" default:"9600h" group:"Storage" placeholder:"DURATION" note:"See [statistics.md](statistics.md)." help:"How long the statistics of each hour are kept; for prefixes of phone numbers at most 93 days. Default ${default}, 400 days."`

	EventsSink        string `name:"events-sink" group:"Events" placeholder:"TARGET" note:"See [siem.md](siem.md)." help:"Where new events are written, one a line: file:PATH, stdout or an https URL. Default none."`
	EventsSinkFormat  string `name:"events-sink-format" enum:"jsonl,ocsf,cef" default:"jsonl" group:"Events" placeholder:"jsonl|ocsf|cef" help:"Format of these events: JSON Lines, OCSF 1.8 or CEF. Default ${default}."`
	EventsSinkHeaders string `name:"events-sink-headers" type:"path" group:"Events" placeholder:"FILE" help:"File of headers for the URL, one a line, such as 'Authorization: Splunk TOKEN'. It is read at the start."`

	SMS string `name:"sms" type:"path" group:"Delivery" placeholder:"FILE" help:"File of the SMS providers, in YAML; see docs/delivery.md. Only production environments send messages."`

	SMSCountries []string `name:"sms-countries" group:"Delivery" sep:"," placeholder:"CC" help:"Countries to which production environments may send messages, such as US,CA,DE. Default none."`

	SMSPrices string `name:"sms-prices" type:"path" group:"Delivery" placeholder:"FILE" note:"See [statistics.md](statistics.md#prices)." help:"File of the prices of messages, in CSV, for the cost in statistics. Default none."`

	Webhooks         string   `name:"webhooks" enum:"on,off" default:"on" group:"Delivery" placeholder:"on|off" help:"Whether this node delivers webhooks. Some node must. Default ${default}."`
	WebhookAllow     []string `name:"webhook-allow" group:"Delivery" sep:"," placeholder:"CIDR" help:"Networks that webhooks may reach although their addresses are not public, such as 10.1.0.0/16. Default none."`
	WebhookPlainHTTP bool     `name:"webhook-plain-http" group:"Delivery" help:"Accept webhook endpoints with http URLs in production environments. Sandboxes always may have them."`

	OperatorAPI string `name:"operator-api" enum:"on,off" default:"off" group:"Transport" placeholder:"on|off" help:"Serve the operator API, /operator/v1, at the address of the API too. It needs operator keys. Default ${default}."`

	MaxClockSkew time.Duration `name:"max-clock-skew" default:"2s" group:"Storage" placeholder:"DURATION" note:"See [clocks](#clocks)." help:"PostgreSQL: maximum difference between the clocks of a node and of the database; a node with a larger one refuses requests. SQLite: how far the clock may be behind the newest row at the start; at least a minute is always accepted. Default ${default}."`

	BackupDir   string        `name:"backup-dir" type:"path" group:"Storage" placeholder:"DIR" note:"See [a schedule](#a-schedule)." help:"SQLite: directory for regular backups, such as /var/backups/countersign. It must exist. Default none: no regular backups."`
	BackupEvery time.Duration `name:"backup-every" default:"24h" group:"Storage" placeholder:"DURATION" help:"SQLite: time from one regular backup to the next. Default ${default}."`
	BackupKeep  int           `name:"backup-keep" default:"7" group:"Storage" placeholder:"N" help:"SQLite: how many regular backups are kept. Default ${default}."`

	StoreMustExist bool `name:"store-must-exist" group:"Storage" help:"Refuse to start if the store does not exist, instead of creating one: a volume that is not mounted looks like a new store."`

	Distribute bool `name:"distribute" group:"Storage" note:"See [scaling.md](scaling.md)." help:"PostgreSQL with Citus: distribute the tables by bucket, unless they are already distributed."`

	IdleTimeout time.Duration `name:"idle-timeout" default:"2m" group:"Process" placeholder:"DURATION" note:"See [behind a proxy](#behind-a-proxy)." help:"How long a connection is kept without a request. A load balancer in front must close its idle connections earlier. Default ${default}."`
	MetricsAddr string        `name:"metrics-addr" group:"Process" placeholder:"ADDRESS" note:"See [metrics](#metrics)." help:"Where Prometheus can read GET /metrics: HOST:PORT or unix:PATH, over plain HTTP on any address, because metrics contain no secrets. Nothing else is served there. Default none."`

	ConsoleAddr             string   `name:"console-addr" group:"Console" placeholder:"ADDRESS" note:"See [console.md](console.md)." help:"Where the web console listens: HOST:PORT or unix:PATH, such as 127.0.0.1:8081. It uses the TLS settings of the server. Without it there is no console."`
	ConsoleURL              string   `name:"console-url" group:"Console" placeholder:"URL" help:"Address of the console in a browser, such as https://console.example.com. Passkeys work only there. It must be given, unless only this machine can reach the console: then it is localhost with the port of the console."`
	ConsoleOIDCIssuer       string   `name:"console-oidc-issuer" group:"Console" placeholder:"URL" help:"Identity provider (OpenID Connect) that signs operators in. Its redirect URL is the address of the console, followed by /console/sign-in/provider/callback. Without it operators use passkeys."`
	ConsoleOIDCClientID     string   `name:"console-oidc-client-id" group:"Console" placeholder:"ID" help:"Id of the console as a client of the identity provider."`
	ConsoleOIDCClientSecret string   `name:"console-oidc-client-secret" type:"path" group:"Console" placeholder:"FILE" help:"File with the secret of this client. It is read at the start."`
	ConsoleOIDCScopes       []string `name:"console-oidc-scopes" default:"openid,profile,email" group:"Console" sep:"," placeholder:"SCOPE" help:"Scopes that are asked for. Some providers send groups only for a scope groups. Default ${default}."`
	ConsoleOIDCGroups       string   `name:"console-oidc-groups" default:"groups" group:"Console" placeholder:"CLAIM" help:"Claim of the ID token that has the groups of a person. Default ${default}."`
	ConsoleOIDCRoles        []string `name:"console-oidc-roles" group:"Console" sep:"," placeholder:"GROUP=ROLE" help:"Roles of groups: viewer, support or admin, such as sre=admin,helpdesk=support. The highest role counts; persons without one are refused."`

	OTLPEndpoint    string  `name:"otlp-endpoint" group:"Process" placeholder:"URL" note:"See [telemetry.md](telemetry.md)." help:"Collector of OpenTelemetry that receives traces: the base URL of OTLP over HTTP, such as http://127.0.0.1:4318. Default none."`
	OTLPHeadersFile string  `name:"otlp-headers-file" type:"path" group:"Process" placeholder:"FILE" help:"File of headers for the collector, one a line, such as 'Authorization: Bearer TOKEN'. It is read at the start."`
	OTLPSampleRatio float64 `name:"otlp-sample-ratio" default:"1" group:"Process" placeholder:"RATIO" help:"Part of the traces that is sent, from 0 to 1, if the client sends no traceparent. Default ${default}."`
	OTLPServiceName string  `name:"otlp-service-name" default:"countersign" group:"Process" placeholder:"NAME" help:"Name of the service in traces. Default ${default}."`

	CPUProfile      string        `name:"cpu-profile" type:"path" group:"Process" placeholder:"FILE" help:"Write a CPU profile for 'go tool pprof' to this file; it is complete when the server stops."`
	LogFormat       string        `name:"log-format" enum:",json,text" default:"" group:"Process" placeholder:"json|text" help:"Format of the log on standard error. Default json; text for dev."`
	LogLevel        string        `name:"log-level" enum:"debug,info,warn,error" default:"info" group:"Process" placeholder:"LEVEL" help:"Lowest level that is logged: debug, info, warn or error. Each request is a line at info. Default ${default}."`
	LogRemoteAddr   string        `name:"log-remote-addr" enum:"full,network,off" default:"full" group:"Process" placeholder:"full|network|off" note:"See [the request log](#the-request-log)." help:"Address of the client in the lines of requests: full, only its network (24 bits of IPv4, 48 of IPv6), or off. Default ${default}."`
	ShutdownDelay   time.Duration `name:"shutdown-delay" default:"0s" group:"Process" placeholder:"DURATION" help:"How long /readyz answers 503 before connections are refused, which gives a load balancer time to notice. Default ${default}."`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" default:"30s" group:"Process" placeholder:"DURATION" help:"How long requests in progress may take to finish when the server stops. Default ${default}."`
}

// Check reports the faults of c that no other package checks. The services report
// the options that they refuse.
func (c Config) Check() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert and --tls-key belong together; give both or neither"))
	}
	errs = append(errs, c.checkDomains())
	for _, d := range []struct {
		name  string
		value time.Duration
		most  time.Duration // 0: no bound
	}{
		{"challenge-ttl", c.ChallengeTTL, 10 * time.Minute},
		{"sms-spacing", c.SMSSpacing, 0},
		{"challenge-retention", c.ChallengeRetention, 0},
		{"event-retention", c.EventRetention, 0},
		{"stats-retention", c.StatsRetention, 0},
		{"max-clock-skew", c.MaxClockSkew, 0},
		{"backup-every", c.BackupEvery, 0},
		{"idle-timeout", c.IdleTimeout, 0},
		{"shutdown-timeout", c.ShutdownTimeout, 0},
	} {
		if d.value <= 0 || d.most > 0 && d.value > d.most {
			errs = append(errs, fmt.Errorf("--%s is %v; it must be positive%s", d.name, d.value, atMost(d.most > 0, d.most)))
		}
	}
	for _, n := range []struct {
		name        string
		value, most int // 0: no bound
	}{
		{"rate-limit", c.RateLimit, 0},
		{"max-connections", c.MaxConnections, 1 << 14},
		{"challenge-attempts", c.ChallengeAttempts, 10},
		{"free-failures", c.FreeFailures, 100},
		{"factor-failures", c.FactorFailures, 100},
		{"user-failures", c.UserFailures, 100},
		{"sms-resends", c.SMSResends, 5},
	} {
		switch {
		case n.value <= 0:
			errs = append(errs, fmt.Errorf("--%s is %d; it must be positive%s: a limit cannot be switched off", n.name, n.value, atMost(n.most > 0, n.most)))
		case n.most > 0 && n.value > n.most:
			errs = append(errs, fmt.Errorf("--%s is %d; it must be at most %d", n.name, n.value, n.most))
		}
	}
	if c.TOTPWindow < 0 || c.TOTPWindow > 2 {
		errs = append(errs, fmt.Errorf("--totp-window is %d; it must be from 0 to 2", c.TOTPWindow))
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" &&
		(err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
		errs = append(errs, fmt.Errorf("--public-url: %q is not the address of a host, such as https://mfa.example.com, without a path", c.PublicURL))
	}
	if c.ShutdownDelay < 0 {
		errs = append(errs, fmt.Errorf("--shutdown-delay is %v; it must not be negative", c.ShutdownDelay))
	}
	for _, a := range []struct{ name, value string }{{"addr", c.Addr}, {"metrics-addr", c.MetricsAddr}} {
		if err := checkAddr(a.value); a.value != "" && err != nil {
			errs = append(errs, fmt.Errorf("--%s %w", a.name, err))
		}
	}
	if c.MetricsAddr != "" && c.MetricsAddr == c.Addr && !strings.HasSuffix(c.Addr, ":0") {
		errs = append(errs, fmt.Errorf("--metrics-addr is %s, as --addr is; metrics need an address of their own", c.MetricsAddr))
	}
	if c.ChallengeRetention < c.ChallengeTTL {
		errs = append(errs, fmt.Errorf("--challenge-retention is %v, less than --challenge-ttl %v", c.ChallengeRetention, c.ChallengeTTL))
	}
	if c.BackupKeep < 1 {
		errs = append(errs, fmt.Errorf("--backup-keep is %d; it must be positive", c.BackupKeep))
	}
	if c.BackupDir != "" && IsPostgres(c.Store) {
		errs = append(errs, errors.New("--backup-dir is only for SQLite stores; back up PostgreSQL with pg_dump or pgBackRest, see docs/scaling.md, section Backup"))
	}
	_, _, err := c.SMSWindows()
	errs = append(errs, err)
	errs = append(errs, c.checkTransport(), c.checkConsole(), c.checkTelemetry())
	return errors.Join(errs...)
}

func atMost(bounded bool, most any) string {
	if !bounded {
		return ""
	}
	return fmt.Sprintf(" and at most %v", most)
}

// checkAddr returns an error if a server cannot listen on addr.
func checkAddr(addr string) error {
	if path, ok := UnixSocket(addr); ok {
		if path == "" || len(path) > maxSocketPath {
			return fmt.Errorf("%q needs a path of 1 to %d bytes after %q", addr, maxSocketPath, unixPrefix)
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%q is not host:port or unix:PATH: %w", addr, err)
	}
	return nil
}

// maxSocketPath is what the kernels of Linux, macOS and the BSDs all accept, less room
// for the temporary name under which a socket is made.
const maxSocketPath = 90

// checkTransport keeps secrets from crossing a network in the clear (RFC 4226,
// section 7.1, RP3).
func (c Config) checkTransport() error {
	if c.HasTLS() || c.PlainHTTP || c.Addr == "" || checkAddr(c.Addr) != nil || IsLocal(c.Addr) {
		return nil
	}
	return fmt.Errorf("--addr %s can be reached from other machines, and secrets would cross the network unencrypted; "+
		"give --domain, or --tls-cert and --tls-key, or --plain-http if a proxy in front terminates TLS, or --addr 127.0.0.1:4100", c.Addr)
}

// UnixSocket returns the path of an address of the form unix:PATH.
func UnixSocket(addr string) (path string, ok bool) { return strings.CutPrefix(addr, unixPrefix) }

// unixPrefix begins the address of a unix socket.
const unixPrefix = "unix:"

// IsLocal reports whether only this machine can reach an address: a unix socket or the
// loopback interface.
func IsLocal(addr string) bool {
	if _, ok := UnixSocket(addr); ok {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// SMSWindows reads SMSLimits as counts and spans.
func (c Config) SMSWindows() (counts []int, spans []time.Duration, err error) {
	for _, text := range c.SMSLimits {
		n, span, _ := strings.Cut(text, "/")
		var count int
		if _, err := fmt.Sscanf(n+"\n", "%d\n", &count); err != nil || count < 1 {
			return nil, nil, fmt.Errorf("--sms-limits: %q is not of the form 5/10m", text)
		}
		d, err := time.ParseDuration(span)
		if err != nil || d <= 0 {
			return nil, nil, fmt.Errorf("--sms-limits: %q is not of the form 5/10m", text)
		}
		counts, spans = append(counts, count), append(spans, d)
	}
	return counts, spans, nil
}

// SQLitePath returns the path of a store of the form sqlite:PATH.
func SQLitePath(store string) (path string, ok bool) {
	path, ok = strings.CutPrefix(store, "sqlite:")
	return path, ok && path != ""
}

// CheckStore returns an error if a store is not named in one of the ways that are
// known, or in a way that would mean something else than it seems to.
func CheckStore(store string) error {
	path, ok := SQLitePath(store)
	if !ok {
		if IsPostgres(store) {
			return nil
		}
		return errors.New("the store is not known; give sqlite:PATH, such as sqlite:/var/lib/countersign/countersign.db, " +
			"or a postgres:// URL") // without its name, which may hold a password in any place
	}
	wrong := func(why string) error { return fmt.Errorf("the store %q is not possible: %s", StoreName(store), why) }
	switch {
	case path == ":memory:" || strings.HasPrefix(path, "file::memory:"):
		return wrong("a store in memory would lose everything when the process ends; name a file, such as sqlite:countersign.db")
	case strings.HasPrefix(path, "file:"):
		return wrong("sqlite: takes a path, not a URI; leave out 'file:'")
	case strings.HasPrefix(path, "//"):
		return wrong("sqlite: takes a path, not a URL; write sqlite:countersign.db or sqlite:/var/lib/countersign/countersign.db")
	case strings.Contains(path, "?"):
		return wrong("it takes a path without options; leave out the question mark and the text after it")
	case strings.HasPrefix(path, "~"):
		return wrong("~ is not replaced by a home directory here; write the whole path, or ./~ for a file of that name")
	case strings.HasSuffix(path, "/"):
		return wrong("it names a directory; add the name of a file, such as countersign.db")
	case strings.ContainsFunc(path, unicode.IsControl) || strings.TrimSpace(path) != path:
		return wrong("the path has a space at an end, or a control character; remove it")
	}
	return nil
}

// IsPostgres reports whether a store is named by the URL of a PostgreSQL database.
func IsPostgres(store string) bool { return pgurl.Is(store) }

// StoreName returns the name of a store as it may be shown: without a password,
// even if it is malformed.
func StoreName(store string) string {
	switch {
	case IsPostgres(store):
		return pgurl.Name(store)
	case strings.HasPrefix(store, "sqlite:"):
		return store
	}
	return "(neither sqlite:PATH nor a postgres:// URL)"
}
