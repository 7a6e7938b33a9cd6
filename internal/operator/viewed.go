package operator

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// The kinds of views, as events name them.
const (
	viewUser      = "user"
	viewFactor    = "factor"
	viewChallenge = "challenge"
	viewFactors   = "factors" // a list of factors
	viewPhone     = "phone"   // a search for a phone number
)

// viewAgain is the time in which an operator who opens the same view again, for the same
// reason and in the same process, leaves no further event: a page may refresh every second.
const viewAgain = 15 * time.Minute

// maxViews is the largest number of views that a process remembers.
const maxViews = 10_000

// views remember the views that have left an event. The zero value is ready to use.
type views struct {
	mu   sync.Mutex
	last map[view]time.Time
}

// A view is what an operator looked at.
type view struct {
	by      By
	env     mfa.EnvironmentID
	kind    string
	subject string
}

// isNew reports whether the view must leave an event at now.
func (v *views) isNew(of view, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, ok := v.last[of]
	return !ok || now.Sub(at) >= viewAgain
}

// remember records that the view has left an event.
func (v *views) remember(of view, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.last) >= maxViews {
		v.last = nil // some views then leave one more event
	}
	if v.last == nil {
		v.last = make(map[view]time.Time)
	}
	v.last[of] = now
}

// viewed splits the reason of a mfa.Viewed event into the kind of the view and the operator's
// text.
func viewed(reason string) (kind, why string) {
	kind, why, _ = strings.Cut(reason, ":")
	return kind, why
}

// recordView appends the event of a view in a bucket, unless the operator has opened it before. subject
// distinguishes the views of a kind. further are more writes for the event; it may be nil.
func (r *reader) recordView(ctx context.Context, by By, env mfa.EnvironmentID, b mfa.Bucket, subject string, e mfa.Event, further func(*mfa.AppendEvent) ([]mfa.Write, error)) error {
	of := view{by, env, e.Reason, subject}
	of.by.Request = "" // each view is another request
	if !r.views.isNew(of, r.now) {
		return nil
	}
	e.Type = mfa.Viewed
	if by.Reason != "" {
		e.Reason += ":" + by.Reason
	}
	appended := r.event(by, env, b, e)
	var more []mfa.Write
	if further != nil {
		var err error
		if more, err = further(&appended); err != nil {
			return err
		}
	}
	err := r.store.Update(ctx, mfa.Read{Bucket: b}, func(tx *mfa.Tx) error {
		tx.Writes = append(append(tx.Writes, appended), more...)
		return nil
	})
	if err == nil {
		r.views.remember(of, r.now)
	}
	return err
}

// recordUser records that an operator looked at a user. factors are the factors of the user; there may be none.
func (r *reader) recordUser(ctx context.Context, by By, user mfa.UserKey, factors []mfa.Factor) error {
	e := mfa.Event{Reason: viewUser}
	if len(factors) > 0 { // readers of the event find the user through the factor
		e.Factor, e.Kind = factors[0].ID, factors[0].Type
		return r.recordView(ctx, by, user.Environment, user.Bucket(), user.ID, e, nil)
	}
	return r.recordView(ctx, by, user.Environment, user.Bucket(), user.ID, e, func(w *mfa.AppendEvent) (more []mfa.Write, err error) {
		if r.keys == nil {
			return nil, nil
		}
		if w.Context, err = mfa.SealUser(r.keys, user); err != nil {
			return nil, err
		}
		return []mfa.Write{mfa.EraseLater(user, w.Context.Person, r.now)}, nil
	})
}
