package config_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
)

// local returns the defaults with a store and an address.
func local() config.Config {
	c := config.Default()
	c.Addr, c.Store = "127.0.0.1:0", "sqlite:countersign.db"
	return c
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   []string // parts of the error; none for a configuration that is good
	}{
		{"the defaults", func(*config.Config) {}, nil},
		{"no address, where a program serves itself", func(c *config.Config) { c.Addr = "" }, nil},

		{"a certificate without a key", func(c *config.Config) { c.TLSCert = "cert.pem" }, []string{"--tls-cert and --tls-key belong together"}},
		{"a key without a certificate", func(c *config.Config) { c.TLSKey = "key.pem" }, []string{"--tls-cert and --tls-key belong together"}},

		{"no time to verify", func(c *config.Config) { c.ChallengeTTL = 0 }, []string{"--challenge-ttl is 0s"}},
		{"a negative time", func(c *config.Config) { c.ShutdownTimeout = -time.Second }, []string{"--shutdown-timeout is -1s"}},
		{"no spacing of messages", func(c *config.Config) { c.SMSSpacing = 0 }, []string{"--sms-spacing"}},
		{"no retention of challenges", func(c *config.Config) { c.ChallengeRetention = 0 }, []string{"--challenge-retention"}},
		{"no retention of events", func(c *config.Config) { c.EventRetention = 0 }, []string{"--event-retention"}},

		{"no rate limit", func(c *config.Config) { c.RateLimit = 0 }, []string{"--rate-limit is 0", "cannot be switched off"}},
		{"no connection", func(c *config.Config) { c.MaxConnections = 0 }, []string{"--max-connections is 0"}},
		{"more connections than can be served", func(c *config.Config) { c.MaxConnections = 16385 }, []string{"--max-connections is 16385; it must be at most 16384"}},
		{"no limit of attempts", func(c *config.Config) { c.ChallengeAttempts = 0 }, []string{"--challenge-attempts"}},
		{"no free failure", func(c *config.Config) { c.FreeFailures = -1 }, []string{"--free-failures is -1"}},
		{"no limit of a factor", func(c *config.Config) { c.FactorFailures = 0 }, []string{"--factor-failures"}},
		{"no limit of a user", func(c *config.Config) { c.UserFailures = 0 }, []string{"--user-failures"}},

		{"metrics for other machines", func(c *config.Config) { c.MetricsAddr = ":9464" }, nil},
		{"both at ports that are free", func(c *config.Config) { c.MetricsAddr = c.Addr }, nil},
		{"an address without a port", func(c *config.Config) { c.Addr = "4100" }, []string{`--addr "4100" is not host:port or unix:PATH`}},
		{"a host without a port", func(c *config.Config) { c.Addr, c.PlainHTTP = "localhost", true }, []string{`--addr "localhost" is not host:port`}},
		{"a socket without a path", func(c *config.Config) { c.Addr = "unix:" }, []string{`--addr "unix:" needs a path`}},
		{"a socket with a long path", func(c *config.Config) { c.MetricsAddr = "unix:/" + strings.Repeat("x", 90) }, []string{`--metrics-addr "unix:/xxx`, "needs a path of 1 to 90 bytes"}},
		{"no time for idle connections", func(c *config.Config) { c.IdleTimeout = -1 }, []string{"--idle-timeout is -1ns; it must be positive"}},
		{"metrics at no address", func(c *config.Config) { c.MetricsAddr = "9464" }, []string{`--metrics-addr "9464" is not host:port`}},
		{"metrics at the address of the API", func(c *config.Config) { c.Addr, c.MetricsAddr = "127.0.0.1:4100", "127.0.0.1:4100" },
			[]string{"--metrics-addr is 127.0.0.1:4100, as --addr is"}},

		{"a collector on this machine with headers", func(c *config.Config) { c.OTLPEndpoint, c.OTLPHeadersFile = "http://127.0.0.1:4318", "headers" }, nil},
		{"a collector on a network", func(c *config.Config) { c.OTLPEndpoint = "http://otel:4318" }, nil},
		{"a collector with headers in the clear", func(c *config.Config) { c.OTLPEndpoint, c.OTLPHeadersFile = "http://otel:4318", "headers" },
			[]string{"the headers of --otlp-headers-file would cross the network unencrypted to otel:4318"}},
		{"a collector without a scheme", func(c *config.Config) { c.OTLPEndpoint = "localhost:4318" }, []string{"--otlp-endpoint is not an http or https URL"}},
		{"a collector with a password", func(c *config.Config) { c.OTLPEndpoint = "https://a:b@otel.example.com" }, []string{"--otlp-endpoint has a password"}},
		{"a collector with a query", func(c *config.Config) { c.OTLPEndpoint = "https://otel.example.com?key=x" }, []string{"--otlp-endpoint has a query"}},
		{"headers without a collector", func(c *config.Config) { c.OTLPHeadersFile = "headers" }, []string{"--otlp-headers-file needs an --otlp-endpoint"}},
		{"more than all traces", func(c *config.Config) { c.OTLPSampleRatio = 1.5 }, []string{"--otlp-sample-ratio is 1.5; it must be from 0 to 1"}},
		{"a ratio that is not a number", func(c *config.Config) { c.OTLPSampleRatio = math.NaN() }, []string{"--otlp-sample-ratio is NaN"}},

		{"a public URL", func(c *config.Config) { c.PublicURL = "https://mfa.example.com/" }, nil},
		{"a public URL without a scheme", func(c *config.Config) { c.PublicURL = "mfa.example.com" }, []string{`--public-url: "mfa.example.com" is not the address of a host`}},
		{"a public URL with a path", func(c *config.Config) { c.PublicURL = "https://example.com/mfa" }, []string{"--public-url", "without a path"}},
		{"a public URL of another protocol", func(c *config.Config) { c.PublicURL = "ftp://mfa.example.com" }, []string{"--public-url"}},

		{"two faults", func(c *config.Config) { c.RateLimit, c.TLSKey = 0, "key.pem" }, []string{"--rate-limit", "--tls-cert"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := local()
			tc.change(&c)
			says(t, c.Check(), tc.want...)
		})
	}
}

