package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/countersign-mfa/countersign/internal/pgurl"
	"github.com/countersign-mfa/countersign/internal/store/queue"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// A Store keeps everything in a PostgreSQL database. It is safe for concurrent use, and
// any number of Stores may use one database.
type Store struct {
	pool     *pgxpool.Pool
	log      *slog.Logger
	now      func() time.Time
	group    int         // the largest number of Updates that share a transaction
	auto     bool        // whether distributed tables change that number to 1
	spread   atomic.Bool // whether the tables are distributed
	wait     waits
	queue    *queue.Queue[*job]
	turn     queue.Turn // held by the writer that gathers a group, until the group is decided
	views    *queue.Queue[*viewJob]
	serving  sync.WaitGroup // the goroutines that answer Updates and Views
	answered atomic.Int64   // when the database last answered, in Unix nanoseconds
	owners   owners
	updating dispatcher               // of Updates, if the tables are distributed
	viewing  dispatcher               // of Views, if the tables are distributed
	machines atomic.Pointer[machines] // nil until they are read

	lanes     lanes
	committed atomic.Int64  // when a COMMIT was last answered, in Unix nanoseconds
	stalled   atomic.Bool   // whether commits are not answered
	closing   chan struct{} // closed by stop
	stop      func()
	sockets   sockets
	others    chan struct{} // has one element for each connection that on uses

	sweeping int             // the bucket or shard to sweep next; guarded by sweepMu
	unswept  map[int32]error // the machines whose shards this pass leaves out; guarded by sweepMu
	sweepMu  sync.Mutex
}

// waits are the time limits of a transaction.
type waits struct{ roundTrip, resolve, patience, stall, idle time.Duration }

// Options change how a Store works; zero fields take their defaults.
type Options struct {
	Writers int              // connections that write at the same time; default 3, and 16 if each Update has its own transaction
	Group   int              // largest number of Updates that share a transaction; default 64, and 1 if tables are distributed
	Logger  *slog.Logger     // default slog.Default()
	Now     func() time.Time // decides whether the database still answers; default time.Now
}

// Open connects to the database of a postgres:// URL. The schema must be up to date;
// see Migrate.
func Open(ctx context.Context, url string, opts Options) (_ *Store, err error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	cfg, err := configure(url)
	if err != nil {
		return nil, err
	}
	cfg.AfterConnect = registerArrays
	cfg.ConnConfig.OnNotice = noteWarning
	s := &Store{log: opts.Logger, now: wallclock.Or(opts.Now), group: opts.Group, wait: waits{roundTrip, resolveFor, patience, stallAfter, idleFor}}
	s.closing = make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.closing) })
	cfg.ConnConfig.DialFunc = s.sockets.dial(cfg.ConnConfig.DialFunc)
	writers := cmp.Or(max(opts.Writers, 0), sharingWriters)
	if err := s.connect(ctx, cfg, writers); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.pool.Close()
		}
	}()
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	spread, err := s.distributed(ctx)
	if err != nil {
		return nil, err
	}
	s.spread.Store(spread)
	if s.auto = s.group <= 0; s.auto { // a transaction over several shards costs more than sharing saves
		s.group = sharingGroup
	}
	var canSpread bool
	if err := s.pool.QueryRow(ctx, hasCitus).Scan(&canSpread); err != nil {
		return nil, domainError(err)
	}
	if opts.Writers <= 0 && s.group == 1 {
		writers = lonelyWriters
	}
	most := writers
	if canSpread && s.auto { // the tables may be distributed while the node runs
		most = max(writers, lonelyWriters)
	}
	if most > cmp.Or(max(opts.Writers, 0), sharingWriters) {
		s.pool.Close()
		if err := s.connect(ctx, cfg, most); err != nil {
			return nil, err
		}
	}
	if err := s.locate(ctx); err != nil {
		return nil, err
	}
	if err := s.raiseEpoch(ctx); err != nil {
		return nil, err
	}
	s.queue, s.views = queue.New[*job](maxWaiting), queue.New[*viewJob](maxWaiting)
	for range writers {
		s.serving.Go(s.serve)
		s.serving.Go(s.serveViews)
	}
	return s, nil
}

