package mfa

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// ErrSoleFactor means that a user would have no factor but recovery codes, which are for a
// person who has lost another factor.
var ErrSoleFactor = errors.New("the user has no other verified factor")

// RecoveryParams describe a new set of recovery codes.
type RecoveryParams struct {
	User      string
	AllowSole bool   // also if the user has no other verified factor
	Client    Client // where the user asked for the codes
}

// NewRecoveryCodes are a new set, with the codes, which are shown only once.
type NewRecoveryCodes struct {
	Details
	Codes []secret.String

	Replayed *idempotency.Answer // if the request was answered before; all other fields are then zero
}

func (n NewRecoveryCodes) created() [16]byte { return n.ID }

func (NewRecoveryCodes) undecided() bool { return false }

func (NewRecoveryCodes) marked() bool { return false }

func (NewRecoveryCodes) replayed(a *idempotency.Answer) NewRecoveryCodes {
	return NewRecoveryCodes{Replayed: a}
}

// CreateRecoveryCodes creates the recovery codes of a user, in place of all earlier ones. The
// factor of the user's codes stays the same, with its wrong codes and its lock. Errors: ErrInvalid,
// ErrRecoveryLimit, ErrSoleFactor, and ErrUnavailable while too many codes are being hashed.
func (s *Service) CreateRecoveryCodes(ctx context.Context, by Caller, p RecoveryParams, req *idempotency.Request[NewRecoveryCodes]) (NewRecoveryCodes, error) {
	user, client, err := checkUser(by, p.User, p.Client)
	if err != nil {
		return NewRecoveryCodes{}, err
	}
	once := begin(s, idempotency.Policy{Derived: false}, req)
	if once != nil {
		once = once.Show(showSecret)
	}
	end, err := s.slow.turn(ctx, user)
	if err != nil {
		return NewRecoveryCodes{}, err
	}
	defer end()
	now := s.now()
	var rows Rows
	if rows, err = s.viewRecovery(ctx, user, once); err != nil {
		return NewRecoveryCodes{}, err
	}
	if once != nil { // a repeated request needs no slow hashes
		answer, err := once.Find(s.keys.Load(), rows.Replay.record(), now)
		if answer != nil || err != nil {
			return NewRecoveryCodes{Replayed: answer}, err
		}
	}
	if err := recoveryLimit(rows.Phone, now); err != nil { // before the slow hashes; storeRecovery decides
		return NewRecoveryCodes{}, err
	}
	if !p.AllowSole {
		if err := s.refuseSole(ctx, user); err != nil {
			return NewRecoveryCodes{}, err
		}
	}
	made, err := s.newRecoverySet(ctx, now)
	if err != nil {
		return NewRecoveryCodes{}, err
	}
	for range 3 { // more only if requests for the same user race
		n, err := s.storeRecovery(ctx, by, user, client, rows.Recovery, made, once, now)
		if !errors.Is(err, errRecoveryRaced) {
			return n, err
		}
		if rows, err = s.viewRecovery(ctx, user, nil); err != nil {
			return NewRecoveryCodes{}, err
		}
	}
	return NewRecoveryCodes{}, errRecoveryRaced
}

// errRecoveryRaced means that another request created or deleted the recovery codes of a user.
var errRecoveryRaced = fmt.Errorf("%w: another request changed the recovery codes of the user", ErrUnavailable)

// checkUser returns the key of a user, and the client in the usual form.
func checkUser(by Caller, user string, c Client) (UserKey, Client, error) {
	client, wrong := c.check()
	if user == "" || len(user) > maxUser || !isPlainText(user) {
		wrong = append(wrong, FieldError{"user_id", "invalid_characters", "user_id must be 1 to 256 bytes of plain text"})
	}
	if wrong != nil {
		return UserKey{}, client, &InvalidError{Fields: wrong}
	}
	return UserKey{by.ID, user}, client, nil
}

func (s *Service) viewRecovery(ctx context.Context, user UserKey, once *idempotency.Operation[NewRecoveryCodes]) (Rows, error) {
	r := Read{Bucket: user.Bucket(), Recovery: user, Phone: recoveryLimitKey(s.keys.Load(), user)}
	if once != nil {
		r.Replay = once.Key
	}
	return s.store.View(ctx, r)
}

// refuseSole returns ErrSoleFactor if the user has no verified factor but recovery codes. The
// factors are read without a lock: one that is deleted a moment later is the same as one that
// is deleted after the codes were created.
func (s *Service) refuseSole(ctx context.Context, user UserKey) error {
	q := FactorQuery{User: user, Without: RecoveryCodes, Ascending: true, Limit: maxPage}
	for {
		found, err := s.store.Factors(ctx, q)
		if err != nil {
			return err
		}
		for i := range found {
			if found[i].IsVerified() && !found[i].IsSuspended() {
				return nil
			}
		}
		if len(found) < q.Limit {
			return ErrSoleFactor
		}
		q.After = found[len(found)-1].ID
	}
}

// A madeRecovery is a set of new codes, before it is known for which factor it is.
type madeRecovery struct {
	set   recoverySet // without digests
	codes [recoveryTotal]secret.String
	slow  [recoveryTotal][]byte // the slow hashes of codes
}

