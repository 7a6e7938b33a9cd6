package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// BypassParams describe a bypass code.
type BypassParams struct {
	Environment mfa.Environment // of the person
	User        string          // whom the code is for; "" for the owner of Factor
	Factor      mfa.FactorID    // for a person without a user id; used if User is ""
	TTL         time.Duration   // how long the code can be used; default mfa.DefaultBypassTTL
}

// A Bypass is what operators see of a bypass code. The code itself is not stored.
type Bypass struct {
	CreatedAt time.Time
	ExpiresAt time.Time
	Guesses   int    // wrong codes so far
	Operator  string // who issued it
	Reason    string // why
}

var (
	// ErrNoBypass means that no bypass code of a person can be used now.
	ErrNoBypass = errors.New("there is no bypass code that can be used")
	// ErrAllSuspended means that a bypass code could not be used: it needs a factor.
	ErrAllSuspended = errors.New("all factors of the user are suspended; resume one of them first, because a bypass code is entered in place of the code of a factor")
	// ErrBypassTTL means that BypassParams.TTL is not acceptable.
	ErrBypassTTL = fmt.Errorf("a bypass code can be used for 1 minute to %v", mfa.MaxBypassTTL)
)

// CreateBypass issues a code that a person enters once in place of the code of any factor,
// also while factor or person are locked. It replaces an earlier code of the person. by must
// have a reason. It needs the keyset. The code is returned this once. Errors:
// mfa.ErrNotFound for a person without factors, ErrAllSuspended, ErrBypassTTL.
func (s *Service) CreateBypass(ctx context.Context, by By, p BypassParams) (secret.String, Bypass, error) {
	fail := func(err error) (secret.String, Bypass, error) { return secret.String{}, Bypass{}, err }
	if err := by.checkReason(); err != nil {
		return fail(err)
	}
	if p.TTL == 0 {
		p.TTL = mfa.DefaultBypassTTL
	}
	if p.TTL < time.Minute || p.TTL > mfa.MaxBypassTTL {
		return fail(ErrBypassTTL)
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return fail(err)
	}
	f, err := s.usableFactor(ctx, p)
	if err != nil {
		return fail(err)
	}
	code, b, err := mfa.NewBypass(keys, s.opts.Rand, f, p.TTL, s.now())
	if err != nil {
		return fail(err)
	}
	b.Operator, b.Reason = cmp.Or(by.Operator, by.Key), by.Reason
	err = s.store.Update(ctx, mfa.Read{Bucket: b.Bucket, Factor: f.ID, Bypass: b.Key}, func(tx *mfa.Tx) error {
		if tx.Factor == nil {
			return &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: f.ID.String()}
		}
		// Readers of the event find the person through the factor.
		event := mfa.Event{Type: mfa.BypassCreated, Factor: f.ID, Kind: f.Type}
		tx.Writes = append(tx.Writes, mfa.PutBypass{Bypass: b}, s.event(by, f.Environment, b.Bucket, event))
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return code, viewOf(b), nil
}

// usableFactor returns a factor of the person that is not suspended.
func (s *Service) usableFactor(ctx context.Context, p BypassParams) (*mfa.Factor, error) {
	factors, err := s.factorsOf(ctx, p)
	if err != nil {
		return nil, err
	}
	for i := range factors {
		if !factors[i].IsSuspended() {
			return &factors[i], nil
		}
	}
	return nil, ErrAllSuspended
}

// factorsOf returns factors of a person: at least one, or mfa.ErrNotFound.
func (s *Service) factorsOf(ctx context.Context, p BypassParams) ([]mfa.Factor, error) {
	if p.User == "" {
		rows, err := s.store.View(ctx, mfa.Read{Bucket: p.Factor.Bucket(), Factor: p.Factor})
		if err != nil {
			return nil, err
		}
		if rows.Factor == nil || rows.Factor.Environment != p.Environment.ID {
			return nil, &mfa.NotFoundError{Entity: mfa.EntityFactor, ID: p.Factor.String()}
		}
		return []mfa.Factor{*rows.Factor}, nil
	}
	factors, err := s.store.Factors(ctx, mfa.FactorQuery{User: mfa.UserKey{Environment: p.Environment.ID, ID: p.User}, Limit: maxFactors})
	if err == nil && len(factors) == 0 {
		err = &mfa.NotFoundError{Entity: mfa.EntityUser, ID: p.User}
	}
	return factors, err
}

// RevokeBypass ends the bypass code of a person. by must have a reason. TTL of p is not used.
// Errors: mfa.ErrNotFound for a person without factors; ErrNoBypass, without an event.
func (s *Service) RevokeBypass(ctx context.Context, by By, p BypassParams) error {
	if err := by.checkReason(); err != nil {
		return err
	}
	factors, err := s.factorsOf(ctx, p)
	if err != nil {
		return err
	}
	f := &factors[0]
	r := mfa.Read{Bucket: f.ID.Bucket(), Bypass: f.BypassKey()}
	return s.store.Update(ctx, r, func(tx *mfa.Tx) error {
		if !tx.Bypass.IsOpen(s.now()) {
			return ErrNoBypass
		}
		event := mfa.Event{Type: mfa.BypassRevoked, Factor: f.ID, Kind: f.Type}
		tx.Writes = append(tx.Writes, mfa.DeleteBypass{Bucket: r.Bucket, Key: r.Bypass}, s.event(by, f.Environment, r.Bucket, event))
		return nil
	})
}

// Bypass returns the bypass code of a user that can be used now, or ErrNoBypass.
func (s *Service) Bypass(ctx context.Context, env mfa.Environment, user string) (Bypass, error) {
	key := mfa.UserKey{Environment: env.ID, ID: user}
	return orNoBypass(s.openBypass(ctx, mfa.Read{Bucket: key.Bucket(), Bypass: key.BypassKey()}))
}

// BypassOf returns the bypass code of a person that can be used now. TTL of p is not used.
// Errors: mfa.ErrNotFound for a person without factors; ErrNoBypass.
func (s *Service) BypassOf(ctx context.Context, p BypassParams) (Bypass, error) {
	factors, err := s.factorsOf(ctx, p)
	if err != nil {
		return Bypass{}, err
	}
	f := &factors[0]
	return orNoBypass(s.openBypass(ctx, mfa.Read{Bucket: f.ID.Bucket(), Bypass: f.BypassKey()}))
}

// openBypass returns the bypass code that r reads, or nil if it cannot be used now.
func (s *Service) openBypass(ctx context.Context, r mfa.Read) (*Bypass, error) {
	rows, err := s.store.View(ctx, r)
	if err != nil || !rows.Bypass.IsOpen(s.now()) {
		return nil, err
	}
	b := viewOf(rows.Bypass)
	return &b, nil
}

// orNoBypass returns a bypass code, or ErrNoBypass for nil.
func orNoBypass(b *Bypass, err error) (Bypass, error) {
	switch {
	case err != nil:
		return Bypass{}, err
	case b == nil:
		return Bypass{}, ErrNoBypass
	}
	return *b, nil
}

func viewOf(b *mfa.Bypass) Bypass {
	return Bypass{CreatedAt: b.CreatedAt, ExpiresAt: b.ExpiresAt, Guesses: b.Guesses, Operator: b.Operator, Reason: b.Reason}
}
