package events

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Subject is what events are about: a challenge, or else factors and a person. Stores find
// its events by key.
type Subject struct {
	Environment mfa.EnvironmentID // 0: not known; then Person is not used
	Bucket      mfa.Bucket        // of all of them
	Challenge   mfa.ChallengeID
	Factors     []mfa.FactorID // all different; used without a challenge
	Person      mfa.PersonKey  // adds the events of the person that have no factor; used without a challenge; may be zero
}

// A SubjectQuery asks for events of a subject.
type SubjectQuery struct {
	Subject
	From, To mfa.EventID // only events between these positions
	Newest   bool        // newest first
	Limit    int
}

// ofFactor returns the subject of one factor.
func ofFactor(env mfa.EnvironmentID, id mfa.FactorID) Subject {
	return Subject{Environment: env, Bucket: id.Bucket(), Factors: []mfa.FactorID{id}}
}

// ofChallenge returns the subject of a challenge.
func ofChallenge(env mfa.EnvironmentID, id mfa.ChallengeID) Subject {
	return Subject{Environment: env, Bucket: id.Bucket(), Challenge: id}
}

// ofUser returns the subject of a user: the factors that are stored and, with the keyset, the
// factors that were deleted and the events without a factor.
func (s *Service) ofUser(ctx context.Context, user mfa.UserKey) (Subject, error) {
	of := Subject{Environment: user.Environment, Bucket: user.Bucket()}
	if keys := s.opts.Keys(); keys != nil {
		of.Person = mfa.PersonOf(keys, user)
	}
	var err error
	of.Factors, err = s.log.FactorsOf(ctx, user, of.Person)
	return of, err
}

// subject returns the subject of a query; ok is false for a query without a subject.
func (s *Service) subject(ctx context.Context, q *Query) (of Subject, ok bool, err error) {
	switch {
	case q.Challenge != mfa.ChallengeID{}:
		return ofChallenge(q.Environment, q.Challenge), true, nil
	case q.Factor != mfa.FactorID{}:
		return ofFactor(q.Environment, q.Factor), true, nil
	case q.User != "":
		of, err = s.ofUser(ctx, mfa.UserKey{Environment: q.Environment, ID: q.User})
		return of, true, err
	}
	return of, false, nil
}

// readSubject reads a page of the events of a subject that q asks for.
func (s *Service) readSubject(ctx context.Context, of Subject, q Query) (RawPage, error) {
	// The subject may have few events that q matches. A range of times is wider by MaxSkew in
	// positions.
	limit := q.Limit
	if len(q.Types) > 0 || q.Caller != "" || !q.Since.IsZero() || !q.Until.IsZero() {
		limit = max(limit, maxLimit)
	}
	from, to := q.Range()
	found, err := s.log.ReadSubject(ctx, SubjectQuery{Subject: of, From: from, To: to, Newest: q.Newest, Limit: limit})
	if err != nil {
		return found, err
	}
	page := RawPage{Last: found.Last, More: found.More}
	for _, e := range found.Events {
		if !q.Matches(&e.Event) {
			continue
		}
		if len(page.Events) == q.Limit {
			page.Last, page.More = page.Events[q.Limit-1].ID, true
			break
		}
		page.Events = append(page.Events, e)
	}
	if page.Last == (mfa.EventID{}) {
		page.Last = q.After
	}
	return page, nil
}

// newestOf returns the newest events of a subject, oldest first, and whether there are older
// ones.
func (s *Service) newestOf(ctx context.Context, of Subject, limit int) (found []Event, more bool, err error) {
	q := SubjectQuery{Subject: of, Newest: true, Limit: limit}
	for i := range q.To {
		q.To[i] = 0xff
	}
	page, err := s.log.ReadSubject(ctx, q)
	if err != nil {
		return nil, false, err
	}
	for _, e := range page.Events {
		found = append(found, s.open(e))
	}
	slices.Reverse(found)
	return found, page.More, nil
}

// NewestOfFactor returns the newest events of a factor, oldest first, and whether there are older
// ones. env is 0 if its environment is not known.
func (s *Service) NewestOfFactor(ctx context.Context, env mfa.EnvironmentID, id mfa.FactorID, limit int) ([]Event, bool, error) {
	return s.newestOf(ctx, ofFactor(env, id), limit)
}

// NewestOfChallenge returns the newest events of a challenge of any environment, oldest first, and
// whether there are older ones.
func (s *Service) NewestOfChallenge(ctx context.Context, id mfa.ChallengeID, limit int) ([]Event, bool, error) {
	return s.newestOf(ctx, ofChallenge(0, id), limit)
}

// ErrUnknown means that an environment has no event with an id.
var ErrUnknown = errors.New("no event of the environment has this id")

// Event returns one event of an environment, or ErrUnknown.
func (s *Service) Event(ctx context.Context, env mfa.EnvironmentID, id mfa.EventID) (Event, error) {
	if id == (mfa.EventID{}) {
		return Event{}, ErrUnknown
	}
	found, err := s.log.ReadEvents(ctx, Query{Environment: env, After: before(id), Limit: 1})
	switch {
	case err != nil:
		return Event{}, fmt.Errorf("read an event: %w", err)
	case len(found.Events) == 0 || found.Events[0].ID != id:
		return Event{}, ErrUnknown
	}
	return s.open(found.Events[0]), nil
}
