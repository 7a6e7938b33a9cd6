package mfa

import (
	"context"
	"slices"
	"time"
)

// Factor returns a factor of env, or ErrNotFound.
func (s *Service) Factor(ctx context.Context, by Caller, id FactorID) (Details, error) {
	rows, err := s.store.View(ctx, Read{Bucket: id.Bucket(), Factor: id})
	if err != nil {
		return Details{}, err
	}
	if rows.Factor == nil || rows.Factor.Environment != by.ID {
		return Details{}, &NotFoundError{EntityFactor, id.String()}
	}
	return s.details(rows.Factor, s.now())
}

// details returns what a reply shows of a factor.
func (s *Service) details(f *Factor, now time.Time) (Details, error) {
	d, err := f.Open(s.keys.Load())
	d.Status = f.Status(s.opts.Limits, now)
	return d, err
}

// DeleteFactor removes a factor of env and every copy of its secret. None of its challenges
// can be verified afterwards. It returns ErrNotFound for an unknown factor, also for one
// that was deleted before.
func (s *Service) DeleteFactor(ctx context.Context, by Caller, id FactorID) error {
	return s.deleteFactor(ctx, by, Read{Factor: id}, func(*Tx, time.Time) error { return nil })
}

// DeleteFactorWith is DeleteFactor for an application. If the environment requires it, proof must be
// a challenge of another factor of the same user that was verified a short time ago: without
// it, the error is an *InvalidError. The deletion uses proof up. A factor that was never
// verified needs no proof, except recovery codes.
func (s *Service) DeleteFactorWith(ctx context.Context, by Caller, id FactorID, proof ChallengeID) error {
	fresh := by.Settings.Values().DeleteRequiresChallenge
	if fresh == 0 {
		return s.DeleteFactor(ctx, by, id)
	}
	r := Read{Factor: id}
	if proof.Bucket() == id.Bucket() { // otherwise it belongs to another user
		r.Proof = proof
	}
	return s.deleteFactor(ctx, by, r, func(tx *Tx, now time.Time) error {
		c, of := tx.Proof, tx.ProofFactor
		switch {
		case !tx.Factor.IsVerified() && !tx.Factor.Type.IsRecovery():
			return nil
		case proof == (ChallengeID{}):
			return invalid(proofField, "required", proofField+" is required: name a challenge of another factor of this user that was verified within "+durationText(fresh))
		case c == nil || tx.Factor.User == "" || of.UserKey() != tx.Factor.UserKey() || of.ID == id || of.IsSuspended() ||
			c.VerifiedAt.IsZero() || now.Sub(c.VerifiedAt) > fresh:
			return invalid(proofField, "not_acceptable", proofField+" must name a challenge of another factor of this user that was verified within "+durationText(fresh)+" and not used for a deletion before")
		}
		tx.put(DeleteChallenge{proof})
		return nil
	})
}

const proofField = "authentication_challenge_id"

// deleteFactor deletes the factor of r if allow returns nil.
func (s *Service) deleteFactor(ctx context.Context, by Caller, r Read, allow func(*Tx, time.Time) error) error {
	id, now := r.Factor, s.now()
	r.Bucket = id.Bucket()
	events := journal{by: by, at: now, bucket: r.Bucket}
	return s.store.Update(ctx, r, func(tx *Tx) error {
		if tx.Factor == nil || tx.Factor.Environment != by.ID {
			return &NotFoundError{EntityFactor, id.String()}
		}
		if err := allow(tx, now); err != nil {
			return err
		}
		tx.put(DeleteFactor{id})
		if tx.Factor.Replay != (ReplayKey{}) {
			tx.put(ForgetReplay{id.Bucket(), tx.Factor.Replay, id})
		}
		if key := tx.Factor.UserKey(); key != (UserKey{}) {
			tx.put(RetireUser{key, s.former(key), now.Add(keepFailures)})
		} else {
			tx.put(DeleteBypass{id.Bucket(), tx.Factor.BypassKey()})
		}
		if err := s.forget(tx, tx.Factor, now); err != nil {
			return err
		}
		events.append(tx, Event{Type: FactorDeleted, Factor: id, Kind: tx.Factor.Type})
		return nil
	})
}

// ListParams ask for one page of a user's factors.
type ListParams struct {
	User      string
	Limit     int    // 1 to 100; 0 means 10
	Ascending bool   // oldest first; otherwise newest first
	After     string // the id of the factor that the page follows
	Before    string // the id of the factor that the page ends before
	All       bool   // also recovery codes
}

// A Page is a part of a list, with the cursors of its neighbors.
type Page struct {
	Factors []Details
	Before  string // cursor of the page before this one; "" on the first page
	After   string // cursor of the page after this one; "" on the last page
}

const (
	defaultPage = 10
	maxPage     = 100
)

// Factors lists the factors of a user of env. With After and Before, the page is between
// the two; with only Before, it ends at that factor. A cursor is a place in the order: it
// stays valid when its factor is deleted.
func (s *Service) Factors(ctx context.Context, by Caller, p ListParams) (Page, error) {
	user := UserKey{by.ID, p.User}
	after, before, err := p.check(user.Bucket())
	if err != nil {
		return Page{}, err
	}
	if p.Limit == 0 {
		p.Limit = defaultPage
	}
	q := FactorQuery{User: user, After: after, Until: before, Ascending: p.Ascending, Limit: p.Limit + 1}
	if !p.All {
		q.Without = RecoveryCodes
	}
	backwards := p.After == "" && p.Before != ""
	if backwards {
		q.After, q.Until, q.Ascending = before, FactorID{}, !p.Ascending
	}
	found, err := s.store.Factors(ctx, q)
	if err != nil {
		return Page{}, err
	}
	more := len(found) > p.Limit
	found = found[:min(len(found), p.Limit)]
	if backwards {
		slices.Reverse(found)
	}
	page := Page{Factors: make([]Details, len(found))}
	now := s.now()
	for i := range found {
		if page.Factors[i], err = s.details(&found[i], now); err != nil {
			return Page{}, err
		}
	}
	if len(found) == 0 {
		return page, nil
	}
	if backwards && more || p.After != "" {
		page.Before = found[0].ID.String()
	}
	if backwards || more {
		page.After = found[len(found)-1].ID.String()
	}
	return page, nil
}

func (p ListParams) check(b Bucket) (after, before FactorID, err error) {
	var e InvalidError
	cursor := func(field, text string) (id FactorID) {
		if text == "" {
			return id
		}
		id, err := ParseFactorID(text)
		if err != nil || id.Bucket() != b {
			e.Fields = append(e.Fields, FieldError{field, "invalid_cursor", field + " must be the id of a factor of this user"})
		}
		return id
	}
	after, before = cursor("after", p.After), cursor("before", p.Before)
	if p.Limit < 0 || p.Limit > maxPage {
		e.Fields = append(e.Fields, FieldError{"limit", "out_of_range", "limit must be from 1 to 100"})
	}
	if p.User == "" || len(p.User) > maxUser || !isPlainText(p.User) {
		e.Fields = append(e.Fields, FieldError{"user_id", "invalid_characters", "user_id must be 1 to 256 bytes of plain text"})
	}
	if e.Fields != nil {
		return after, before, &e
	}
	return after, before, nil
}
