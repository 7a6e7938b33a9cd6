// Package history fills a store with the factors and events of a year, for the bench. It writes
// the rows with the import of the stores: millions of them take minutes. mfa.Service makes the
// factors, with real sealed values: all pages of operators can open them.
package history

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// A Store can be filled; both stores can.
type Store interface {
	Import(ctx context.Context, rows []transfer.Row) error
	Sweep(ctx context.Context, h mfa.Horizon, limit int) (more bool, err error)
}

// A Plan says what to write.
type Plan struct {
	Environment mfa.Environment
	Key         string // the id of the API key that the events name
	Factors     int    // one of each user
	Events      int
	Until       time.Time         // the time of the last event
	Report      func(written int) // called now and then with the number of rows; may be nil
	Keys        *secret.Keyset    // of the store
}

// Span is the time between the first and the last event.
const Span = 364 * 24 * time.Hour

// batch is how many rows one transaction stores.
const batch = 5000

// samples is how many of the factors a Sample names.
const samples = 1000

// A Sample has some of the stored rows, for requests.
type Sample struct {
	Users      []string
	Factors    []string
	Phones     []string // of sms factors
	Challenges []string // of the last events
}

// Fill writes the rows of a plan into a store that no server uses.
func Fill(ctx context.Context, store Store, p Plan) (Sample, error) {
	w := &writer{ctx: ctx, store: store, plan: p}
	w.begin = p.Until.Add(-Span).UTC().Truncate(time.Millisecond)
	var err error
	w.service, err = mfa.NewService(&recorder{w}, p.Keys, nil, mfa.Options{Now: func() time.Time { return w.now }})
	if err != nil {
		return Sample{}, err
	}
	// Half of the factors are enrolled before the first event.
	w.factors = make([]owner, 0, p.Factors)
	w.now = w.begin.Add(-24 * time.Hour)
	for w.enrolled < p.Factors/2 {
		if err := w.enroll(); err != nil {
			return Sample{}, err
		}
	}
	for w.events < p.Events {
		share := float64(w.events) / float64(p.Events)
		w.now = w.begin.Add(time.Duration(share * float64(Span))).Truncate(time.Millisecond)
		for w.enrolled < p.Factors/2+int(share*float64(p.Factors-p.Factors/2)) {
			if err := w.enroll(); err != nil {
				return Sample{}, err
			}
		}
		if err := w.flow(); err != nil {
			return Sample{}, err
		}
	}
	for w.enrolled < p.Factors {
		if err := w.enroll(); err != nil {
			return Sample{}, err
		}
	}
	if err := w.flush(); err != nil {
		return Sample{}, err
	}
	// The sweep also sorts the events by factor, as it does while a server runs.
	horizon := mfa.Horizon{Events: w.begin.Add(-48 * time.Hour), Challenges: w.begin, Expired: w.begin}
	for more := true; more; {
		if more, err = store.Sweep(ctx, horizon, batch); err != nil {
			return Sample{}, err
		}
	}
	return w.sample, nil
}

// An owner is a factor that was written.
type owner struct {
	id     mfa.FactorID
	kind   mfa.FactorType
	person mfa.PersonKey
}

// A writer collects rows.
type writer struct {
	ctx     context.Context
	store   Store
	plan    Plan
	service *mfa.Service

	begin, now time.Time
	position   mfa.Position // of the last event
	factors    []owner
	enrolled   int
	events     int
	written    int
	rows       []transfer.Row
	sample     Sample
	drawn      uint64
}

// draw returns a number below limit. All stores get the same sequence (splitmix64).
func (w *writer) draw(limit int) int {
	w.drawn += 0x9e3779b97f4a7c15
	x := w.drawn
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int(((x ^ x>>31) >> 1) % uint64(limit))
}

// put adds a row.
func (w *writer) put(r transfer.Row) error {
	if w.rows = append(w.rows, r); len(w.rows) < batch {
		return nil
	}
	return w.flush()
}

// flush stores the rows.
func (w *writer) flush() error {
	if err := w.store.Import(w.ctx, w.rows); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	w.written += len(w.rows)
	w.rows = w.rows[:0]
	if w.plan.Report != nil {
		w.plan.Report(w.written)
	}
	return w.ctx.Err()
}

// enroll writes the factor of a new user.
func (w *writer) enroll() error {
	user := fmt.Sprintf("user_%08d", w.enrolled)
	p := mfa.EnrollParams{User: user, Type: "totp", Account: user + "@example.com"}
	switch w.draw(10) {
	case 0, 1:
		p = mfa.EnrollParams{User: user, Type: "sms", PhoneNumber: fmt.Sprintf("+1415%07d", 2_000_000+w.enrolled%8_000_000)}
	case 2:
		p = mfa.EnrollParams{User: user, Type: "generic_otp"}
	}
	e, err := w.service.Enroll(w.ctx, mfa.Caller{Environment: w.plan.Environment, Key: w.plan.Key}, p, nil)
	if err != nil {
		return fmt.Errorf("enroll: %w", err)
	}
	w.factors = append(w.factors, owner{e.ID, e.Type, mfa.PersonOf(w.plan.Keys, e.UserKey())})
	if every := max(1, w.plan.Factors/samples); w.enrolled%every == 0 {
		w.sample.Users = append(w.sample.Users, user)
		w.sample.Factors = append(w.sample.Factors, e.ID.String())
		if p.PhoneNumber != "" {
			w.sample.Phones = append(w.sample.Phones, p.PhoneNumber)
		}
	}
	w.enrolled++
	return nil
}