// says checks that an error is there if and only if it has something to say.
func says(t *testing.T, err error, want ...string) {
	t.Helper()
	if (err != nil) != (len(want) > 0) {
		t.Errorf("error %v; want %q", err, want)
	}
	for _, part := range want {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("error %q; want %q in it", err, part)
		}
	}
}

func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	for _, tc := range []struct {
		addr string
		ok   bool
	}{
		{"127.0.0.1:4100", true},
		{"127.9.9.9:4100", true},
		{"[::1]:4100", true},
		{"localhost:4100", true},
		{":4100", false},
		{"0.0.0.0:4100", false},
		{"[::]:4100", false},
		{"192.168.1.2:4100", false},
		{"[fe80::1]:4100", false},
		{"mfa.example.com:4100", false},
		{"localhost.example.com:4100", false},
		{"unix:/run/countersign.sock", true},
		{"unix:countersign.sock", true},
	} {
		t.Run(tc.addr, func(t *testing.T) {
			c := local()
			c.Addr = tc.addr
			if err := c.Check(); (err == nil) != tc.ok {
				t.Errorf("Check = %v", err)
			} else if err != nil && !strings.Contains(err.Error(), "--addr") {
				t.Errorf("Check = %v; want the flag named", err)
			}
			c.TLSCert, c.TLSKey = "cert.pem", "key.pem"
			if err := c.Check(); err != nil {
				t.Errorf("with TLS: %v", err)
			}
			c.TLSCert, c.TLSKey, c.PlainHTTP = "", "", true
			if err := c.Check(); err != nil {
				t.Errorf("where plain HTTP is meant: %v", err)
			}
		})
	}
}

func TestTheErrorsOfCheckHaveAnOrder(t *testing.T) {
	var bad config.Config
	first := bad.Check().Error()
	for range 20 {
		if again := bad.Check().Error(); again != first {
			t.Fatalf("the same configuration is refused with\n%s\nand with\n%s", first, again)
		}
	}
}