func (s *Service) newRecoverySet(ctx context.Context, now time.Time) (*madeRecovery, error) {
	m := &madeRecovery{set: recoverySet{iterations: s.opts.RecoveryIterations, createdAt: now}}
	if _, err := io.ReadFull(s.opts.Rand, m.set.salt[:]); err != nil {
		return nil, fmt.Errorf("draw the salt of recovery codes: %w", err)
	}
	for i := range m.codes {
		var err error
		if m.codes[i], err = s.drawRecoveryCode(); err != nil {
			return nil, err
		}
	}
	// Not all at once: each check of a code would wait for all codes of all sets that are being made.
	var errs [recoveryTotal]error
	var hashing sync.WaitGroup
	atOnce := cap(s.slow.places)
	for first := range min(atOnce, recoveryTotal) {
		hashing.Go(func() {
			for i := first; i < recoveryTotal && errs[first] == nil; i += atOnce {
				m.slow[i], errs[first] = s.slow.run(ctx, m.codes[i].Reveal(), &m.set)
			}
		})
	}
	hashing.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (s *Service) drawRecoveryCode() (secret.String, error) {
	var random [10]byte
	if _, err := io.ReadFull(s.opts.Rand, random[:]); err != nil {
		return secret.String{}, fmt.Errorf("draw a recovery code: %w", err)
	}
	return newRecoveryCode(random), nil
}

// storeRecovery stores a set in the factor found, or in a new one if found is nil. It returns
// errRecoveryRaced if that is not the factor of the user's codes any more.
func (s *Service) storeRecovery(ctx context.Context, by Caller, user UserKey, client Client, found *Factor, made *madeRecovery,
	once *idempotency.Operation[NewRecoveryCodes], now time.Time,
) (NewRecoveryCodes, error) {
	bucket, keys := user.Bucket(), s.keys.Load()
	f := Factor{Environment: user.Environment, Type: RecoveryCodes, User: user.ID, CreatedAt: now}
	r := Read{Bucket: bucket, Phone: recoveryLimitKey(keys, user)}
	if found != nil {
		f.ID, r.Factor = found.ID, found.ID
	} else {
		id, err := s.ids.Next(now, bucket)
		if err != nil {
			return NewRecoveryCodes{}, err
		}
		f.ID = id
		mark(&f.ID, recoveryKind{})
		r.User, r.Recovery = user, user // the row of the user for its lock, as in Enroll
	}
	set := made.set
	for i, slow := range made.slow {
		set.digests[i] = f.recoveryDigest(keys, slow)
	}
	if err := f.seal(keys, set.encode()); err != nil {
		return NewRecoveryCodes{}, err
	}
	events := journal{by: by, at: now, bucket: bucket}
	var err error
	if events.context, err = s.sealClient(client, &f); err != nil {
		return NewRecoveryCodes{}, err
	}
	former, person := s.former(user), PersonOf(keys, user)
	return decide(ctx, s, r, once, now, func(tx *Tx) (NewRecoveryCodes, error) {
		f, happened := f, FactorEnrolled
		limit, err := countRecovery(tx.Phone, r.Phone, now)
		if err != nil {
			return NewRecoveryCodes{}, err
		}
		tx.put(PutPhone{limit})
		if found == nil {
			if tx.Recovery != nil {
				return NewRecoveryCodes{}, errRecoveryRaced
			}
			f.UpdatedAt, f.Replay = now, once.Mark().Key
			tx.put(InsertFactor{&f})
			tx.put(RestoreUser{user, former})
			tx.put(CancelErasure{bucket, person})
		} else {
			if tx.Factor == nil {
				return NewRecoveryCodes{}, errRecoveryRaced
			}
			if old := tx.Factor.Replay; old != (ReplayKey{}) {
				tx.put(ForgetReplay{bucket, old, f.ID})
			}
			sealed := f.Sealed
			f, happened = *tx.Factor, RecoveryRegenerated
			f.Sealed, f.LastStep, f.UpdatedAt, f.Replay = sealed, 0, now, once.Mark().Key
			tx.put(f.Seal())
			tx.put(f.Update())
		}
		events.append(tx, Event{Type: happened, Factor: f.ID, Kind: f.Type})
		n := NewRecoveryCodes{Codes: made.codes[:]}
		n.Factor, n.Recovery = f, &RecoveryState{recoveryTotal, recoveryTotal, made.set.createdAt}
		return n, nil
	})
}

// RecoveryCodes returns the recovery codes of a user, without the codes themselves, or
// ErrNotFound.
func (s *Service) RecoveryCodes(ctx context.Context, by Caller, user string) (Details, error) {
	f, err := s.findRecovery(ctx, by, user)
	if err != nil {
		return Details{}, err
	}
	return f.Open(s.keys.Load())
}

// DeleteRecoveryCodes removes the recovery codes of a user as DeleteFactorWith does.
func (s *Service) DeleteRecoveryCodes(ctx context.Context, by Caller, user string, proof ChallengeID) error {
	f, err := s.findRecovery(ctx, by, user)
	if err != nil {
		return err
	}
	if err = s.DeleteFactorWith(ctx, by, f.ID, proof); errors.Is(err, ErrNotFound) { // deleted since
		return &NotFoundError{EntityRecovery, user}
	}
	return err
}

func (s *Service) findRecovery(ctx context.Context, by Caller, user string) (*Factor, error) {
	key, _, err := checkUser(by, user, Client{})
	if err != nil {
		return nil, err
	}
	rows, err := s.viewRecovery(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	if rows.Recovery == nil {
		return nil, &NotFoundError{EntityRecovery, user}
	}
	return rows.Recovery, nil
}