// flow writes the events of a challenge: 19 of 20 get a right code, and one in 1,000 a lock.
func (w *writer) flow() error {
	f := w.factors[w.draw(len(w.factors))]
	c := w.challengeID(f)
	e := mfa.Event{Factor: f.id, Challenge: c, Kind: f.kind}
	client := mfa.Client{IPAddress: fmt.Sprintf("203.0.113.%d", w.draw(256)), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	if w.draw(4) > 0 { // most callers pass no client
		client = mfa.Client{}
	}
	steps := []mfa.EventType{mfa.ChallengeCreated}
	if f.kind == "sms" {
		e.Message = delivery.Trace{Provider: "twilio", Country: "US", Prefix: "1415", Segments: 1}
		steps = append(steps, "message.queued", "message.sent", "message.delivered")
	}
	switch right := w.draw(1000); {
	case right == 0:
		for range 5 {
			steps = append(steps, mfa.ChallengeFailed)
		}
		steps = append(steps, mfa.FactorLocked)
	case right < 50:
		steps = append(steps, mfa.ChallengeFailed, mfa.ChallengeSucceeded)
	default:
		steps = append(steps, mfa.ChallengeSucceeded)
	}
	for _, typ := range steps {
		e.Type, e.Reason = typ, ""
		e.Caller, e.Request = w.plan.Key, "req_01KB0000000000000000000000"
		if typ == mfa.ChallengeFailed {
			e.Reason = "wrong_code"
		}
		if err := w.event(e, client, f.person); err != nil {
			return err
		}
	}
	if w.plan.Events-w.events < 5*samples && len(w.sample.Challenges) < samples {
		w.sample.Challenges = append(w.sample.Challenges, c.String())
	}
	return nil
}

// event writes an event, with the personal data of a client unless it is zero.
func (w *writer) event(e mfa.Event, client mfa.Client, person mfa.PersonKey) error {
	if ms := w.now.UnixMilli(); ms > w.position.Epoch {
		w.position = mfa.Position{Epoch: ms}
	} else {
		w.position.Counter++
	}
	e.ID, e.At, e.Environment = w.position.ID(e.Factor.Bucket()), w.now, w.plan.Environment.ID
	w.events++
	if err := w.put(transfer.Row{Event: &e}); err != nil || client == (mfa.Client{}) {
		return err
	}
	context, err := mfa.PersonalData{Client: client}.Seal(w.plan.Keys, person)
	if err != nil {
		return err
	}
	context.Event = e.ID
	return w.put(transfer.Row{EventContext: context})
}

// challengeID returns a new id in the bucket of a factor.
func (w *writer) challengeID(f owner) (id mfa.ChallengeID) {
	binary.BigEndian.PutUint64(id[:], uint64(w.now.UnixMilli())<<16|uint64(w.draw(1<<16)))
	binary.BigEndian.PutUint64(id[8:], uint64(w.draw(math.MaxInt))<<10|uint64(f.id.Bucket()))
	return id
}

// A recorder is the store of the service that makes the factors. It stores nothing, and passes
// new rows to the writer.
type recorder struct{ *writer }

// Update runs fn on no rows.
func (r *recorder) Update(_ context.Context, read mfa.Read, fn func(tx *mfa.Tx) error) error {
	tx := &mfa.Tx{Rows: r.none(read)}
	if err := fn(tx); err != nil {
		return err
	}
	for _, write := range tx.Writes {
		switch write := write.(type) {
		case mfa.InsertFactor:
			f := *write.Factor
			f.ExpiresAt = time.Time{} // as after its first right code
			if err := r.put(transfer.Row{Factor: &f}); err != nil {
				return err
			}
		case mfa.AppendEvent:
			if err := r.event(write.Event, mfa.Client{}, mfa.PersonKey{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// View returns no rows.
func (r *recorder) View(_ context.Context, read mfa.Read) (mfa.Rows, error) { return r.none(read), nil }

func (r *recorder) none(read mfa.Read) mfa.Rows {
	return mfa.Rows{Counters: make([]*delivery.Counter, len(read.Counters)), Others: make([]*mfa.Factor, len(read.Others))}
}

func (*recorder) Factors(context.Context, mfa.FactorQuery) ([]mfa.Factor, error) { return nil, nil }

func (*recorder) FactorsAfter(context.Context, mfa.FactorID, int) ([]mfa.Factor, error) {
	return nil, nil
}

func (*recorder) Counters(context.Context, mfa.EnvironmentID) ([]delivery.Counter, error) {
	return nil, nil
}

func (*recorder) Contexts(context.Context, mfa.EventID, int) ([]mfa.EventContext, error) {
	return nil, nil
}

func (*recorder) DeletedFactors(context.Context, mfa.FactorID, int) ([]mfa.DeletedFactor, error) {
	return nil, nil
}

func (*recorder) ExpiredFactors(context.Context, time.Time, int) ([]mfa.Factor, error) {
	return nil, nil
}

func (*recorder) Sweep(context.Context, mfa.Horizon, int) (bool, error) { return false, nil }