func TestSMSWindows(t *testing.T) {
	for _, tc := range []struct {
		text  []string
		count []int
		span  []time.Duration
		bad   string
	}{
		{text: []string{"5/10m", "10/1h"}, count: []int{5, 10}, span: []time.Duration{10 * time.Minute, time.Hour}},
		{text: []string{"1/24h"}, count: []int{1}, span: []time.Duration{24 * time.Hour}},
		{text: nil},
		{text: []string{"5"}, bad: `"5"`},
		{text: []string{"5/"}, bad: `"5/"`},
		{text: []string{"/10m"}, bad: `"/10m"`},
		{text: []string{"0/10m"}, bad: `"0/10m"`},
		{text: []string{"-1/10m"}, bad: `"-1/10m"`},
		{text: []string{"5/-10m"}, bad: `"5/-10m"`},
		{text: []string{"5/0s"}, bad: `"5/0s"`},
		{text: []string{"5x/10m"}, bad: `"5x/10m"`},
		{text: []string{"5/10"}, bad: `"5/10"`},
		{text: []string{"5/10m/1h"}, bad: `"5/10m/1h"`},
		{text: []string{"5/10m", ""}, bad: `""`},
	} {
		t.Run(strings.Join(tc.text, ","), func(t *testing.T) {
			counts, spans, err := config.Config{SMSLimits: tc.text}.SMSWindows()
			if tc.bad != "" {
				says(t, err, "--sms-limits", tc.bad)
				return
			}
			if err != nil || !slices.Equal(counts, tc.count) || !slices.Equal(spans, tc.span) {
				t.Errorf("SMSWindows = %v, %v, %v", counts, spans, err)
			}
		})
	}
}

func TestSQLitePath(t *testing.T) {
	for _, tc := range []struct {
		store, path string
		ok          bool
	}{
		{"sqlite:countersign.db", "countersign.db", true},
		{"sqlite:/var/lib/countersign.db", "/var/lib/countersign.db", true},
		{"sqlite:", "", false},
		{"countersign.db", "countersign.db", false},
		{"postgres://localhost/countersign", "postgres://localhost/countersign", false},
		{"", "", false},
	} {
		if path, ok := config.SQLitePath(tc.store); ok != tc.ok || ok && path != tc.path {
			t.Errorf("SQLitePath(%q) = %q, %t", tc.store, path, ok)
		}
	}
}

func TestAStoreIsShownWithoutItsPassword(t *testing.T) {
	const password = "hunter22"
	for _, store := range []string{
		"postgres://user:" + password + "@db.example.com/countersign",
		"postgresql://user:" + password + "@db.example.com/countersign?sslmode=require",
		"postgres://db.example.com/countersign?user=u&password=" + password,
		"postgres://db.example.com/countersign?sslpassword=" + password,
		"user:" + password + "@db.example.com/countersign",
		"postgres://user:" + password + "%zz@db.example.com/countersign",
		"postgres://user:" + password + "/db.example.com/countersign",
		"postgres://user:x@" + password + "@db.example.com/countersign",
		"host=db.example.com password=" + password,
		"mysql://user:" + password,
	} {
		if shown := config.StoreName(store); strings.Contains(shown, password) {
			t.Errorf("StoreName shows the password: %q", shown)
		}
	}
	for _, store := range []string{"sqlite:countersign.db", "postgres://app@db1:5432,db2:5433/countersign"} {
		if shown := config.StoreName(store); shown != store {
			t.Errorf("StoreName(%q) = %q", store, shown)
		}
	}
}

func TestStoreNames(t *testing.T) {
	for _, tc := range []struct{ store, says string }{
		{"sqlite:countersign.db", ""},
		{"sqlite:/var/lib/countersign/countersign.db", ""},
		{"sqlite:./~x.db", ""},
		{"sqlite:a b%20@c.db", ""},
		{"postgres://countersign@db/countersign", ""},
		{"sqlite::memory:", "in memory"},
		{"sqlite:file::memory:", "in memory"},
		{"sqlite:file:x.db", "not a URI"},
		{"sqlite:x.db?cache=shared", "without options"},
		{"sqlite://x.db", "not a URL"},
		{"sqlite:///var/x.db", "not a URL"},
		{"sqlite:~/x.db", "home directory"},
		{"sqlite:data/", "a directory"},
		{"sqlite: x.db", "space"},
		{"sqlite:x.db\n", "control character"},
		{"sqlite:", "sqlite:PATH"},
		{"unix:", "sqlite:PATH"},
		{"unix:/run/x.sock", "sqlite:PATH"},
		{"x.db", "sqlite:PATH"},
		{"", "sqlite:PATH"},
	} {
		err := config.CheckStore(tc.store)
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("CheckStore(%q) = %v; want %q", tc.store, err, tc.says)
		}
	}
}
