package webhook

import (
	"context"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// An AttemptPage is a part of the attempts of an endpoint, newest first.
type AttemptPage struct {
	Attempts []AttemptDetails
	After    AttemptID // cursor of the next page; zero on the last page
}

// AttemptDetails are an attempt with the beginning of the answer.
type AttemptDetails struct {
	Attempt
	Text string // the beginning of the body of the answer; "" if it is not known
}

// ParseAttemptCursor reads the After of a page of an endpoint's attempts.
func ParseAttemptCursor(id EndpointID, text string) (AttemptID, error) {
	cursor, ok := ids.Parse(attemptPrefix, text)
	if !ok || ids.BucketOf(cursor) != id.Bucket() {
		return AttemptID{}, invalid("after", "invalid_cursor", "after must be the id of an attempt of this endpoint")
	}
	return cursor, nil
}

// Attempts lists the attempts of an endpoint, newest first. limit is at least 1.
func (s *Service) Attempts(ctx context.Context, env mfa.EnvironmentID, id EndpointID, after AttemptID, limit int) (AttemptPage, error) {
	if _, err := s.find(ctx, env, id); err != nil {
		return AttemptPage{}, err
	}
	found, err := s.store.Attempts(ctx, id, after, limit+1)
	if err != nil {
		return AttemptPage{}, err
	}
	var p AttemptPage
	if len(found) > limit {
		found = found[:limit]
		p.After = found[limit-1].ID
	}
	keys := s.keys.Load()
	for _, a := range found {
		d := AttemptDetails{Attempt: a}
		if a.Answer != nil && keys != nil {
			// An answer that does not open was sealed under a key that is retired.
			plain, err := keys.Open(a.Answer, a.associated())
			if err == nil {
				d.Text = string(plain)
			}
		}
		p.Attempts = append(p.Attempts, d)
	}
	return p, nil
}