// Defaults for Options. Two writers with shared transactions keep the database busy: while
// one waits for its commit, the other reads. The third works while two wait for rows that
// other transactions have locked. If each Update has a separate transaction, more writers
// let more transactions share a flush of the database's log.
const (
	sharingGroup   = 64
	sharingWriters = 3
	lonelyWriters  = 16
)

// fewestOthers is the smallest number of connections for operations other than Updates
// and Views.
const fewestOthers = 4

// connect makes a pool with connections for the writers, an equal number of readers, the
// lanes, and for lists, keys and background work.
func (s *Store) connect(ctx context.Context, cfg *pgxpool.Config, writers int) (err error) {
	cfg = cfg.Copy()
	reserved := int32(2*writers) + maxLanes
	cfg.MaxConns = max(cfg.MaxConns, reserved+fewestOthers)
	s.others = make(chan struct{}, cfg.MaxConns-reserved)
	if s.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return nil
}

func configure(url string) (*pgxpool.Config, error) {
	u, err := pgurl.Parse(url)
	if err != nil {
		return nil, err
	}
	cfg, err := parse(u)
	if err != nil {
		return nil, err
	}
	cfg.BeforeConnect = (&login{url: u, now: wallclock.Or(nil)}).refresh
	cfg.ConnConfig.AfterConnect = checkEncoding
	if cfg.ConnConfig.RuntimeParams["client_encoding"] == "" {
		cfg.ConnConfig.RuntimeParams["client_encoding"] = "UTF8" // overrides the setting of the role or the database
	}
	// A standby accepts connections but no writes. After a failover the driver tries
	// the hosts of the URL until one accepts writes.
	if len(cfg.ConnConfig.Fallbacks) > 0 && cfg.ConnConfig.ValidateConnect == nil {
		cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	switch mode := cfg.ConnConfig.DefaultQueryExecMode; mode {
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return nil, fmt.Errorf("read the PostgreSQL URL: default_query_exec_mode=%s tells the server nothing of types; "+
			"use cache_describe behind a pooler that cannot keep prepared statements", strings.ReplaceAll(mode.String(), " ", "_"))
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	if cfg.PingTimeout == 0 {
		cfg.PingTimeout = connectTimeout
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "countersign"
	}
	return cfg, nil
}

// refused replaces an error of the driver about a URL, because the error may quote the
// password even though the driver masks parts of the URL. It keeps only errors about files.
func refused(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%w: %w", pgurl.ErrRefused, file)
	}
	return pgurl.ErrRefused
}

// Close waits for the accepted writes and closes all connections. If the server does
// not answer, Close takes no longer than the time limit of a transaction.
func (s *Store) Close() error {
	s.queue.Close()
	s.views.Close()
	s.stop()
	if !within(s.wait.roundTrip+s.wait.resolve, s.serving.Wait) {
		s.log.Warn("the database does not answer; connections are cut while requests wait for it")
		s.sockets.cut()
		s.serving.Wait()
	}
	if !within(politeClose, s.pool.Close) {
		s.sockets.cut()
		s.pool.Close()
	}
	return nil
}

// politeClose is how long Close waits for connections to end before it cuts them.
const politeClose = time.Second

// within runs wait and reports whether it returned within most.
func within(most time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(most):
		return false
	}
}

// pingTimeout limits the time of a Ping.
const pingTimeout = 3 * time.Second

// Ping returns an error if the store does not accept writes: the server is a standby,
// its transactions are read-only by default, or it does not finish commits because a
// synchronous standby is missing.
func (s *Store) Ping(ctx context.Context) error {
	if s.stalled.Load() {
		return errStalled
	}
	ctx, cancel := context.WithTimeout(ctx, min(pingTimeout, s.wait.roundTrip))
	defer cancel()
	readOnly, err := collectOne(ctx, s, func(row *rowReader) (string, error) { return row.text(), row.err }, "SHOW transaction_read_only")
	if err != nil {
		return err
	}
	if readOnly != "off" {
		s.pool.Reset() // a new connection may lead to another server
		return errReadOnly
	}
	_, err = s.notice(ctx)
	return err
}
