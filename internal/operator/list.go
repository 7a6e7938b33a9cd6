package operator

import (
	"context"
	"errors"
	"strings"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A FactorQuery asks for factors of an environment. Zero fields do not restrict it.
type FactorQuery struct {
	User  string
	Type  mfa.FactorType
	State mfa.FactorStatus // as of now; never FactorGone
	Limit int              // the largest number of factors, at most 100; 0 means 50
}

// A FactorPage is a part of a list of factors, without timelines.
type FactorPage struct {
	Factors []Factor
	After   string // the cursor of the next page; "" on the last page
}

const (
	defaultFactors = 50
	// factorsAtOnce is how many factors Factors reads at once, and maxScanned how many it
	// reads for one page.
	factorsAtOnce = 500
	maxScanned    = 20_000
)

// ErrCursor means that a cursor is not one that a page has given.
var ErrCursor = errors.New("this is not the cursor of a page")

// Factors lists the factors of an environment in an order that the store chooses, or the
// factors of a user, newest first. cursor is After of the page before, or "". A page for a rare type or
// state may have fewer factors than q.Limit, or none, although After is set. An
// operator.viewed event records the view.
func (s *Service) Factors(ctx context.Context, by By, env mfa.Environment, q FactorQuery, cursor string) (FactorPage, error) {
	if err := by.Check(); err != nil {
		return FactorPage{}, err
	}
	if q.Limit <= 0 {
		q.Limit = defaultFactors
	}
	q.Limit = min(q.Limit, maxFactors)
	var after mfa.FactorID
	if cursor != "" {
		var err error
		if after, err = mfa.ParseFactorID(cursor); err != nil {
			return FactorPage{}, ErrCursor
		}
	}
	r := s.reader(ctx)
	page, err := r.factors(ctx, env, q, after)
	if err != nil {
		return FactorPage{}, err
	}
	e := mfa.Event{Reason: viewFactors}
	if q.User != "" && len(page.Factors) > 0 {
		e.Factor, e.Kind = page.Factors[0].ID, page.Factors[0].Type
		return page, r.recordView(ctx, by, env.ID, e.Factor.Bucket(), q.User, e, nil)
	}
	return page, r.recordView(ctx, by, env.ID, mfa.UserBucket(env.ID, ""), "", e, nil)
}

// factors reads a page of factors after a factor.
func (r *reader) factors(ctx context.Context, env mfa.Environment, q FactorQuery, after mfa.FactorID) (page FactorPage, err error) {
	for scanned := 0; scanned < maxScanned; {
		found, err := r.factorsAfter(ctx, env, q.User, after)
		if err != nil {
			return page, err
		}
		for i := range found {
			f := &found[i]
			if f.Environment == env.ID && (q.Type == "" || f.Type == q.Type) {
				v := r.factor(env, f)
				if q.State == "" || v.State == q.State {
					if len(page.Factors) == q.Limit {
						page.After = after.String()
						return page, nil
					}
					v.Explanation = r.explainFactor(&v)
					page.Factors = append(page.Factors, v)
				}
			}
			after = f.ID
		}
		if len(found) < factorsAtOnce {
			return page, nil
		}
		scanned += len(found)
	}
	page.After = after.String()
	return page, nil
}

func (r *reader) factorsAfter(ctx context.Context, env mfa.Environment, user string, after mfa.FactorID) ([]mfa.Factor, error) {
	if user != "" {
		return r.store.Factors(ctx, mfa.FactorQuery{User: mfa.UserKey{Environment: env.ID, ID: user}, After: after, Limit: factorsAtOnce})
	}
	return r.store.FactorsAfter(ctx, after, factorsAtOnce)
}

// maxFound is the largest number of factors with one phone number that FindPhone returns.
const maxFound = 100

// FindPhone returns the factors of an environment that have a phone number, newest first, at
// most 100. It needs the keyset. A factor that was enrolled by an older release is found after a
// server of this release has sealed all factors again, which it does once, in the background.
// The error for a text that is not a phone number is an *InvalidPhoneError of package delivery. An
// operator.viewed event records the search.
func (s *Service) FindPhone(ctx context.Context, by By, env mfa.Environment, phone string) ([]Factor, error) {
	if err := by.Check(); err != nil {
		return nil, err
	}
	keys, err := s.opts.Keys(ctx)
	if err != nil {
		return nil, err
	}
	number, err := delivery.ParsePhone(phone, env.Production)
	if err != nil {
		return nil, err
	}
	r := s.reader(ctx)
	hash := mfa.HashPhone(keys, env.ID, number)
	rows, err := s.store.FactorsByPhone(ctx, hash, maxFound)
	if err != nil {
		return nil, err
	}
	var found []Factor
	for i := range rows {
		v := r.factor(env, &rows[i])
		v.Explanation = r.explainFactor(&v)
		found = append(found, v)
	}
	e := mfa.Event{Reason: viewPhone}
	return found, r.recordView(ctx, by, env.ID, mfa.UserBucket(env.ID, ""), string(hash[:]), e, nil)
}

// A Found is what Find recognizes in a text: one of the fields is set.
type Found struct {
	User      *User
	Factor    *Factor
	Challenge *Challenge
	Event     *Entry
	Phone     []Factor // the factors with a phone number
}

// Find looks for the id of a factor, a challenge, an event or a user, or for a phone number.
// Ids are found in every environment unless by.Only is set, users and phone numbers in env. Error: mfa.NotFoundError
// if nothing is found.
func (s *Service) Find(ctx context.Context, by By, env mfa.Environment, text string) (Found, error) {
	text = strings.TrimSpace(text)
	if id, err := mfa.ParseFactorID(text); err == nil {
		f, err := s.Factor(ctx, by, id)
		return Found{Factor: &f}, err
	}
	if id, err := mfa.ParseChallengeID(text); err == nil {
		c, err := s.Challenge(ctx, by, id)
		return Found{Challenge: &c}, err
	}
	if id, ok := mfa.ParseEventID(text); ok {
		return s.findEvent(ctx, by, env, id)
	}
	u, unknown := s.User(ctx, by, env, text)
	if unknown == nil || !errors.Is(unknown, mfa.ErrNotFound) {
		return Found{User: &u}, unknown
	}
	if _, err := delivery.ParsePhone(text, env.Production); err != nil {
		return Found{}, unknown
	}
	found, err := s.FindPhone(ctx, by, env, text)
	if err == nil && len(found) == 0 {
		return Found{}, &mfa.NotFoundError{Entity: mfa.EntityUser, ID: delivery.NewPhone(text).String()}
	}
	return Found{Phone: found}, err
}

// EntityEvent names an event in a mfa.NotFoundError.
const EntityEvent mfa.Entity = "Event"

// findEvent returns what an event of an environment is about: its challenge or factor.
// Otherwise it returns the event.
func (s *Service) findEvent(ctx context.Context, by By, env mfa.Environment, id mfa.EventID) (Found, error) {
	if err := by.Check(); err != nil {
		return Found{}, err
	}
	r := s.reader(ctx)
	e, err := r.events().Event(ctx, env.ID, id)
	switch {
	case errors.Is(err, events.ErrUnknown):
		return Found{}, &mfa.NotFoundError{Entity: EntityEvent, ID: id.String()}
	case err != nil:
		return Found{}, err
	case e.Challenge != mfa.ChallengeID{}:
		c, err := s.Challenge(ctx, by, e.Challenge)
		return Found{Challenge: &c}, err
	case e.Factor != mfa.FactorID{}:
		f, err := s.Factor(ctx, by, e.Factor)
		return Found{Factor: &f}, err
	}
	return Found{Event: &timeline([]events.Event{e})[0]}, nil
}
