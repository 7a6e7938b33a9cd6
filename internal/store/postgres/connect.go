package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign-mfa/countersign/internal/pgurl"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// passwordFresh is how long further connections use the output of a password command.
// A pool that opens many connections at once runs the command once.
const passwordFresh = 2 * time.Second

// A login reads the credentials of the node for each connection. A changed
// password, token or client certificate then needs no restart.
type login struct {
	url *pgurl.URL
	now func() time.Time

	mu      sync.Mutex
	kept    secret.String // the last output of the password command
	keptFor time.Time     // until when it is used
}

// refresh sets the credentials of a new connection before it is opened. The driver
// reads the password file, the service file and the certificates again.
func (l *login) refresh(ctx context.Context, cfg *pgx.ConnConfig) error {
	fresh, err := parse(l.url)
	if err != nil {
		return err
	}
	cfg.Password, cfg.TLSConfig, cfg.Fallbacks = fresh.ConnConfig.Password, fresh.ConnConfig.TLSConfig, fresh.ConnConfig.Fallbacks
	if l.url.PasswordCommand == "" {
		return nil
	}
	password, err := l.command(ctx, cfg)
	if err != nil {
		return err
	}
	cfg.Password = password.Reveal()
	return nil
}

// command runs the password command, or returns its last output if that is recent; see
// passwordFresh.
func (l *login) command(ctx context.Context, cfg *pgx.ConnConfig) (secret.String, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Before(l.keptFor) {
		return l.kept, nil
	}
	password, err := secret.PasswordFromCommand(ctx, l.url.PasswordCommand,
		"PGHOST="+cfg.Host, "PGPORT="+strconv.Itoa(int(cfg.Port)), "PGUSER="+cfg.User, "PGDATABASE="+cfg.Database)
	if err == nil {
		l.kept, l.keptFor = password, l.now().Add(passwordFresh)
	}
	return password, err
}

// parse reads a URL for the driver. Every host must be reached over TLS, unless it is
// this machine or the URL allows plaintext.
func parse(u *pgurl.URL) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(u.ForDriver())
	if err != nil {
		return nil, refused(err)
	}
	if u.AllowPlaintext {
		return cfg, nil
	}
	c := cfg.ConnConfig
	for _, host := range append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...) {
		if host.TLSConfig == nil && !isLocal(host.Host) {
			return nil, fmt.Errorf("the connection to PostgreSQL on %s could be in plaintext, and passwords and secrets would cross the network unencrypted; "+
				"add sslmode=verify-full (or verify-ca, or require) to the URL, or sslmode=disable&allow_plaintext=yes "+
				"if the network to it is encrypted", host.Host)
		}
	}
	return cfg, nil
}

// isLocal reports whether a host is this machine: the directory of a Unix socket, or
// a loopback address.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// dial opens a connection outside a pool.
func dial(ctx context.Context, cfg *pgxpool.Config) (*pgx.Conn, error) {
	c := cfg.ConnConfig.Copy()
	if err := cfg.BeforeConnect(ctx, c); err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return conn, nil
}

// errEncoding means that a database cannot store all of Unicode.
var errEncoding = errors.New("the database does not use the encoding UTF8; create it with ENCODING 'UTF8'")

// checkEncoding refuses a connection that cannot store all text. The server reports
// both encodings when it accepts a connection.
func checkEncoding(_ context.Context, conn *pgconn.PgConn) error {
	if encoding := conn.ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return fmt.Errorf("%w: its encoding is %s", errEncoding, encoding)
	}
	if encoding := conn.ParameterStatus("client_encoding"); encoding != "" && encoding != "UTF8" {
		return fmt.Errorf("client_encoding is %s; leave it out of the URL, or set it to UTF8", encoding)
	}
	return nil
}
