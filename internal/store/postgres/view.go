package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/queue"
)

// A viewJob is one View that waits.
type viewJob struct {
	read mfa.Read
	rows mfa.Rows
}

// The most frequent reads of a View, each in one statement, which sees the database at
// one moment without a transaction. They lock nothing, so they can join the user.
const userOfFactor = ` LEFT JOIN users u ON u.bucket = f.bucket AND u.environment = f.environment AND u.id = f.user_id`

var (
	seeFactor    = `SELECT ` + factorColumns + `, u.failures FROM factors f` + userOfFactor + ` WHERE f.bucket = $1 AND f.id = $2`
	seeChallenge = `SELECT ` + challengeColumns + `, ` + factorColumns + `, u.failures FROM challenges c` +
		` JOIN factors f ON f.bucket = c.bucket AND f.id = c.factor` + userOfFactor + ` WHERE c.bucket = $1 AND f.bucket = $1 AND c.id = $2`

	// The same for several Views.
	seeFactors    = `SELECT f.* FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` + seeFactorOf + `k.id LIMIT 1) f`
	seeChallenges = `SELECT c.*, f.* FROM unnest($1::smallint[], $2::uuid[]) AS k (bucket, id)` +
		` CROSS JOIN LATERAL (SELECT ` + challengeColumns + ` FROM challenges c WHERE c.bucket = k.bucket AND c.id = k.id LIMIT 1) c` +
		seeFactorOf + `c.factor LIMIT 1) f`
	seeFactorOf = ` CROSS JOIN LATERAL (SELECT ` + factorColumns + `, u.failures FROM factors f` + userOfFactor + ` WHERE f.bucket = k.bucket AND f.id = `
)

// View reads all rows as of one moment, in one round trip; see mfa.Store.
func (s *Store) View(ctx context.Context, r mfa.Read) (mfa.Rows, error) {
	if s.stalled.Load() {
		return mfa.Rows{}, errStalled
	}
	v := &viewJob{read: r}
	if err := s.views.Do(ctx, v); err != nil {
		return mfa.Rows{}, err
	}
	return v.rows, nil
}

// serveViews answers Views until the store is closed and no View is left. It reads the
// rows of all waiting Views together.
func (s *Store) serveViews() {
	s.views.Serve(s.group, nil, func(waiting []*queue.Job[*viewJob], _ *queue.Hold) {
		if s.single() {
			dispatch(s, &s.viewing, waiting, func(v *viewJob) mfa.Bucket { return v.read.Bucket }, func(w *queue.Job[*viewJob]) (error, bool) {
				return domainError(s.see([]*queue.Job[*viewJob]{w})), false
			})
			return
		}
		start := s.now()
		err := s.see(waiting)
		if s.missed(err) {
			for _, w := range waiting {
				w.Err = domainError(s.see([]*queue.Job[*viewJob]{w}))
			}
			return
		}
		if len(waiting) > 1 && isRowError(err) {
			for _, w := range waiting { // only the reads of an unreadable row fail
				if !s.lost(err, start) {
					start = s.now()
					err = s.see([]*queue.Job[*viewJob]{w})
				}
				w.Err = domainError(err)
			}
			return
		}
		for _, w := range waiting {
			w.Err = domainError(err)
		}
		if s.lost(err, start) {
			s.views.Refuse(errNotReached)
		}
	}, func() {})
}

// see answers all waiting Views. If the connection is lost or leads to a standby, the same
// may be true for the rest of the pool: see resets the pool and tries once again.
func (s *Store) see(waiting []*queue.Job[*viewJob]) error {
	err := s.seeOnce(waiting)
	if isStale(err) && !errors.Is(err, context.DeadlineExceeded) {
		s.pool.Reset()
		err = s.seeOnce(waiting)
	}
	return err
}

func (s *Store) seeOnce(waiting []*queue.Job[*viewJob]) error {
	h, batch := newTxRows(), &pgx.Batch{}
	if len(waiting) == 1 {
		h.see(batch, waiting[0].Work.read)
	} else {
		h.seeAll(batch, waiting)
	}
	several := batch.Len() > 1 || len(waiting) > 1
	batch.Queue(barrier)
	if several { // several statements see one moment only in a transaction
		statements := batch.QueuedQueries
		batch = &pgx.Batch{}
		batch.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
		batch.Queue("SELECT " + searchOnly)
		batch.QueuedQueries = append(batch.QueuedQueries, statements...)
		batch.Queue("COMMIT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	err := s.onAny(ctx, func(conn *pgx.Conn) error {
		ctx, cancel := context.WithTimeout(context.Background(), s.wait.roundTrip)
		defer cancel()
		return conn.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return err
	}
	s.answered.Store(s.now().UnixNano())
	for _, w := range waiting {
		w.Work.rows = h.rows(w.Work.read)
	}
	return nil
}

// see adds the SELECTs of r to batch, with its bucket as a plain parameter, which routes
// statements on distributed tables.
func (h *txRows) see(batch *pgx.Batch, r mfa.Read) {
	none := mfa.Read{}
	if r.Challenge != none.Challenge {
		batch.Queue(seeChallenge, int16(r.Bucket), r.Challenge).Query(each(h.seenChallenge))
	}
	if r.Factor != none.Factor {
		batch.Queue(seeFactor, int16(r.Bucket), r.Factor).Query(each(h.seenFactor))
	}
	r.Challenge, r.Factor = none.Challenge, none.Factor
	h.read(batch, r, noLock)
}

// seeAll adds the SELECTs of several Views to batch.
func (h *txRows) seeAll(batch *pgx.Batch, waiting []*queue.Job[*viewJob]) {
	var challenges, factors []rowKey
	none := mfa.Read{}
	rest := &pgx.Batch{}
	for _, w := range waiting {
		r := w.Work.read
		if r.Challenge != none.Challenge {
			challenges = append(challenges, rowKey{r.Bucket, r.Challenge})
		}
		if r.Factor != none.Factor {
			factors = append(factors, rowKey{r.Bucket, r.Factor})
		}
		r.Challenge, r.Factor = none.Challenge, none.Factor
		h.read(rest, r, noLock)
	}
	if len(challenges) > 0 {
		batch.Queue(seeChallenges, arrays(challenges)...).Query(each(h.seenChallenge))
	}
	if len(factors) > 0 {
		batch.Queue(seeFactors, arrays(factors)...).Query(each(h.seenFactor))
	}
	batch.QueuedQueries = append(batch.QueuedQueries, rest.QueuedQueries...)
}

func (h *txRows) seenChallenge(row *rowReader) error {
	c := challenges.scan(row)
	h.challenges[c.ID] = c
	return h.seenFactor(row)
}

// seenFactor scans a factor and the failures of its user. The failures are NULL if the
// user has no row.
func (h *txRows) seenFactor(row *rowReader) error {
	f := factors.scan(row)
	h.factors[f.ID] = f
	if n := row.integer(); n > 0 {
		u := &mfa.User{UserKey: f.UserKey(), Failures: n}
		h.users[u.UserKey] = u
	}
	return row.err
}
